"""A second opinion: tifffile and imagecodecs, for what Pillow does not decode. Nothing is damaged that they can read.

They are imported when they are first needed, which most libraries never do.
"""

import struct
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from resources.images import jpeg_xl
from resources.images.levels import to_8_bit
from resources.images.picture import Limits, Opened, Pixels
from resources.images.rejects import Reject

# Pillow's name of a format -> what decodes it
DECODERS = {
    "JPEG": "jpeg_decode",
    "PNG": "png_decode",
    "WEBP": "webp_decode",
    "GIF": "gif_decode",
    "JPEG2000": "jpeg2k_decode",
    "AVIF": "avif_decode",
    "JXL": "jpegxl_decode",
    "BMP": "bmp_decode",
}
OF_FRAMES = frozenset(["GIF", "AVIF", "JXL"])
"""whose decoders put out all frames, or the one they are asked for"""
INSIDE_TIFF = (
    *(
        "ccittfax3",
        "ccittfax4",
        "ccittrle",
        "deflate",
        "delta",
        "eer",
        "floatpred",
        "jpeg",
        "jpeg2k",
        "jpeg8",
    ),
    *("jpegxl", "jpegxr", "lerc", "lzma", "lzw", "packbits", "packints", "png", "webp", "zlib", "zstd"),
)
REDUCED_OR_MASK = 0b101
MAX_PAGES = 64
TRANSPOSED = frozenset([5, 6, 7, 8])
NEGATIVE, PALETTE, SEPARATED, YCBCR, LAB = 0, 3, 5, 6, 8  # TIFF's photometric interpretations
WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def load_all() -> None:
    """Import every decoder that a file can need."""
    import imagecodecs
    import tifffile

    assert tifffile.TIFF
    for decoder in (*DECODERS.values(), *(f"{name}_decode" for name in INSIDE_TIFF)):
        getattr(imagecodecs, decoder)
    jpeg_xl.libjxl_library()


def open_by_imagecodecs(source: BinaryIO, limits: Limits, name: str) -> Opened:
    """A file of a format of `DECODERS`, TIFF, BMP or DIB.

    Where nothing but the decoder reads its size, it counts as the largest that may be.
    """
    if name == "TIFF":
        return _open_tiff(source)
    if name in ("BMP", "DIB") and (opened := _open_bitmap(source, name)):
        return opened
    size_px, held_pixels = (0, 0), limits.max_pixels
    said = jpeg_xl.header(source) if name == "JXL" else None
    if said:
        size_px, held_pixels = (said.width, said.height), said.width * said.height
    if name not in DECODERS:
        raise Reject("unsupported", f"There is no second decoder of {name}.")
    return Opened(size_px, held_pixels, partial(_read, source, limits, name, said))


def _read(source: BinaryIO, limits: Limits, name: str, said: jpeg_xl.Header | None) -> Pixels:
    import imagecodecs

    source.seek(0)
    content, decode, frames = source.read(), getattr(imagecodecs, DECODERS[name]), 1
    try:
        values = decode(content)
    except Exception:  # all frames may be too much where the first alone is not
        if name not in OF_FRAMES:
            raise
        values = decode(content, index=0)
    if values.ndim == 4 or (values.ndim == 3 and name == "GIF" and values.shape[-1] not in (3, 4)):
        frames, values = len(values), values[0]
    height, width = values.shape[:2]
    if height * width > limits.max_pixels:
        raise Reject(
            "too_large", f"The picture is {width} x {height} pixels, more than max_megapixels allows."
        )
    values, notes = _levels(values, said.white if said else None, is_certain=said is not None)
    image = _of_jpeg_xl(values, said) if said else _image(values)
    pixels = Pixels(image, image.size, name, image.mode, count_frames=lambda: frames, notes=notes)
    if name != "JXL":
        pixels.notes.append("second_decoder")
    return pixels


def _levels(
    values: np.ndarray, white: float | None = None, negative: bool = False, is_certain: bool = False
) -> tuple[np.ndarray, list[str]]:
    if values.dtype == np.uint8 and not negative:
        return values, []
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    return to_8_bit(values, white or WHITE.get(values.dtype), negative, is_certain)


def _image(values: np.ndarray) -> Image.Image:
    """Samples [height, width] or [height, width, 1 to 4] of 8 bits as L, LA, RGB or RGBA."""
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] > 4):
        raise Reject("unsupported", f"Samples of shape {values.shape} are no picture.")
    return Image.fromarray(np.ascontiguousarray(values))


def _of_jpeg_xl(values: np.ndarray, said: jpeg_xl.Header) -> Image.Image:
    if said.has_black and values.ndim == 3 and values.shape[-1] >= 4:  # it stores light, not ink
        inks = np.ascontiguousarray(255 - values[..., :4])
        return Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes())
    image = _image(values)
    if said.is_premultiplied and image.mode == "RGBA":
        return Image.frombytes("RGBa", image.size, image.tobytes()).convert("RGBA")
    return image


# TIFF


def _open_tiff(source: BinaryIO) -> Opened:
    page, notes, count = _main_page(source)
    end = source.seek(0, 2)
    if any(start + size > end for start, size in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise Reject("truncated", "The file ends before its picture does.")
    height, width = page.imagelength, page.imagewidth
    bytes_each = page.dtype.itemsize if page.dtype is not None else 1
    # Pillow's worst is 13 bytes a pixel; these are the file's samples with those of a tile, 8-bit ones of them, and
    # Pillow's of those.
    samples = (page.size + int(np.prod(page.chunks, dtype=object))) * bytes_each
    held = max(width * height, (2 * samples + 4 * width * height) // 13)
    return Opened((width, height), held, partial(_read_tiff, page, notes, count))


def _main_page(source: BinaryIO) -> tuple[Any, list[str], int]:
    """The first page that is neither a reduced copy nor a mask, also below another; else the largest."""
    import tifffile

    source.seek(0)
    tiff = tifffile.TiffFile(source)
    pages: list[Any] = []
    for number in range(MAX_PAGES):
        try:
            page = tiff.pages[number]
        except IndexError:
            break
        pages += [page, *list(page.pages or ())[:MAX_PAGES]]
    full = [page for page in pages if not int(page.subfiletype) & REDUCED_OR_MASK]
    chosen = full[0] if full else max(pages, key=lambda page: page.imagewidth * page.imagelength)
    return chosen, ["reduced_pages_passed_over"] if chosen is not pages[0] else [], len(pages)


def _read_tiff(page: Any, notes: list[str], count: int) -> Pixels:
    if page.dtype is None:
        raise Reject("unsupported", f"TIFF with {page.bitspersample} bits a sample.")
    values = page.asarray(maxworkers=1)  # more threads would hold more tiles
    if page.planarconfig == 2 and values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
    photometric = int(page.photometric)
    tags = {tag.code: tag.value for tag in page.tags}
    if photometric == PALETTE:
        values = np.moveaxis((np.asarray(page.colormap) >> 8).astype(np.uint8), 0, -1)[values]
    told = tags.get(341)
    bits = int(page.bitspersample)
    white = float(np.max(told)) if told is not None and values.dtype.kind == "u" else None
    if white is None and values.dtype.kind == "u" and bits not in (8, 32):
        white = float(2**bits - 1)
    values, more = _levels(values, white, photometric == NEGATIVE)
    image = _with_channels(values, photometric, page)
    exif = Image.Exif()
    for code in (274, 306, 318, 319, 301):
        if code in tags:
            exif[code] = tags[code]
    for group in (34665,):
        if isinstance(tags.get(group), dict):
            exif._ifds[group] = _exif_by_number(tags[group])
    info = {"icc_profile": bytes(tags[34675])} if 34675 in tags else {}
    pixels = Pixels(image, image.size, "TIFF", image.mode, count_frames=lambda: count, info=info, exif=exif)
    pixels.notes += [*notes, *more, "second_decoder"]
    return pixels


def _exif_by_number(named: dict[str, Any]) -> dict[int, Any]:
    """tifffile names EXIF's tags; Pillow numbers them."""
    from PIL.ExifTags import Base

    return {int(Base[name]): value for name, value in named.items() if name in Base.__members__}


def _with_channels(values: np.ndarray, photometric: int, page: Any) -> Image.Image:
    if photometric == SEPARATED and values.ndim == 3 and values.shape[-1] >= 4:
        return Image.frombytes("CMYK", values.shape[1::-1], np.ascontiguousarray(values[..., :4]).tobytes())
    if photometric == LAB and values.ndim == 3:
        return Image.frombytes("LAB", values.shape[1::-1], np.ascontiguousarray(values[..., :3]).tobytes())
    colours = 3 if values.ndim == 3 and values.shape[-1] >= 3 else 1
    has_alpha = any(int(kind) in (1, 2) for kind in page.extrasamples or ())
    if values.ndim == 3:
        values = values[..., : colours + has_alpha]
    image = _image(values)
    if photometric == YCBCR and image.mode == "RGB" and int(page.compression) not in (6, 7):
        image = Image.frombytes("YCbCr", image.size, image.tobytes()).convert("RGB")
    return image


# Windows bitmaps whose channels lie anywhere in words of 16 or 32 bits, and whose palettes are of odd sizes


@dataclass(frozen=True, slots=True)
class _Bitmap:
    """Where the pixels of a bitmap start, and how they lie: bits of each, rows from the bottom if `height` is above 0."""

    start: int
    width: int
    height: int
    bits: int
    masks: tuple[int, ...] = ()
    palette: np.ndarray | None = None


def _open_bitmap(source: BinaryIO, name: str) -> Opened | None:
    """None where it is of none of those kinds."""
    source.seek(0)
    head = source.read(14 + 124)
    at, start = (14, struct.unpack("<I", head[10:14])[0]) if head[:2] == b"BM" else (0, 0)
    length, width, height, _, bits, compression = struct.unpack("<IiiHHI", head[at : at + 20])
    (colours,) = struct.unpack("<I", head[at + 32 : at + 36])
    if width <= 0 or height == 0 or length < 40:
        return None
    if compression in (3, 6) and bits in (16, 32):
        has_alpha = length >= 56 or compression == 6
        masks = (
            struct.unpack("<4I", head[at + 40 : at + 56])
            if has_alpha
            else struct.unpack("<3I", head[at + 40 : at + 52])
        )
        behind = 0 if length > 40 else 4 * len(masks)
        bitmap = _Bitmap(start or at + length + behind, width, height, bits, masks)
    elif compression == 0 and bits in (1, 2, 4, 8):
        source.seek(at + length)
        table = np.frombuffer(source.read(4 * min(colours or 2**bits, 2**bits)), np.uint8).reshape(-1, 4)
        start = start or at + length + 4 * (colours or 2**bits)
        bitmap = _Bitmap(start, width, height, bits, palette=table[:, 2::-1])
    else:
        return None
    return Opened((width, abs(height)), width * abs(height), partial(_read_bitmap, source, name, bitmap))


def _read_bitmap(source: BinaryIO, name: str, bitmap: _Bitmap) -> Pixels:
    height, used = abs(bitmap.height), -(-bitmap.width * bitmap.bits // 8)
    stride = (used + 3) // 4 * 4
    source.seek(bitmap.start)
    content = source.read(stride * height)
    if len(content) < stride * height:
        raise Reject("truncated", "The file ends before its picture does.")
    rows = np.ascontiguousarray(np.frombuffer(content, np.uint8).reshape(height, stride)[:, :used])
    values = _by_palette(rows, bitmap) if bitmap.palette is not None else _by_masks(rows, bitmap)
    image = Image.fromarray(values[::-1] if bitmap.height > 0 else values)
    return Pixels(image, image.size, name, image.mode, notes=["second_decoder"])


def _by_masks(rows: np.ndarray, bitmap: _Bitmap) -> np.ndarray:
    words = rows.view("<u2" if bitmap.bits == 16 else "<u4")
    channels = []
    for mask in filter(None, bitmap.masks):
        shift = (mask & -mask).bit_length() - 1
        channels.append((((words & mask) >> shift) * (255.0 / (mask >> shift)) + 0.5).astype(np.uint8))
    if len(channels) < 3:
        raise Reject("unsupported", "A bitmap without three channels.")
    if len(channels) == 4 and not channels[3].any():  # nobody filled it
        channels.pop()
    return np.stack(channels, axis=-1)


def _by_palette(rows: np.ndarray, bitmap: _Bitmap) -> np.ndarray:
    assert bitmap.palette is not None
    bits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, bitmap.bits)[:, : bitmap.width]
    indices = bits @ (1 << np.arange(bitmap.bits - 1, -1, -1))
    return bitmap.palette[np.minimum(indices, len(bitmap.palette) - 1)]
