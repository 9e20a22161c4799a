"""Decoding by Pillow and its plug-ins: all that most files need."""

import struct
from contextlib import suppress
from functools import partial
from os import SEEK_CUR
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import (
    AvifImagePlugin,  # noqa: F401 - importing a plugin registers it, for all those below
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    PsdImagePlugin,  # noqa: F401
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)
from PIL.ExifTags import IFD

from resources.images.boxes import largest_size
from resources.images.by_imagecodecs import open_by_imagecodecs
from resources.images.levels import to_8_bit
from resources.images.picture import Box, Limits, Opened, Pixels, too_large
from resources.images.rejects import Reject
from resources.images.repairs import ended_jpegs, mended_png

pillow_heif.register_heif_opener()

# DIB last: its mark is four bytes that are mostly zero.
FORMATS = (
    *("JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "JPEG2000", "PPM", "PSD"),
    "DIB",
)
WIDE_MODES = frozenset(["I", "F", "I;16", "I;16B", "I;16L", "I;16N"])  # more than 8 bits, one channel
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second
SUBFILE, OLD_SUBFILE, MAX_SAMPLE = 254, 255, 341
TILE_WIDTH, TILE_LENGTH = 322, 323
REDUCED_OR_MASK, OLD_REDUCED = 0b101, 2
DARK = 64
"""Below this value of 8 bits, a colour of 16 bits may be one of 14, whose lower bits are the picture."""
MOST_OF_AVIF = 16384 * 16384
"""pixels (libavif: imageSizeLimit)"""
MAX_PAGES = 64
"""that are looked at for one at full size"""


def format_of(header: bytes) -> str | None:
    """Which of `FORMATS` a file is that begins so."""
    for name in FORMATS:
        _, accepts = Image.OPEN[name]
        if accepts is not None and accepts(header) is True:
            return name
    return None


def open_by_pillow(source: BinaryIO, limits: Limits, name: str) -> Opened:
    """Read the header. Does what `Image.open` does, less its size check: that one's limit is a global of the
    process, and counts a JPEG at full size; the limit here is checked before anything is decoded."""
    # A JPEG with further pictures behind it (MPO) is read as the JPEG that it starts with.
    factory = JpegImagePlugin.JpegImageFile if name == "JPEG" else Image.OPEN[name][0]
    if name in ("HEIF", "AVIF"):
        _refuse_too_large(source, limits, name)
    source.seek(0)
    image = factory(source, "")
    notes = _seek_main(image)
    size_px = image.size
    box, held_pixels = _scale_down(image, limits.proxy_max_side_px)
    return Opened(size_px, held_pixels, partial(_read, image, size_px, box, notes, source, limits))


def _refuse_too_large(source: BinaryIO, limits: Limits, name: str) -> None:
    """Raises Reject. The decoders of these formats have limits of their own, beyond which they say that a file is broken."""
    width, height = largest_size(source)
    if width * height > limits.max_pixels:
        raise too_large(width, height, width * height, limits)
    if name == "AVIF" and width * height > MOST_OF_AVIF:
        raise Reject(
            "too_large",
            f"The picture is {width} x {height} pixels; the decoder of AVIF takes {MOST_OF_AVIF:,} at most. "
            "Export a smaller copy, or one as TIFF.",
        )


def open_mended_png(source: BinaryIO, limits: Limits) -> Opened:
    """A PNG without what is broken beside its picture."""
    mended = mended_png(source)
    opened = open_by_pillow(mended.file, limits, "PNG")

    def read() -> Pixels:
        pixels = opened.read()
        if mended.icc_profile:
            pixels.info["icc_profile"] = mended.icc_profile
        pixels.notes += mended.notes
        return pixels

    return Opened(opened.size_px, opened.held_pixels, read)


def open_ended_jpeg(source: BinaryIO, limits: Limits) -> Opened:
    """A JPEG that lacks nothing but its end marker: whatever is put in the place of what might be missing, it shows
    the same picture."""
    first, *others = (open_by_pillow(file, limits, "JPEG") for file in ended_jpegs(source))

    def read() -> Pixels:
        pixels = first.read()
        for other in others:
            if other.read().image.tobytes() != pixels.image.tobytes():
                raise Reject("truncated", "Its picture is not whole.")
        pixels.notes.append("no_end_marker")
        return pixels

    return Opened(first.size_px, 2 * first.held_pixels, read)


def _read(
    image: ImageFile.ImageFile,
    size_px: tuple[int, int],
    box: Box | None,
    notes: list[str],
    source: BinaryIO,
    limits: Limits,
) -> Pixels:
    mode, deep = image.mode, _is_deep(image)
    image.load()
    if box is None:  # some decoders know the true size only now, and TIFF turns itself upright
        size_px = image.size
    exif, info = _exif(image), {str(name): told for name, told in image.info.items()}
    picture: Image.Image = image
    if mode in WIDE_MODES:
        values, more = to_8_bit(np.asarray(image), _white_of(image), _is_negative(image))
        picture = Image.fromarray(values)
        notes = notes + more
    elif deep and max(most for _, most in image.getextrema()) < DARK:  # type: ignore[misc]
        with suppress(Exception):  # then it stays as dark as it is
            source.seek(0)
            deeper = open_by_imagecodecs(source, limits, image.format or "").read()
            picture, notes = deeper.image, notes + deeper.notes
    return Pixels(
        picture, size_px, image.format or "", mode, box, partial(_frames, image), info, exif, notes=notes
    )


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a colour picture has 16 bits a channel, of which Pillow keeps the upper 8."""
    return any(";16" in str(tile.args) for tile in image.tile) and len(image.getbands()) > 2


def _seek_main(image: ImageFile.ImageFile) -> list[str]:
    """Go to the page or frame that is the picture; returns notes.

    The first frame of an animation, which in a PNG may come after a picture for programs that show none; the first
    page of a TIFF that is neither a reduced copy nor a mask.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        if getattr(image, "default_image", False) and getattr(image, "n_frames", 1) > 1:
            image.seek(1)
            return ["default_image_passed_over"]
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and _is_reduced(image):
        for page in range(1, MAX_PAGES):
            try:
                image.seek(page)
            except EOFError:
                break
            if not _is_reduced(image):
                return ["reduced_pages_passed_over"]
        raise Reject("unsupported", "It holds reduced copies of a picture, which Pillow does not look below.")
    return []


def _is_reduced(image: TiffImagePlugin.TiffImageFile) -> bool:
    tags = image.tag_v2
    return bool(int(tags.get(SUBFILE, 0)) & REDUCED_OR_MASK) or tags.get(OLD_SUBFILE) == OLD_REDUCED


def _scale_down(image: ImageFile.ImageFile, max_side_px: int) -> tuple[Box | None, int]:
    """Set a JPEG to be decoded at the smallest scale (1/1 to 1/8) that is not below the proxy.

    Returns the region of the decoded picture that holds it (None for other formats), and how many pixels
    decoding will hold: a JPEG in several scans is held whole before it is scaled.
    """
    width, height = image.size
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None, width * height + _tile_pixels(image)
    whole = not _is_one_scan(image)
    draft = image.draft(None, bounded_size(width, height, max_side_px))
    held = (width, height) if whole else image.size
    return (draft[1] if draft else None), held[0] * held[1]


def _tile_pixels(image: ImageFile.ImageFile) -> int:
    """Of one tile of a TIFF, which is decoded whole, however little of it lies inside the picture."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    return int(image.tag_v2.get(TILE_WIDTH, 0)) * int(image.tag_v2.get(TILE_LENGTH, 0))


def bounded_size(width: int, height: int, max_side_px: int) -> tuple[int, int]:
    """The sides of a picture that is reduced, never enlarged, to have none above `max_side_px`; in pixels."""
    scale = min(1.0, max_side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _is_one_scan(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether the first scan of a JPEG, whose header has just been read, holds all of its components."""
    assert image.fp is not None
    if "progressive" in image.info:
        return False
    length = 6 + 2 * image.layers  # of a scan header that names every component (ISO 10918-1, B.2.3)
    image.fp.seek(-length, SEEK_CUR)
    return image.fp.read(3) == struct.pack(">HB", length, image.layers)


def _white_of(image: ImageFile.ImageFile) -> float | None:
    """The value that means white, or None where the format does not say (floats, 32-bit integers)."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode.startswith("I;16"):
        told = image.tag_v2.get(MAX_SAMPLE)
        most = told[0] if isinstance(told, tuple) else told
        if isinstance(most, int) and 0 < most < 65535:
            return float(most)
        return float(2 ** image.tag_v2.get(BITS_PER_SAMPLE, (16,))[0] - 1)
    return 65535.0 if image.mode.startswith("I;16") or image.format == "PPM" else None


def _is_negative(image: ImageFile.ImageFile) -> bool:
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _exif(image: ImageFile.ImageFile) -> Image.Exif:
    """The EXIF data, or none if they are broken (Pillow raises many things for it); the picture is sound."""
    try:
        exif = image.getexif()
        exif.get_ifd(IFD.Exif)
        exif.get_ifd(IFD.Interop)
    except Exception:
        return Image.Exif()
    return exif


def _frames(image: ImageFile.ImageFile) -> int:
    """How many frames or pages the file holds; 1 if a later one is too broken to be counted past."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 1
