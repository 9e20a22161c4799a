"""One decode an image: from whatever a file holds to a bounded picture in sRGB, and its facts."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import BinaryIO

from PIL import Image
from PIL.ExifTags import IFD, Base

from resources.images import jpeg_xl
from resources.images.boxes import are_channels_reordered
from resources.images.budget import Budget, PixelBudget
from resources.images.by_imagecodecs import DECODERS, open_by_imagecodecs
from resources.images.by_libraw import is_raw, is_raw_tiff, open_by_libraw
from resources.images.by_pillow import (
    FORMATS,
    bounded_size,
    format_of,
    open_by_pillow,
    open_ended_jpeg,
    open_mended_png,
)
from resources.images.by_psd import open_psd
from resources.images.colour import Facts, colour_of
from resources.images.ground import BLANK, is_blank, on_ground
from resources.images.hashes import perceptual_hash, pixel_hash
from resources.images.metadata import read_embedded
from resources.images.picture import Box, Decoded, Limits, Opened, Pixels, too_large
from resources.images.rejects import Reject, unreadable

HEADER_BYTES = 512
TRANSPOSITIONS = {  # EXIF orientation -> what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset([TRANSPOSITIONS[orientation] for orientation in (5, 6, 7, 8)])

ENDS_EARLY = "The file ends before its picture does."
ODD_PIXELS = "Its pixel layout cannot be decoded. Export it as 8-bit TIFF or JPEG."
COPY_AGAIN = "Copy the file again from where it came, or restore it from a backup."
# What a decoder says, in lower case -> code and what that means; the first that fits holds.
COMPLAINTS = (
    ("truncated", "truncated", f"{ENDS_EARLY} {COPY_AGAIN}"),
    ("end of file", "truncated", f"{ENDS_EARLY} {COPY_AGAIN}"),
    ("unknown pixel mode", "unsupported", ODD_PIXELS),
    ("cannot handle", "unsupported", ODD_PIXELS),
    ("unsupported", "unsupported", ODD_PIXELS),
    ("not supported", "unsupported", ODD_PIXELS),
    ("not implemented", "unsupported", ODD_PIXELS),
    ("", "damaged", f"It starts like an image but is damaged or incomplete. {COPY_AGAIN}"),
)
ONE_DECODER = (
    "unsupported",
    "The one decoder that vistag has for {name} does not read it: it is damaged, or of a kind that the decoder does not "
    "know. Open it in another program and export it as JPEG or PNG. {said}",
)
SVG = (
    "unsupported",
    "This is a drawing in SVG, which has lines and no pixels. Export it as PNG beside the original.",
)
# Rejects after which another decoder is asked; after `truncated` only one that mends a file, or looks where its data end.
NOT_THE_LAST_WORD = frozenset(["damaged", "unsupported", "truncated"])
MENDERS: dict[str, Callable[[BinaryIO, Limits], Opened]] = {"PNG": open_mended_png, "JPEG": open_ended_jpeg}
SECOND = frozenset([*DECODERS, "TIFF", "BMP", "DIB", "PSD"])


def decode_to_proxy(source: BinaryIO, limits: Limits, budget: Budget | None = None) -> Decoded:
    """Decode the main picture of an image file to one no larger than the proxy's side.

    `source` is a seekable file, read from its start. Whoever decodes in several threads shares a `budget`
    among them. What the first decoder refuses is mended, or given to a second one. Raises Reject for whatever keeps the
    file from being used, MemoryError included.
    """
    budget = budget or PixelBudget(limits.max_pixels)
    with _faults_as_rejects():
        name = _format(source)
    complaint: Reject | None = None
    for is_mender, open_ in _decoders(name, source):
        if complaint is not None and complaint.code == "truncated" and not is_mender and name != "TIFF":
            continue
        try:
            return _decode(source, open_, limits, budget)
        except Reject as reject:
            if reject.code not in NOT_THE_LAST_WORD:
                raise
            if complaint is None or reject.code == "unsupported":
                complaint = reject
    assert complaint is not None, "there is a decoder for every format"
    if complaint.code == "damaged" and name not in SECOND:
        said = complaint.reason.removeprefix(COMPLAINTS[-1][2]).strip()
        raise Reject(ONE_DECODER[0], ONE_DECODER[1].format(name=name, said=said).strip())
    raise complaint


def _format(source: BinaryIO) -> str:
    """What a file is, by its content. Raises Reject if it is nothing that can be decoded."""
    source.seek(0)
    header = source.read(HEADER_BYTES)
    if not header:
        raise Reject("empty", f"The file is empty (0 bytes). {COPY_AGAIN}")
    if is_raw(header):
        return "RAW"
    if header.startswith((jpeg_xl.CODESTREAM, jpeg_xl.CONTAINER)):
        return "JXL"
    if name := format_of(header[:16]):
        return "RAW" if name == "TIFF" and is_raw_tiff(source) else name
    if re.search(rb"<svg[\s>]", header):
        raise Reject(*SVG)
    raise Reject(
        "not_an_image",
        "Its content is none of the image formats that vistag reads, whatever its name says "
        f"({', '.join([*FORMATS, 'JXL', 'RAW'])}). Open it to see what it is; rename it or move it out of the library.",
    )


def _decoders(name: str, source: BinaryIO) -> Iterator[tuple[bool, Callable[[BinaryIO, Limits], Opened]]]:
    """Who is asked in turn, and whether each of them mends the file."""
    if name == "RAW":
        yield False, open_by_libraw
        return
    if name == "PSD":
        yield False, open_psd
    elif name == "JPEG2000" and are_channels_reordered(source):  # which Pillow passes over
        yield False, partial(open_by_imagecodecs, name=name)
    if name != "JXL":
        yield False, partial(open_by_pillow, name=name)
    if name in MENDERS:
        yield True, MENDERS[name]
    if name in SECOND:
        yield False, partial(open_by_imagecodecs, name=name)


def _decode(
    source: BinaryIO, open_: Callable[[BinaryIO, Limits], Opened], limits: Limits, budget: Budget
) -> Decoded:
    with _faults_as_rejects():
        opened = open_(source, limits)
    if opened.held_pixels > limits.max_pixels:
        raise too_large(*opened.size_px, opened.held_pixels, limits)
    with budget.hold(opened.held_pixels), _faults_as_rejects():
        return _finished(source, opened.read(), limits)


def _finished(source: BinaryIO, pixels: Pixels, limits: Limits) -> Decoded:
    plain, notes = _plain(pixels.image)
    turn = TRANSPOSITIONS.get(pixels.exif.get(Base.Orientation, 1))
    width, height = reversed(pixels.size_px) if turn in SIDEWAYS else pixels.size_px
    facts = Facts(pixels.format, pixels.info, pixels.exif)
    colour = colour_of(source, facts, plain.mode)
    hashed = pixel_hash(_turned(plain, turn), width, height, colour.signature)
    small = colour.to_srgb(
        _turned(_bounded(plain, pixels.size_px, pixels.box, limits.proxy_max_side_px), turn)
    )
    small.info.clear()  # else a proxy would carry the original's profile and comments along
    notes = [*pixels.notes, *notes, *colour.notes, *[BLANK] * is_blank(small)]
    return Decoded(
        image=small,
        source_width_px=width,
        source_height_px=height,
        decoded_width_px=pixels.image.width,
        decoded_height_px=pixels.image.height,
        format=pixels.format,
        mode=pixels.mode,
        frames=pixels.count_frames(),
        taken_at=_taken_at(pixels.exif),
        phash=perceptual_hash(small),
        pixel_hash=hashed,
        colour=colour.name,
        notes=tuple(dict.fromkeys(notes)),
        described=read_embedded(source),
    )


@contextmanager
def _faults_as_rejects() -> Iterator[None]:
    """Decoders answer damage with nearly any exception: each becomes a reject that quotes it."""
    try:
        yield
    except (Reject, ImportError):  # a module that cannot be loaded is no fault of the file
        raise
    except Exception as error:
        raise _as_reject(error) from error


def _plain(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture without transparency, as L, RGB, CMYK or LAB, in its own colour space; and notes."""
    if image.has_transparency_data:
        return on_ground(image if image.mode in ("LA", "RGBA") else image.convert("RGBA"))
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, []
    return image.convert("L" if image.mode == "1" else "RGB"), []


def _bounded(
    image: Image.Image, source_px: tuple[int, int], box: Box | None, max_side_px: int
) -> Image.Image:
    """Reduce the picture, never enlarge it, to the proxy's size."""
    size = bounded_size(*source_px, max_side_px)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _taken_at(exif: Image.Exif) -> datetime | None:
    """When the shutter fell or the scanner ran, else when the file was changed; None if EXIF does not say, or says what
    is no time. EXIF's own form is 2021:03:04 05:06:07; others write 2021/03/04 or ISO 8601, whose time zone is dropped."""
    camera = exif.get_ifd(IFD.Exif)
    for value in (
        camera.get(Base.DateTimeOriginal),
        camera.get(Base.DateTimeDigitized),
        exif.get(Base.DateTime),
    ):
        told = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
        parts = re.match(r"\s*(\d{4})[:/.-](\d\d?)[:/.-](\d\d?)(?:[T\s]+(\d\d?):(\d\d)(?::(\d\d))?)?", told)
        with suppress(ValueError):
            if parts and int(parts[1]):
                return datetime(*(int(part or 0) for part in parts.groups()))  # type: ignore[arg-type]
    return None


def _as_reject(error: Exception) -> Reject:
    """The reject for what a decoder raised, with its own words at the end."""
    if isinstance(error, OSError) and error.errno:
        return unreadable(error)
    if isinstance(error, MemoryError):
        return Reject(
            "out_of_memory",
            "Decoding it took more memory than there is, or than max_megapixels has room for. Free some, use fewer "
            "workers, or raise max_megapixels; the next run tries again.",
        )
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return Reject(
            "too_large", f"The picture is too large for its decoder ({error}). Export a smaller copy."
        )
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    code, meaning = next((code, meaning) for sign, code, meaning in COMPLAINTS if sign in words.lower())
    return Reject(code, f"{meaning} (The decoder says: {words}.)")
