"""Every regular expression of the packages, how it is used, and texts that are bad for it."""

from __future__ import annotations

import ast
import importlib
import re
import re._constants as op
import re._parser as parser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("taxonomy", "resources", "vistag_assets", "evaluation", "sensors", "deploy")
ANCHORED = {"match", "fullmatch"}
_FUNCTIONS = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
_FOREIGN = "\x01"
"""A letter that patterns do not expect"""
_MOST_LETTERS = 10


@dataclass
class Use:
    """A pattern, where it stands, and the functions that are called with it."""

    pattern: re.Pattern[Any]
    place: str
    functions: set[str] = field(default_factory=set)

    @property
    def is_anchored(self) -> bool:
        """It is only ever tried at one place of a text."""
        return bool(self.functions) and self.functions <= ANCHORED


def all_uses() -> tuple[list[Use], set[tuple[str, str]]]:
    """Each pattern once a place, and (file, source) of those that only running code knows."""
    trees = {
        path: ast.parse(path.read_text()) for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))
    }
    uses: list[Use] = []
    unknown: set[tuple[str, str]] = set()
    for path, tree in trees.items():
        calls = [call for call in ast.walk(tree) if _function_of_re(call)]
        file = str(path.relative_to(ROOT))
        if any(_function_of_re(call) == "compile" for call in calls) and not file.startswith("deploy"):
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for name, value in vars(module).items():
                uses += [Use(pattern, f"{file}: {name}") for pattern in _patterns_in(value)]
        at_top = {
            id(call) for statement in tree.body if not _is_inside(statement) for call in ast.walk(statement)
        }
        for call in calls:
            function = _function_of_re(call)
            assert isinstance(call, ast.Call)
            if function == "compile" and id(call) in at_top:
                continue
            if isinstance(call.args[0], ast.Constant):
                pattern = re.compile(call.args[0].value, _flags(call))
                uses.append(Use(pattern, f"{file}: line {call.lineno}", {function} - {"compile"}))
            else:
                unknown.add((file, ast.unparse(call.args[0])))
    _add_functions(uses, trees.values())
    own = {use.place: use for use in uses}
    return list(own.values()), unknown


def _is_inside(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _function_of_re(node: ast.AST) -> str:
    """The function of `re` that is called; empty where it is no such call."""
    is_one = (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    )
    if not is_one or node.func.value.id != "re" or node.func.attr not in {*_FUNCTIONS, "compile"}:  # type: ignore[attr-defined]
        return ""
    return str(node.func.attr)  # type: ignore[attr-defined]


def _flags(call: ast.Call) -> int:
    given = [word.value for word in call.keywords if word.arg == "flags"]
    position = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(_function_of_re(call), 2)
    given += call.args[position : position + 1]
    names = [node.attr for flags in given for node in ast.walk(flags) if isinstance(node, ast.Attribute)]
    return sum({int(getattr(re, name)) for name in names})


def _patterns_in(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping):
        yield from (inner for each in value.items() for inner in _patterns_in(each))
    elif isinstance(value, tuple | list | set | frozenset):
        yield from (inner for each in value for inner in _patterns_in(each))


def _add_functions(uses: list[Use], trees: Any) -> None:
    """By the name of a pattern: a name that two modules use gets the functions of both."""
    by_name: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in _FUNCTIONS:
                name = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
                by_name.setdefault(name, set()).add(node.attr)
    for use in uses:
        use.functions |= by_name.get(use.place.rpartition(" ")[2], set())


# Texts


Attack = Callable[[int], Any]
"""A size -> a text of about as many letters"""


def attacks(pattern: re.Pattern[Any]) -> Iterator[Attack]:
    """Texts of any size: what the pattern begins with, what it may repeat, and an end that it does not like."""
    is_bytes = isinstance(pattern.pattern, bytes)
    source = pattern.pattern.decode("latin-1") if is_bytes else pattern.pattern
    tree = list(parser.parse(source, pattern.flags & ~re.LOCALE))
    letters = list(dict.fromkeys(letter for item in tree for letter in _letters(item)))[:_MOST_LETTERS]
    letters = list(dict.fromkeys([*letters, " ", "a"]))
    starts = ["", *(dict.fromkeys("".join(map(_witness, tree[:count])) for count in range(1, len(tree) + 1)))]
    pumps = [
        *letters,
        *("".join(pair) for pair in product(letters, repeat=2) if pair[0] != pair[1]),
        *starts[1:],
    ]
    for start, pump, end in product(starts, filter(None, dict.fromkeys(pumps)), ("", _FOREIGN)):
        yield partial(_text, start, pump, end, is_bytes)


def _text(start: str, pump: str, end: str, is_bytes: bool, size: int) -> Any:
    text = start + pump * (size // len(pump)) + end
    return text.encode("latin-1", "replace") if is_bytes else text


def _letters(item: Any) -> Iterator[str]:
    """A letter of each literal and class in a part of a pattern."""
    kind, value = item
    if kind in (op.LITERAL, op.NOT_LITERAL):
        yield chr(value) if kind is op.LITERAL else "b"
    elif kind is op.ANY:
        yield "b"
    elif kind is op.RANGE:
        yield chr(value[0])
    elif kind is op.CATEGORY:
        yield _CATEGORIES[value]
    elif kind is op.IN:
        if value[0][0] is op.NEGATE:
            yield "b"
        yield from (letter for inner in value for letter in _letters(inner))
    else:
        yield from (letter for inner in _parts(kind, value) for letter in _letters(inner))


_CATEGORIES = {
    op.CATEGORY_DIGIT: "7",
    op.CATEGORY_NOT_DIGIT: "b",
    op.CATEGORY_SPACE: " ",
    op.CATEGORY_NOT_SPACE: "b",
    op.CATEGORY_WORD: "b",
    op.CATEGORY_NOT_WORD: "-",
}


def _parts(kind: Any, value: Any) -> list[Any]:
    """What lies in a group, a choice, a repeat or a look around."""
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        return list(value[2])
    if kind is op.SUBPATTERN:
        return list(value[3])
    if kind is op.ATOMIC_GROUP:
        return list(value)
    if kind is op.BRANCH:
        return [item for branch in value[1] for item in branch]
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return list(value[1])
    return []


def _witness(item: Any) -> str:
    """A short text that a part of a pattern takes, more or less."""
    kind, value = item
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        return "".join(map(_witness, value[2])) * max(1, min(value[0], 20))
    if kind is op.BRANCH:
        return "".join(map(_witness, value[1][0]))
    if kind in (op.AT, op.ASSERT, op.ASSERT_NOT, op.GROUPREF):
        return ""
    inner = _parts(kind, value)
    return "".join(map(_witness, inner)) if inner else next(_letters(item), "")
