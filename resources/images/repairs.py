"""Sound pictures in files that strict decoders refuse: what lies beside the pixels is mended, the pixels are not."""

import io
import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from PIL import PngImagePlugin

from resources.images.rejects import Reject

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 1_000_000
BLOCK_BYTES = 1 << 20
MAX_PROFILE_BYTES = 32 * 1024 * 1024
MAX_TEXT_BYTES = PngImagePlugin.MAX_TEXT_CHUNK
_PACKED = (b"zTXt", b"iTXt", b"iCCP")
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_OF_PIXELS = {"wrong_checksum", "no_end_marker"}
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
EOI = b"\xff\xd9"
MAX_PADDING_BYTES = 64
# Whatever follows the end of complete data changes nothing; what is missing it would stand in for.
TAILS = (b"", b"\x55" * 64, b"\xaa" * 64, b"\x0f\x3c" * 32)


class Spliced(io.RawIOBase):
    """Parts of a file, and bytes between them, as one file: nothing is copied. A part is bytes, or (start, end)."""

    def __init__(self, source: BinaryIO, parts: list[bytes | tuple[int, int]]) -> None:
        self._source, self._parts = source, parts
        lengths = (len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)
        self._ends = list(accumulate(lengths))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._ends[-1] if self._ends else 0)[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        number = bisect_right(self._ends, self._at)
        if number == len(self._parts):
            return 0
        part, left = self._parts[number], self._ends[number] - self._at
        count = min(left, len(buffer))
        if isinstance(part, bytes):
            begin = len(part) - left
            buffer[:count] = part[begin : begin + count]
        else:
            self._source.seek(part[1] - left)
            content = self._source.read(count)
            count = len(content)
            buffer[:count] = content
        self._at += count
        return count


@dataclass(frozen=True, slots=True)
class Mended:
    """A file to decode in place of another, what was done, and a colour profile that it no longer holds."""

    file: BinaryIO
    notes: list[str]
    icc_profile: bytes | None = None


def mended_png(source: BinaryIO) -> Mended:
    """A PNG without the chunks beside the picture that are broken or unpack to more than Pillow takes (1 MiB).

    A wrong checksum of the pixels themselves is put right, and a missing end is put there, if what the pixels are packed
    in has an end and a checksum that is right: the picture is whole then. Raises Reject where there is nothing to mend.
    """
    parts: list[bytes | tuple[int, int]] = [(0, len(PNG_SIGNATURE))]
    notes: set[str] = set()
    profile: bytes | None = None
    at, end = len(PNG_SIGNATURE), source.seek(0, 2)
    for _ in range(MAX_CHUNKS):
        source.seek(at)
        head = source.read(8)
        length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (end, b"")
        stop = at + 12 + length
        if stop > end:  # cut off, it may be behind the last pixel
            parts.append(_PNG_END)
            notes.add("no_end_marker")
            break
        told, right = _checksums(source, at, length)
        if told != right and kind[:1].islower():
            notes.add("metadata_unreadable")
        elif told != right:
            parts += [(at, stop - 4), struct.pack(">I", right)]
            notes.add("wrong_checksum")
        elif kind in _PACKED and length + 12 < MAX_PROFILE_BYTES:
            source.seek(at + 8)
            unpacked = _unpacked(kind, source.read(length))
            if unpacked is None or len(unpacked) == MAX_PROFILE_BYTES:
                notes.add("metadata_unreadable")
            elif len(unpacked) > MAX_TEXT_BYTES:
                notes.add("metadata_too_large" if kind != b"iCCP" else "large_colour_profile")
                profile = unpacked if kind == b"iCCP" else profile
            else:
                parts.append((at, stop))
        elif kind in _TEXTS and length > MAX_TEXT_BYTES:
            notes.add("metadata_too_large")
        else:
            parts.append((at, stop))
        at = stop
        if kind == b"IEND":
            break
    mended = io.BufferedReader(Spliced(source, parts))
    if not notes or (notes & _OF_PIXELS and not _pixels_are_whole(mended)):
        raise Reject("damaged", "There is nothing beside its picture that could be mended.")
    mended.seek(0)
    return Mended(mended, sorted(notes), profile)


def _checksums(source: BinaryIO, at: int, length: int) -> tuple[int, int]:
    source.seek(at + 4)
    left, right = 4 + length, 0
    while left and (block := source.read(min(left, BLOCK_BYTES))):
        right = zlib.crc32(block, right)
        left -= len(block)
    return int.from_bytes(source.read(4), "big"), right


def _unpacked(kind: bytes, content: bytes) -> bytes | None:
    """What a compressed chunk holds, to `MAX_PROFILE_BYTES`; None if it is broken, its own text if it is not compressed."""
    _, _, rest = content.partition(b"\0")
    if kind == b"iTXt":
        if rest[:1] == b"\0":
            return content
        rest = rest[1:2] + rest[2:].split(b"\0", 2)[-1]
    try:
        return zlib.decompressobj().decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None


def _pixels_are_whole(png: BinaryIO) -> bool:
    """Whether the pixels' stream (zlib) ends where it should, with the checksum of what it holds."""
    unpack = zlib.decompressobj()
    at = len(PNG_SIGNATURE)
    try:
        while True:
            png.seek(at)
            head = png.read(8)
            if len(head) < 8:
                return unpack.eof
            length, kind = struct.unpack(">I4s", head)
            content = png.read(length) if kind == b"IDAT" else b""
            while content:
                unpack.decompress(content, BLOCK_BYTES)
                content = unpack.unconsumed_tail
            at += 12 + length
    except zlib.error:
        return False


def ended_jpegs(source: BinaryIO) -> list[BinaryIO]:
    """A JPEG that lacks its end marker, ended in several ways: it is whole if all of them show the same picture.

    Raises Reject where it has an end, or scans are missing.
    """
    end = source.seek(0, 2)
    source.seek(max(0, end - MAX_PADDING_BYTES - 2))
    tail = source.read()
    padding = len(tail) - len(tail.rstrip(b"\0"))
    if tail.rstrip(b"\0").endswith(EOI) or padding >= MAX_PADDING_BYTES or not _has_all_scans(source):
        raise Reject("truncated", "Its picture is not whole.")
    # Two zeros may belong to the picture; more of them are padding.
    kept = end - (padding if padding > 2 else 0)
    return [io.BufferedReader(Spliced(source, [(0, kept), extra + EOI])) for extra in TAILS]


def _has_all_scans(source: BinaryIO) -> bool:
    """Whether every coefficient of every component was refined to its last bit (ITU-T T.81, G.1.1.1)."""
    source.seek(0)
    content = source.read()
    components: set[int] = set()
    progressive = False
    complete: dict[int, set[int]] = {}
    at = 2
    while 0 <= at < len(content) - 4:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        body = content[at + 4 : at + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) and len(body) >= 6:
            progressive = marker in (0xC2, 0xCA)
            components = set(body[6 : 6 + 3 * body[5] : 3])
        if marker == 0xDA and body:
            first, last, bits = body[-3:] if progressive else (0, 63, 0)
            if bits & 15 == 0:
                for component in body[1 : 1 + 2 * body[0] : 2]:
                    complete.setdefault(component, set()).update(range(first, min(last, 63) + 1))
        at = _next_marker(content, at + 2 + length) if marker == 0xDA else at + 2 + length
    return bool(components) and all(len(complete.get(component, ())) == 64 for component in components)


def _next_marker(content: bytes, at: int) -> int:
    """Where the marker behind entropy-coded data is: no stuffed zero, no restart; -1 where there is none."""
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        if content[at + 1] not in (0, 0xFF, *range(0xD0, 0xD8)):
            return at
        at += 1 if content[at + 1] == 0xFF else 2
    return -1
