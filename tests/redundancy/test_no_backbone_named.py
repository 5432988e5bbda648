"""What redundancy studies need to know of a backbone stands on its class: they name none."""

import ast
import inspect
from pathlib import Path

import pytest

import undim.redundancy
from undim.nets import create_model, list_models
from undim.nets.registry import REGISTRY
from undim.redundancy.cutting import blocks_of, rows_of

FILES = sorted(Path(undim.redundancy.__file__).parent.glob("*.py"))
BACKBONES = {variant.build.__module__ for variant in REGISTRY.values()}


@pytest.mark.parametrize(
    "path", sorted(Path(undim.redundancy.__file__).parent.glob("*.py")), ids=lambda path: path.stem
)
def test_no_file_imports_a_backbone(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not imported & BACKBONES


@pytest.mark.parametrize("name", [name for name in list_models() if name.endswith(("_small", "_tiny"))])
def test_declared_depths_are_constructor_arguments_of_as_many_blocks(name):
    """Probed: one block more in an argument is one block more in each of its rows."""
    model = create_model(name)
    for depth in model.depths:
        rows = rows_of(model, depth)
        assert rows
        (count,) = {len(blocks_of(model, row, depth)) for row in rows}
        parameters = inspect.signature(type(model).__init__).parameters
        default = REGISTRY[name].settings.get(depth.argument, parameters[depth.argument].default)
        grown = count + 1 if depth.index is None else [n + (i == depth.index) for i, n in enumerate(default)]
        larger = create_model(name, **{depth.argument: grown})
        assert {len(blocks_of(larger, row, depth)) for row in rows} == {count + 1}
