"""The header of a JPEG XL file (ISO/IEC 18181-1, annexes D and E): its size and the meaning of its colours.

The decoder (libjxl, through imagecodecs) tells neither before it decodes, nor the colours at all.
"""

from dataclasses import dataclass, replace
from typing import BinaryIO

from resources.images.boxes import boxes, whole

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a"
HEADER_BYTES = 4096
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_WHITES = {10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}


@dataclass(frozen=True, slots=True)
class Header:
    """Sides in pixels, before orientation (1..8, as in EXIF). `primaries`: a code point of ITU-T H.273, or six
    chromaticities; None where the file has a profile, or nothing but sRGB. `white`: None for D65. `gamma`: None where
    `transfer`, a code point, says it."""

    width: int
    height: int
    orientation: int
    primaries: int | tuple[float, ...] | None = None
    white: tuple[float, float] | None = None
    gamma: float | None = None
    transfer: int = 13
    is_by_profile: bool = False
    """Whether the decoder puts out the colours of a profile, which lies compressed in the file, where nothing reads it."""


def header(file: BinaryIO) -> Header | None:
    """What the header says; None if it says nothing that can be read. `file` is read from its start."""
    try:
        return _read(_Bits(_codestream(file)))
    except (IndexError, ValueError):
        return None


def _codestream(file: BinaryIO) -> bytes:
    file.seek(0)
    start = file.read(HEADER_BYTES)
    if not start.startswith(CONTAINER):
        return start
    for box in boxes(file, 0, whole(file).end):
        if box.kind in (b"jxlc", b"jxlp"):
            file.seek(box.start + (4 if box.kind == b"jxlp" else 0))
            return file.read(HEADER_BYTES)
    raise ValueError("no codestream")


class _Bits:
    """Bits of a codestream, the lowest of a byte first."""

    def __init__(self, content: bytes) -> None:
        if not content.startswith(CODESTREAM):
            raise ValueError("no codestream")
        self._bits = int.from_bytes(content[2:], "little")
        self._left = 8 * (len(content) - 2)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError("the header ends early")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *of: tuple[int, int]) -> int:
        """U32: two bits choose among four (offset, number of further bits)."""
        offset, count = of[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))

    def xy(self) -> tuple[float, float]:
        values = []
        for _ in range(2):
            packed = self.choice((0, 19), (524288, 19), (1048576, 20), (2097152, 21))
            values.append((packed // 2 if packed % 2 == 0 else -(packed + 1) // 2) / 1e6)
        return values[0], values[1]


def _read(bits: _Bits) -> Header:
    width, height = _size(bits)
    if bits.flag():  # all of the rest is as by default
        return Header(width, height, 1)
    orientation = 1
    if bits.flag():
        orientation = 1 + bits.take(3)
        if bits.flag():
            _size(bits)
        if bits.flag():
            raise ValueError("a preview, whose size nothing here reads")
        if bits.flag():
            _animation(bits)
    _bit_depth(bits)
    bits.flag()
    for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12))):
        _extra_channel(bits)
    is_xyb = bits.flag()
    return _with_colours(Header(width, height, orientation), bits, is_xyb)


def _size(bits: _Bits) -> tuple[int, int]:
    sides = ((1, 9), (1, 13), (1, 18), (1, 30))
    by_eight = bits.flag()
    height = 8 * (bits.take(5) + 1) if by_eight else bits.choice(*sides)
    if ratio := bits.take(3):
        over, under = _RATIOS[ratio]
        return height * over // under, height
    return (8 * (bits.take(5) + 1) if by_eight else bits.choice(*sides)), height


def _animation(bits: _Bits) -> None:
    bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
    bits.flag()


def _bit_depth(bits: _Bits) -> None:
    if bits.flag():
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choice((8, 0), (10, 0), (12, 0), (1, 6))


def _extra_channel(bits: _Bits) -> None:
    if bits.flag():
        return
    kind = bits.enum()
    _bit_depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
    if kind == 0:
        bits.flag()
    elif kind == 2:
        bits.take(64)
    elif kind == 5:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))


def _with_colours(header: Header, bits: _Bits, is_xyb: bool) -> Header:
    if bits.flag():  # sRGB
        return header
    if bits.flag():  # a profile; the decoder takes XYB to sRGB then
        return replace(header, is_by_profile=not is_xyb)
    space = bits.enum()
    if space == 2:
        return header
    white_code = bits.enum()
    white = bits.xy() if white_code == 2 else _WHITES.get(white_code)
    primaries: int | tuple[float, ...] = 1
    if space != 1:
        primaries = bits.enum()
        if primaries == 2:
            primaries = (*bits.xy(), *bits.xy(), *bits.xy())
    header = replace(header, primaries=primaries, white=white)
    if bits.flag():
        return replace(header, gamma=bits.take(24) / 1e7)
    return replace(header, transfer=bits.enum())
