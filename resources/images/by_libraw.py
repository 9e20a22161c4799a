"""Cameras' raw files, by LibRaw (rawpy): the camera's own preview in them, or the sensor's picture developed."""

import contextlib
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import IFD, Base

from resources.images.by_pillow import open_by_pillow
from resources.images.picture import Limits, Opened, Pixels
from resources.images.rejects import Reject

ORIENTATIONS = {3: 3, 5: 8, 6: 6}
"""LibRaw's flip -> EXIF's orientation"""
SENSOR_PHOTOMETRIC = frozenset([32803, 34892])
"""colour filter array, linear raw"""
RAW_COMPRESSIONS = frozenset([32767, 32769, 32770, 34713, 65000, 65535])
DNG_VERSION = 50706


def is_raw(header: bytes) -> bool:
    """Whether a file that begins so is a raw file that is no TIFF, or a TIFF that says so in its first bytes."""
    return (
        header[:4] in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
        or header[:8] == b"FUJIFILM"
        or header[4:12] == b"ftypcrx "
        or header[6:14] == b"HEAPCCDR"
        or (header[:4] in (b"II*\0", b"MM\0*") and header[8:10] == b"CR")
    )


def is_raw_tiff(source: BinaryIO) -> bool:
    """Whether a TIFF holds what a sensor saw: NEF, ARW, DNG and the like are TIFFs by their first bytes."""
    with contextlib.suppress(Exception):  # a broken TIFF is for its decoders to judge
        import tifffile

        source.seek(0)
        first: Any = tifffile.TiffFile(source).pages[0]
        below = list(first.pages or ())[:8]
        return any(
            DNG_VERSION in page.tags
            or int(page.photometric) in SENSOR_PHOTOMETRIC
            or int(page.compression) in RAW_COMPRESSIONS
            for page in (first, *below)
        )
    return False


def open_by_libraw(source: BinaryIO, limits: Limits) -> Opened:
    """The preview if it is as large as the proxy or the sensor's picture, or `limits.raw` asks for no more; developed
    otherwise, at half size where that is enough."""
    import rawpy

    raw = rawpy.RawPy()
    source.seek(0)
    try:
        raw.open_buffer(source)
    except rawpy.LibRawError as error:
        raise Reject("unsupported", _UNKNOWN.format(_words(error))) from error
    sides = sorted((raw.sizes.width, raw.sizes.height))
    opened = _preview(raw, limits) if limits.raw == "preview" else None
    if opened and max(opened.size_px) >= min(sides[1] * 0.9, limits.proxy_max_side_px):
        return Opened(opened.size_px, opened.held_pixels, partial(_read_preview, raw, opened, source))
    is_half = sides[1] // 2 >= limits.proxy_max_side_px
    return Opened(
        (raw.sizes.width, raw.sizes.height), sides[0] * sides[1], partial(_develop, raw, is_half, source)
    )


_UNKNOWN = (
    "This is a camera's raw format, or a kind of it, that LibRaw does not read ({}). Export it as TIFF or JPEG beside "
    "the original."
)


def _words(error: Exception) -> str:
    return error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)


def _preview(raw: Any, limits: Limits) -> Opened | None:
    import rawpy

    try:
        thumb = raw.extract_thumb()
        if thumb.format != rawpy.ThumbFormat.JPEG:
            return None
        return open_by_pillow(BytesIO(thumb.data), limits, "JPEG")
    except (rawpy.LibRawError, rawpy.NotSupportedError, SyntaxError, OSError):
        return None


def _read_preview(raw: Any, opened: Opened, source: BinaryIO) -> Pixels:
    pixels = opened.read()
    own, of_file = pixels.exif, _exif(source)
    exif = own if own.get_ifd(IFD.Exif) else of_file
    exif[Base.Orientation] = own.get(Base.Orientation) or ORIENTATIONS.get(raw.sizes.flip, 1)
    return _described(pixels, raw, exif, "raw_preview")


def _develop(raw: Any, is_half: bool, source: BinaryIO) -> Pixels:
    image = Image.fromarray(raw.postprocess(half_size=is_half, use_camera_wb=True))
    exif = _exif(source)
    exif[Base.Orientation] = 1  # LibRaw has turned it upright
    sides = (raw.sizes.width, raw.sizes.height)
    upright = sides[::-1] if raw.sizes.flip in (5, 6) else sides
    exif.get_ifd(IFD.Exif)[Base.ColorSpace] = 1
    exif.get_ifd(IFD.Interop).clear()
    return _described(Pixels(image, upright, "RAW", image.mode), raw, exif, "raw_developed")


def _described(pixels: Pixels, raw: Any, exif: Image.Exif, note: str) -> Pixels:
    taken = getattr(raw.other, "timestamp", None)
    camera = exif.get_ifd(IFD.Exif)
    if not camera.get(Base.DateTimeOriginal) and isinstance(taken, datetime) and taken.year > 1970:
        camera[Base.DateTimeOriginal] = taken.strftime("%Y:%m:%d %H:%M:%S")
    pixels.exif, pixels.format = exif, "RAW"
    pixels.notes.append(note)
    return pixels


def _exif(source: BinaryIO) -> Image.Exif:
    """What a raw file that is built as a TIFF says; empty for others."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        source.seek(0)
        if source.read(4) in (b"II*\0", b"MM\0*"):
            source.seek(0)
            exif.load_from_fp(source)
            exif.get_ifd(IFD.Exif)
            exif.get_ifd(IFD.Interop)
            return exif
    return Image.Exif()
