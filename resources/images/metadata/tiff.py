"""Directories of tags, as TIFF and Exif have them: only the tags that are asked for, and no more than is reasonable."""

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBERS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}
_MOST_TAGS = 4096
_MOST_BYTES = 16 * 1024 * 1024
_ORDERS = {b"II": "<", b"MM": ">"}


@dataclass(frozen=True, slots=True)
class Value:
    """A tag's value: its type by number, its bytes, and their order (`<` or `>`)."""

    kind: int
    content: bytes
    order: str

    @property
    def number(self) -> int:
        """The first, 0 where there is none."""
        code = _NUMBERS.get(self.kind)
        if code is None or len(self.content) < _SIZES[self.kind]:
            return 0
        return int(struct.unpack_from(f"{self.order}{code}", self.content)[0])

    @property
    def rationals(self) -> list[float]:
        """Of a rational; a denominator of 0 ends them."""
        found = []
        code = "II" if self.kind == 5 else "ii"
        for top, bottom in struct.iter_unpack(self.order + code, self.content[: len(self.content) // 8 * 8]):
            if not bottom:
                break
            found.append(top / bottom)
        return found


class Directories:
    """A TIFF, BigTIFF or Exif block that begins at `start` of a file. Raises ValueError if it is none."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file, self._start = file, start
        file.seek(start)
        head = file.read(16)
        if len(head) < 8 or head[:2] not in _ORDERS:
            raise ValueError("no TIFF")
        self._order = _ORDERS[head[:2]]
        self._big = head[2:4] in (b"+\0", b"\0+")
        if self._big and len(head) < 16:
            raise ValueError("no BigTIFF")
        self.first = int(
            struct.unpack(
                f"{self._order}{'Q' if self._big else 'I'}", head[8:16] if self._big else head[4:8]
            )[0]
        )

    def tags(self, at: int, wanted: Collection[int]) -> dict[int, Value]:
        """The tags of the directory at that place, of those that are wanted; what lies outside the file is left out."""
        return dict(self._entries(at, wanted))

    def _entries(self, at: int, wanted: Collection[int]) -> Iterator[tuple[int, Value]]:
        counted, entry, inline = ("Q", 20, 8) if self._big else ("H", 12, 4)
        head = self._read(at, struct.calcsize(counted))
        if not at or len(head) < struct.calcsize(counted):
            return
        (count,) = struct.unpack(self._order + counted, head)
        count = min(count, _MOST_TAGS)
        table = self._read(at + len(head), count * entry)
        form = f"{self._order}HH{'Q' if self._big else 'I'}"
        seen: set[int] = set()
        for place in range(0, len(table) - entry + 1, entry):
            tag, kind, length = struct.unpack_from(form, table, place)
            size = _SIZES.get(kind, 0) * length
            if tag not in wanted or tag in seen or not 0 < size <= _MOST_BYTES:
                continue
            seen.add(tag)
            own = table[place + entry - inline : place + entry]
            if size > inline:
                (offset,) = struct.unpack(f"{self._order}{'Q' if self._big else 'I'}", own)
                own = self._read(offset, size)
            if own:
                yield tag, Value(kind, own[:size], self._order)

    def _read(self, at: int, length: int) -> bytes:
        self._file.seek(self._start + at)
        return self._file.read(length)


DESCRIPTION, ARTIST, XMP, IIM, PHOTOSHOP, EXIF, GPS = 270, 315, 700, 33723, 34377, 34665, 34853
DATE_TIME_ORIGINAL, OFFSET_TIME_ORIGINAL = 36867, 36881
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE = 1, 2, 3, 4
BLOCKS = (XMP, IIM, PHOTOSHOP)
