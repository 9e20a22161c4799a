"""What one of the standards says of a picture, before it is weighed against the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from resources.images.metadata.described import Path


@dataclass(slots=True)
class Said:
    """The properties of one block; empty where it says nothing."""

    keywords: tuple[str, ...] = ()
    keyword_paths: tuple[Path, ...] = ()
    title: str = ""
    description: str = ""
    creators: tuple[str, ...] = ()
    rating: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    dated: str | None = None
    own_keywords: frozenset[str] = field(default_factory=frozenset)
    """keywords of the block that are vistag's, and not among those above"""
    own_texts: frozenset[str] = field(default_factory=frozenset)
    by_vistag: bool = False
    """whether vistag wrote into it"""


def texts(values: Iterable[bytes | str], encoding: str | None = None) -> list[str]:
    """Texts without space around them, less the empty ones. Bytes are in `encoding`, or where that is not said in UTF-8,
    else as Windows of the west has them."""
    found = []
    for value in values:
        told = value if isinstance(value, str) else _decoded(value, encoding)
        told = told.replace("\0", "").strip()
        if told:
            found.append(told)
    return found


def _decoded(value: bytes, encoding: str | None) -> str:
    for one in (encoding, "utf-8", "cp1252"):
        try:
            if one:
                return value.decode(one)
        except UnicodeDecodeError:
            continue
    return value.decode("latin-1")


def coordinate(parts: Sequence[float], reference: str, most: int) -> float | None:
    """Degrees, minutes and seconds as one number; None for what is no place."""
    if not parts or reference.upper() not in ("N", "S", "E", "W"):
        return None
    degrees = sum(part / 60**place for place, part in enumerate(parts[:3]))
    degrees = -degrees if reference.upper() in ("S", "W") else degrees
    return degrees if -most <= degrees <= most else None
