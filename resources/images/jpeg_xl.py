"""The header of a JPEG XL file (ISO/IEC 18181-1, annexes D and E): its size and the meaning of its colours.

The decoder (libjxl, through imagecodecs) tells neither before it decodes, nor the colours at all. A profile lies
compressed in the file; libjxl itself is asked for it.
"""

import ctypes
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from resources.images.boxes import boxes, whole

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a"
HEADER_BYTES = 4096
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_WHITES = {10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}


@dataclass(frozen=True, slots=True)
class Header:
    """Sides in pixels, before orientation (1..8, as in EXIF). `primaries`: a code point of ITU-T H.273, or six
    chromaticities; None where the file has a profile, or nothing but sRGB. `white_point`: None for D65. `gamma`: None where
    `transfer`, a code point, says it."""

    width: int
    height: int
    orientation: int
    primaries: int | tuple[float, ...] | None = None
    white_point: tuple[float, float] | None = None
    gamma: float | None = None
    transfer: int = 13
    is_by_profile: bool = False
    """Whether nothing but a profile tells the colours that the decoder puts out (`profile`)."""
    white: float = 255.0
    """The value of a sample that means white: 1 for floats."""
    is_premultiplied: bool = False
    """Whether the colours are multiplied by the alpha channel."""
    has_black: bool = False
    """Whether the first extra channel is the black of CMYK."""


def header(file: BinaryIO) -> Header | None:
    """What the header says; None if it says nothing that can be read. `file` is read from its start."""
    try:
        return _read(_Bits(_codestream(file)))
    except (IndexError, ValueError):
        return None


def profile(file: BinaryIO) -> bytes | None:
    """The ICC profile of what the decoder puts out; None where there is no libjxl of a version whose calls are known."""
    if (libjxl := libjxl_library()) is None:
        return None
    file.seek(0)
    content = file.read()
    decoder = ctypes.c_void_p(libjxl.JxlDecoderCreate(None))
    try:
        libjxl.JxlDecoderSubscribeEvents(decoder, COLOUR_ENCODING)
        libjxl.JxlDecoderSetInput(decoder, content, ctypes.c_size_t(len(content)))
        libjxl.JxlDecoderCloseInput(decoder)
        size = ctypes.c_size_t()
        if libjxl.JxlDecoderProcessInput(decoder) != COLOUR_ENCODING:
            return None
        if libjxl.JxlDecoderGetICCProfileSize(decoder, OF_ITS_SAMPLES, ctypes.byref(size)) != 0:
            return None
        if not 0 < size.value <= MAX_PROFILE_BYTES:
            return None
        icc = ctypes.create_string_buffer(size.value)
        done = libjxl.JxlDecoderGetColorAsICCProfile(decoder, OF_ITS_SAMPLES, icc, size)
        return icc.raw if done == 0 else None
    finally:
        libjxl.JxlDecoderDestroy(decoder)


COLOUR_ENCODING, OF_ITS_SAMPLES = 0x100, 1
MAX_PROFILE_BYTES = 32 * 1024 * 1024
FIRST_VERSION = 9000
"""0.9: before that two of the calls had another argument"""


@lru_cache(maxsize=1)
def libjxl_library() -> ctypes.CDLL | None:
    """The libjxl that imagecodecs brings along; None where it is linked in another way."""
    import imagecodecs

    getattr(imagecodecs, "jpegxl_decode")  # noqa: B009 - loads it
    package = Path(imagecodecs.__file__).parent
    places = (package.with_name("imagecodecs.libs"), package / ".dylibs")
    found = [file for place in places for file in sorted(place.glob("libjxl[-.]*"))]
    if not found:
        return None
    libjxl = ctypes.CDLL(str(found[0]))
    libjxl.JxlDecoderCreate.restype = ctypes.c_void_p
    return libjxl if libjxl.JxlDecoderVersion() >= FIRST_VERSION else None


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
    white = _white(bits)
    bits.flag()
    extra = [_extra_channel(bits) for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12)))]
    bits.flag()  # whether it is XYB
    header = Header(
        width,
        height,
        orientation,
        white=white,
        is_premultiplied=(ALPHA, True) in extra,
        has_black=bool(extra) and extra[0][0] == BLACK,
    )
    return _with_colours(header, bits)


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


def _white(bits: _Bits) -> float:
    """What means white in samples of the depth that is read."""
    if bits.flag():
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
        return 1.0
    return float(2 ** bits.choice((8, 0), (10, 0), (12, 0), (1, 6)) - 1)


ALPHA, SPOT, BLACK, COLOUR_FILTER = 0, 2, 4, 5


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """Its kind, and whether it is an alpha channel that the colours are multiplied by."""
    if bits.flag():
        return ALPHA, False
    kind, is_premultiplied = bits.enum(), False
    _white(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
    if kind == ALPHA:
        is_premultiplied = bits.flag()
    elif kind == SPOT:
        bits.take(64)
    elif kind == COLOUR_FILTER:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
    return kind, is_premultiplied


def _with_colours(header: Header, bits: _Bits) -> Header:
    if bits.flag():  # sRGB
        return header
    if bits.flag():  # a profile; of XYB the decoder makes linear sRGB then, which also it has a profile for
        return replace(header, is_by_profile=True)
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
    header = replace(header, primaries=primaries, white_point=white)
    if bits.flag():
        return replace(header, gamma=bits.take(24) / 1e7)
    return replace(header, transfer=bits.enum())
