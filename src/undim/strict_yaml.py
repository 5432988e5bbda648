"""YAML in which a key that stands twice in one mapping is an error, as YAML 1.2 has it; PyYAML takes the last."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as in PyYAML's stubs
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"the key {key.value!r} stands twice in one mapping", key.start_mark
                )
            seen.add((key.tag, key.value))
        return node


def load_yaml(text: str) -> object:
    """The value of one YAML document, of plain types.

    Raises:
        yaml.YAMLError: if it is none, or a mapping has a key twice.
    """
    return yaml.load(text, _Loader)  # noqa: S506  # a subclass of the safe loader
