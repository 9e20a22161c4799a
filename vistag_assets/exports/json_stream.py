"""JSON that is too large for memory: the elements of an array or object, one after another."""

from __future__ import annotations

import json
from typing import Any

BETWEEN = b",\n"
"""Two elements."""


class JsonElements:
    """Writes elements into an open array or object of a file."""

    def __init__(self, file: Any) -> None:
        self._file, self._first = file, True

    def add(self, value: object, name: bytes = b"") -> None:
        """`name`: of an object, the name of the value and the colon behind it."""
        self._file.write((b"" if self._first else BETWEEN) + name + as_json(value))
        self._first = False

    def add_named(self, name: str, value: object) -> None:
        self.add(value, as_json(name) + b": ")


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
