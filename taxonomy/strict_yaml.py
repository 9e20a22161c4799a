"""The one YAML loader: plain text, numbers, true and false, lists and mappings, and bounded in all of them.

YAML also knows merge keys, dates, numbers to base 60, sets, binary data and types of Python. None of them is needed in
a file of vistag, and each has brought a parser down: they are refused with the line that they stand in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import yaml

MAX_BYTES = 256 * 2**10
MAX_DEPTH = 32
MAX_NODES = 20_000
"""Names, values, lists and mappings of a file; what an alias stands for counts each time."""
_MOST_DIGITS = 18

_T = TypeVar("_T")
_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?=\.?[0-9])[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?", re.ASCII)
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MOST_SHOWN = 80


class YamlError(ValueError):
    """A file that is not read; the message is one sentence with its line, names in it escaped."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class StrictLoader(yaml.SafeLoader):
    """Reads one document within the bounds above. Use it through `read_document` or `read_nodes`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}
        """by id of a node: nodes in it, itself too"""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event, before = self.peek_event(), self._nodes
        line = event.start_mark.line + 1
        if getattr(event, "tag", None) is not None:
            raise YamlError(line, f"a type such as {shown(str(event.tag))} is not read here; leave it out")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise YamlError(line, f"lists and mappings lie more than {MAX_DEPTH} deep in each other")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise YamlError(
                    line, f"*{shown(str(event.anchor))} stands for something that it is a part of"
                )
            self._nodes += self._sizes[id(node)]
        elif node is not None:
            self._nodes += 1
            self._sizes[id(node)] = self._nodes - before
            _require_plain(node)
        if self._nodes > MAX_NODES:
            raise YamlError(
                line, f"holds more than {MAX_NODES} names and values, counting what aliases stand for"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(line, "a key is no plain name")
            if key.value in seen:
                raise YamlError(line, f"the key {shown(key.value)} stands twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _require_plain(node: yaml.Node) -> None:
    line = node.start_mark.line + 1
    if node.tag == f"{_TAG}merge":
        raise YamlError(line, "<< (a merge key) is not read here; write the fields out")
    if isinstance(node, yaml.ScalarNode) and (found := _NO_TEXT.search(node.value)):
        raise YamlError(line, f"{shown(node.value)} holds the control character {shown(found.group())}")
    if node.tag == f"{_TAG}timestamp":
        raise YamlError(line, f"{shown(node.value)} is read as a date; write it in quotes")


def _whole_number(loader: StrictLoader, node: yaml.ScalarNode) -> int:
    if not _WHOLE.fullmatch(node.value) or len(node.value) > _MOST_DIGITS:
        raise _no_number(node)
    return int(node.value)


def _decimal(loader: StrictLoader, node: yaml.ScalarNode) -> float:
    number = float(node.value) if _DECIMAL.fullmatch(node.value) else math.nan
    if not math.isfinite(number):
        raise _no_number(node)
    return number


def _no_number(node: yaml.ScalarNode) -> YamlError:
    wanted = f"write it in plain digits, at most {_MOST_DIGITS}, or in quotes if it is a name"
    return YamlError(
        node.start_mark.line + 1, f"{shown(node.value)} is no number that is read here; {wanted}"
    )


StrictLoader.add_constructor(f"{_TAG}int", _whole_number)
StrictLoader.add_constructor(f"{_TAG}float", _decimal)


def read_document(text: str) -> tuple[Any, yaml.Node | None]:
    """What a document holds, and the same as nodes that know their lines; None for an empty one. Raises YamlError."""

    def read(loader: StrictLoader) -> tuple[Any, yaml.Node | None]:
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node

    return _read(text, read)


def read_nodes(text: str) -> yaml.Node | None:
    """The nodes alone, of which no values are made: keys may stand twice. Raises YamlError."""
    return _read(text, lambda loader: loader.get_single_node())


def _read(text: str, read: Callable[[StrictLoader], _T]) -> _T:
    if len(text) > MAX_BYTES:
        raise YamlError(1, f"is larger than {MAX_BYTES // 2**10} KiB")
    loader = None
    try:
        loader = StrictLoader(text)
        return read(loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"holds the control character {shown(str(error.character))}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, f"not valid YAML: {_told(error)}") from error
    except YamlError:
        raise
    except (ValueError, OverflowError, yaml.YAMLError, RecursionError) as error:
        # PyYAML reads escapes and versions by int() and chr()
        line = loader.line + 1 if loader else 1
        raise YamlError(line, f"not valid YAML: {type(error).__name__}") from error


def _told(error: yaml.MarkedYAMLError) -> str:
    return shown(" ".join(str(error.problem or error.context or error).split()), quoted=False)


def shown(text: str, *, quoted: bool = True) -> str:
    """A foreign name in a message: cut, what is not printable escaped."""
    plain = text[:_MOST_SHOWN] + ("..." if len(text) > _MOST_SHOWN else "")
    escaped = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in plain)
    return f"'{escaped}'" if quoted else escaped
