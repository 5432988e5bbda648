"""YAML in which a key that stands twice in one mapping is an error, as YAML 1.2 has it; PyYAML takes the last."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value == "<<" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice in one mapping", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> object:
    """The value of one YAML document, of plain types.

    Raises:
        yaml.YAMLError: if it is none, or a mapping has a key twice.
    """
    return yaml.load(text, _Loader)  # noqa: S506  # a subclass of the safe loader
