"""Boxes of ISO media files (HEIF, AVIF, JPEG 2000, JPEG XL): only as far as colours and sizes need them."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_BOXES = 4096
"""A file of a stranger may have any number; those that matter come first."""
MAX_BODY_BYTES = 32 * 1024 * 1024


class Box(NamedTuple):
    """A box of kind `kind`, its body from `start` to `end` in the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places of a file, to the first that is none."""
    for _ in range(MAX_BOXES):
        file.seek(start)
        head = file.read(16)
        if len(head) < 8 or start >= end:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        body = start + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
            body = start + 16
        stop = end if length == 0 else start + length
        if stop < body or stop > end:
            return
        yield Box(kind, body, stop)
        start = stop


def inside(file: BinaryIO, box: Box | None, kind: bytes, skip: int = 0) -> Box | None:
    """The first box of that kind inside another, behind `skip` bytes of its body."""
    if box is None:
        return None
    return next((found for found in boxes(file, box.start + skip, box.end) if found.kind == kind), None)


def body(file: BinaryIO, box: Box) -> bytes:
    """What a box holds, or its first part if that is beyond all reason."""
    file.seek(box.start)
    return file.read(min(box.end - box.start, MAX_BODY_BYTES))


def whole(file: BinaryIO) -> Box:
    """The file as the box that holds all others."""
    return Box(b"", 0, file.seek(0, 2))


def primary_colours(file: BinaryIO) -> list[bytes]:
    """Bodies of the colour boxes (`colr`) of the primary item of a HEIF or AVIF file (ISO/IEC 23008-12).

    Where that has none, those of all items: a grid's tiles may have them in its place.
    """
    meta = inside(file, whole(file), b"meta")
    properties = inside(file, meta, b"iprp", skip=4)
    container = inside(file, properties, b"ipco")
    primary, associations = inside(file, meta, b"pitm", skip=4), inside(file, properties, b"ipma")
    if container is None:
        return []
    known = list(boxes(file, container.start, container.end))
    of_primary: list[int] = []
    if primary and associations:
        of_primary = _associated(body(file, associations), _item(body(file, primary)))
    chosen = [known[index - 1] for index in of_primary if 0 < index <= len(known)]
    colours = [box for box in chosen if box.kind == b"colr"] or [box for box in known if box.kind == b"colr"]
    return [body(file, box) for box in colours]


def are_channels_reordered(file: BinaryIO) -> bool:
    """Whether a JPEG 2000 says that its colours come in another order than they stand in (ISO/IEC 15444-1, I.5.3.6)."""
    definition = inside(file, inside(file, whole(file), b"jp2h"), b"cdef")
    if definition is None:
        return False
    content = body(file, definition)[2:]
    entries = struct.iter_unpack(">3H", content[: len(content) // 6 * 6])
    return any(
        kind == 0 and 0 < colour < 65535 and colour != channel + 1 for channel, kind, colour in entries
    )


def largest_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in pixels of the largest picture that a HEIF or AVIF file says it has; zeros where it says none."""
    container = inside(file, inside(file, inside(file, whole(file), b"meta"), b"iprp", skip=4), b"ipco")
    sizes = [(0, 0)]
    if container is not None:
        for box in boxes(file, container.start, container.end):
            if box.kind == b"ispe" and box.end - box.start >= 12:
                width, height = struct.unpack(">4xII", body(file, box)[:12])
                sizes.append((width, height))
    return max(sizes, key=lambda size: size[0] * size[1])


def _item(pitm: bytes) -> int:
    return int.from_bytes(pitm[4:6] if pitm[0] == 0 else pitm[4:8], "big")


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of the properties of an item."""
    long_id, long_index = ipma[0] > 0, ipma[3] & 1
    (entries,) = struct.unpack(">I", ipma[4:8])
    at = 8
    for _ in range(min(entries, MAX_BOXES)):
        size = 4 if long_id else 2
        found, count = int.from_bytes(ipma[at : at + size], "big"), ipma[at + size]
        at += size + 1
        width = 2 if long_index else 1
        indices = [int.from_bytes(ipma[at + width * n : at + width * (n + 1)], "big") for n in range(count)]
        if found == item:
            return [index & (0x7FFF if long_index else 0x7F) for index in indices]
        at += width * count
    return []
