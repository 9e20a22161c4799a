"""YAML in which no key stands twice: PyYAML takes the last one and says nothing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


def read_yaml(text: str) -> Any:
    """What safe YAML holds. Raises yaml.YAMLError, with the line, also where a key stands twice in a mapping."""
    try:
        return yaml.load(text, _Strict)  # noqa: S506, a SafeLoader
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no plain name", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
