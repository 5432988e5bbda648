"""The walls between the rooms of src/undim: who may import whom, in what order, and who may name an option.

docs/house.md draws the order.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "undim"
GROUND = "ground"
ROOMS = (
    GROUND,
    "images",
    "nets",
    "hub",
    "weights",
    "runtimes",
    "enhance",
    "jobs",
    "video",
    "data",
    "results",
    "metrics",
    "training",
    "redundancy",
    "study",
    "paper",
)
"""From the ground up."""
DOORS = ("cli", "serve", "batch")
"""Side by side on top of the rooms."""
OPENS = {"cli.batch": "batch", "cli.serve": "serve"}
"""Verbs that are the way to another front door, by its name."""
NAMES_COMMANDS = {
    "installed.py": "whole commands of the tools that install packages",
    "paper/commands.py": "pages for readers hold whole commands",
    "paper/pages.py": "the heading above them says what RESULTS stands for",
    "study/report.py": "the page names the benchmark that times variants in turns",
}
"""Modules below the front doors that may name options, and why."""
KNOWN_UPWARD: set[tuple[str, str]] = set()
"""Imports that still run upward, as (module, imported)."""
KNOWN_CIRCLES: set[frozenset[str]] = set()
OPTION = re.compile(r"(?<![\w-])--(?:[a-z][a-z-]*|(?=\{)|$)")
"""An option, also one whose name is joined to its dashes."""


def name_of(path):
    """The dotted name of a module without `undim.`; "" of the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def room_of(module):
    """The room that a module lives in."""
    first = module.partition(".")[0]
    return first if first in (*ROOMS, *DOORS) else GROUND


def imports_of(module):
    """The project's modules that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["undim", *module.split(".")]
                is_package = MODULES[module].name == "__init__.py"
                base = ".".join([*package[: len(package) - node.level + is_package], *([base] if base else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("undim.") in MODULES else base for name in names}
    inside = {name.removeprefix("undim.") for name in found if name.startswith("undim.")}
    return {name for name in inside if name in MODULES} - {module}


GRAPH = {module: imports_of(module) for module in MODULES if module not in ("", "__main__")}


def level_of(room):
    """Its place in the order; the front doors share the top."""
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


def test_no_import_runs_upward():
    upward = {
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if level_of(room_of(other)) > level_of(room_of(module))
    }
    assert upward == KNOWN_UPWARD


def test_no_room_imports_a_front_door_and_no_door_another_but_a_verb_its_own():
    through = {
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if room_of(other) in DOORS and room_of(other) not in (room_of(module), OPENS.get(module))
    }
    assert not through


def circles(graph):
    """Sets of modules that import each other, by Tarjan's strongly connected components (1972)."""
    order, low, stack, found = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            place = stack.index(module)
            members = frozenset(stack[place:])
            del stack[place:]
            if len(members) > 1:
                found.append(members)

    for module in graph:
        if module not in order:
            visit(module)
    return set(found)


def test_no_circle():
    assert circles(GRAPH) == KNOWN_CIRCLES


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {frozenset({"b", "c"})}


@pytest.mark.parametrize(
    "module",
    [
        "undim.enhance.enhancer",
        "undim.jobs.run",
        "undim.cli.enhance",
        "undim.cli.batch",
        "undim.batch.worker",
        "undim.runtimes.choice",
    ],
)
def test_the_inference_path_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit(sorted({{'torch', 'pydantic', 'scipy', 'av'}} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def strings_of(tree):
    """All string literals but docstrings, f-strings with their parts joined."""
    documentation = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                documentation.add(statement.value)
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {part for part in node.values if isinstance(part, ast.Constant)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = (node.left, node.right)
            if all(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides):
                yield node.left.value + node.right.value
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation | inside:
            yield node.value


def options_of(tree):
    """Options of a command line that a module's strings name; custom properties of style sheets are not."""
    for text in strings_of(tree):
        if not re.search(r":root\s*{|var\(--|setProperty\(", text):
            yield from OPTION.findall(text)


def test_no_message_below_the_front_doors_names_an_option():
    found = defaultdict(set)
    for module, tree in TREES.items():
        if room_of(module) not in DOORS:
            for option in options_of(tree):
                found[MODULES[module].relative_to(SOURCE).as_posix()].add(option)
    named = {path: options for path, options in found.items() if path not in NAMES_COMMANDS}
    assert not named


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise E("give --root DIR")', ["--root"]),
        ('raise E(f"--{name} is {value}")', ["--"]),
        ('raise E(f"give {x} --low")', ["--low"]),
        ('raise E("see -" "-split")', ["--split"]),
        ('raise E("see -" + "-split")', ["--split"]),
        ('"""Of --split."""', []),
        ('x = "a -- b"', []),
        ('x = "---"', []),
    ],
)
def test_options_are_found_in_strings(source, expected):
    assert set(options_of(ast.parse(source))) == set(expected)


def test_the_house_is_drawn_in_this_order():
    text = (PROJECT / "docs" / "house.md").read_text(encoding="utf-8")
    drawn = [room for line in text.splitlines() for room in re.findall(r"^ *(\w+)/", line)]
    assert [room for room in drawn if room in ROOMS] == [room for room in reversed(ROOMS) if room != GROUND]
    assert set(DOORS[:1]) <= set(drawn)
