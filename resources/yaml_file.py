"""YAML files, read by the one strict loader (taxonomy/strict_yaml.py), with the line of each field for messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from taxonomy.strict_yaml import MAX_BYTES, YamlError, read_document


class YamlFileError(ValueError):
    """A file that cannot be read; the message is one sentence with file and line."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file holds."""

    content: Any
    """None for an empty file"""
    root: yaml.Node | None

    def line_of(self, where: Sequence[str | int]) -> int:
        """Where a field stands, or as much of the way to it as the file has."""
        node, line = self.root, 1
        for part in where:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                found = (node.value[part], node.value[part])
            else:
                found = None
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line


def read_yaml(path: Path) -> YamlFile:
    """Raises YamlFileError, also where a key stands twice in a mapping."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise YamlFileError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return YamlFile(*read_document(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlFileError(
            f"{path}, line {line}: holds a byte that is no UTF-8; save it as UTF-8"
        ) from error
    except YamlError as error:
        raise YamlFileError(f"{path}, {error}") from error
