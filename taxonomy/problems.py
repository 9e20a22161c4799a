"""What is wrong with a vocabulary file, and where: every problem of a file is reported at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """A problem at a line, counted from 1; a problem of the whole file stands at line 1."""

    line: int
    text: str


class TaxonomyError(ValueError):
    """A vocabulary that cannot be used. The message has one ``file:line: problem`` for each flaw."""

    def __init__(self, path: Path, flaws: Iterable[Flaw]) -> None:
        self.path = path
        self.flaws = tuple(sorted(set(flaws)))
        super().__init__("\n".join(f"{path}:{flaw.line}: {flaw.text}" for flaw in self.flaws))


def read_text(path: Path) -> str:
    """The file as UTF-8, without a byte order mark. Raises TaxonomyError when it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TaxonomyError(path, [Flaw(1, f"cannot be read: {error.strerror}")]) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TaxonomyError(path, [Flaw(line, "is not UTF-8; save the file as UTF-8")]) from error
    if not text.strip():
        raise TaxonomyError(path, [Flaw(1, "the file is empty")])
    return text


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A suffix for a message: the nearest known word, or nothing when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f'; did you mean "{near[0]}"?' if near else ""
