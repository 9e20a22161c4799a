"""JSON that is too large for memory: the elements of an array, one after another."""

from __future__ import annotations

import json
from typing import Any


class JsonArray:
    """Writes elements into an open array of a file."""

    def __init__(self, file: Any) -> None:
        self._file, self._first = file, True

    def add(self, value: object) -> None:
        self._file.write((b"" if self._first else b",\n") + as_json(value))
        self._first = False


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
