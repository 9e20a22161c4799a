"""One decode an image: from whatever a file holds to a bounded picture in sRGB, and its facts."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from os import SEEK_CUR
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import (
    AvifImagePlugin,  # noqa: F401 - importing a plugin registers it, for all those below
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageCms,
    ImageFile,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)
from PIL.ExifTags import IFD, Base

from resources.images.budget import Budget, PixelBudget
from resources.images.phash import perceptual_hash
from resources.images.pixel_hash import pixel_hash
from resources.images.rejects import Reject, unreadable

pillow_heif.register_heif_opener()

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "JPEG2000", "PPM")
HEADER_BYTES = 16
PIXELS_A_MEGAPIXEL = 1_000_000
WHITE = 255

WIDE_MODES = frozenset(["I", "F", "I;16", "I;16B", "I;16L", "I;16N"])  # more than 8 bits, one channel
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
PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC colour space -> Pillow mode
Box = tuple[float, float, float, float]  # left, upper, right, lower in pixels
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second

ENDS_EARLY = "The file ends before its picture does."
ODD_PIXELS = "Its pixel layout cannot be decoded. Export it as 8-bit TIFF or JPEG."
COPY_AGAIN = "Copy the file again from where it came, or restore it from a backup."
# What a decoder says, in lower case -> code and what that means; the first that fits holds.
COMPLAINTS = (
    ("truncated", "truncated", f"{ENDS_EARLY} {COPY_AGAIN}"),
    ("end of file", "truncated", f"{ENDS_EARLY} {COPY_AGAIN}"),
    ("unknown pixel mode", "unsupported", ODD_PIXELS),
    ("cannot handle", "unsupported", ODD_PIXELS),
    ("", "damaged", f"It starts like an image but is damaged or incomplete. {COPY_AGAIN}"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image may cost. Raises ValueError unless all are positive.

    `max_megapixels` bounds what one image holds in memory while it is decoded (10^6 pixels; a JPEG counts at
    the reduced size that it is decoded at), `max_file_mib` the file, `proxy_max_side_px` the longer side of
    the proxy, `max_decode_s` the processor time of decoding one file in seconds (`decode_isolated` holds to it).
    """

    max_megapixels: float = 250
    max_file_mib: float = 1024
    proxy_max_side_px: int = 1024
    max_decode_s: float = 60

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number above 0")

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return int(self.max_megapixels * PIXELS_A_MEGAPIXEL)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A proxy's picture (`image`: RGB, uint8, sRGB, upright, on white) and what the file said.

    The source's sides are in pixels with the orientation applied; the decoded ones are what the decoder put
    out, before orientation: smaller than the source where a JPEG was decoded at a reduced scale. `mode` is
    Pillow's name of the file's pixel layout, `taken_at` the camera's clock (no time zone), `phash` 64 bits,
    `pixel_hash` that of `pixel_hash.pixel_hash`. `colour` says where the meaning of the colours came from, `notes` what
    had to be passed over or assumed for the picture to come in (docs/ingest.md lists the words of both).
    """

    image: Image.Image
    source_width_px: int
    source_height_px: int
    decoded_width_px: int
    decoded_height_px: int
    format: str
    mode: str
    frames: int
    taken_at: datetime | None
    phash: int
    pixel_hash: str
    colour: str
    notes: tuple[str, ...] = ()


def decode_to_proxy(source: BinaryIO, limits: Limits, budget: Budget | None = None) -> Decoded:
    """Decode the first frame of an image file, once, to a picture no larger than the proxy's side.

    `source` is a seekable file, read from its start. Whoever decodes in several threads shares a `budget`
    among them. Raises Reject for whatever keeps the file from being used, MemoryError included.
    """
    budget = budget or PixelBudget(limits.max_pixels)
    with _faults_as_rejects():
        image = _open(source)
        size_px = image.size
        box, held_pixels = _scale_down(image, limits.proxy_max_side_px)
    if held_pixels > limits.max_pixels:
        raise _too_large(*size_px, held_pixels, limits)
    with budget.hold(held_pixels):
        return _decode(image, size_px, box, limits.proxy_max_side_px)


def _decode(
    image: ImageFile.ImageFile, size_px: tuple[int, int], box: Box | None, max_side_px: int
) -> Decoded:
    mode = image.mode
    with _faults_as_rejects():
        image.load()
        if box is None:  # some decoders know the true size only now, and TIFF turns itself upright
            size_px = image.size
        plain = _plain(image)
        exif = _exif(image)
        turn = TRANSPOSITIONS.get(exif.get(Base.Orientation, 1))
        width, height = reversed(size_px) if turn in SIDEWAYS else size_px
        profile: bytes = image.info.get("icc_profile") or b""
        hashed = pixel_hash(_turned(plain, turn), width, height, profile)
        small = _to_srgb(_turned(_bounded(plain, size_px, box, max_side_px), turn), profile)
        return Decoded(
            image=small,
            source_width_px=width,
            source_height_px=height,
            decoded_width_px=image.width,
            decoded_height_px=image.height,
            format=image.format or "",
            mode=mode,
            frames=_frames(image),
            taken_at=_taken_at(exif),
            phash=perceptual_hash(small),
            pixel_hash=hashed,
            colour="icc" if profile else "assumed_srgb",
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


def _open(source: BinaryIO) -> ImageFile.ImageFile:
    """Read the header. Does what `Image.open` does, less its size check: that one's limit is a global of the
    process, and counts a JPEG at full size; the limit here is checked before anything is decoded."""
    source.seek(0)
    header = source.read(HEADER_BYTES)
    if not header:
        raise Reject("empty", f"The file is empty (0 bytes). {COPY_AGAIN}")
    complaint: SyntaxError | None = None
    for name in FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(header) is not True:
            continue
        # A JPEG with further pictures behind it (MPO) is read as the JPEG that it starts with.
        factory = JpegImagePlugin.JpegImageFile if name == "JPEG" else factory
        source.seek(0)
        try:
            return factory(source, "")
        except SyntaxError as error:
            complaint = complaint or error
    if complaint is not None:
        raise complaint
    raise Reject(
        "not_an_image",
        "Its content is none of the image formats that vistag reads, whatever its name says "
        f"({', '.join(FORMATS)}). Open it to see what it is; rename it or move it out of the library.",
    )


def _scale_down(image: ImageFile.ImageFile, max_side_px: int) -> tuple[Box | None, int]:
    """Set a JPEG to be decoded at the smallest scale (1/1 to 1/8) that is not below the proxy.

    Returns the region of the decoded picture that holds it (None for other formats), and how many pixels
    decoding will hold: a JPEG in several scans is held whole before it is scaled.
    """
    width, height = image.size
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None, width * height
    whole = not _is_one_scan(image)
    draft = image.draft(None, _bounded_size(width, height, max_side_px))
    held = (width, height) if whole else image.size
    return (draft[1] if draft else None), held[0] * held[1]


def _is_one_scan(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether the first scan of a JPEG, whose header has just been read, holds all of its components."""
    assert image.fp is not None
    if "progressive" in image.info:
        return False
    length = 6 + 2 * image.layers  # of a scan header that names every component (ISO 10918-1, B.2.3)
    image.fp.seek(-length, SEEK_CUR)
    return image.fp.read(3) == struct.pack(">HB", length, image.layers)


def _plain(image: ImageFile.ImageFile) -> Image.Image:
    """The picture with 8 bits a channel and no transparency: L, RGB or CMYK, in its own colour space."""
    if image.mode in WIDE_MODES:
        return _to_8_bit(image)
    if image.has_transparency_data:
        return _on_white(image if image.mode in ("LA", "RGBA") else image.convert("RGBA"))
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    if image.mode == "LAB":
        return _to_rgb_by_profile(image, ImageCms.createProfile("LAB"))
    return image.convert("L" if image.mode == "1" else "RGB")


def _to_8_bit(image: ImageFile.ImageFile) -> Image.Image:
    """Scale wide greys to 0..255: integers from the full range of their bits, others from their extremes.

    What is not finite becomes black, and so does a picture of one single value.
    """
    values = np.array(image, dtype=np.float32)  # a copy, scaled in place: it may be a gigabyte
    finite = np.isfinite(values)
    low, high = 0.0, _full_scale(image)
    if high is None:
        low = float(np.min(values, where=finite, initial=np.inf))
        high = float(np.max(values, where=finite, initial=-np.inf))
    values -= low
    values *= 255 / (high - low) if high > low else 0.0
    values[~finite] = 0.0
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        np.subtract(255, values, out=values)
    np.rint(values, out=values)
    return Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8))


def _full_scale(image: ImageFile.ImageFile) -> float | None:
    """The value that means white, or None where the format does not say (floats, 32-bit integers)."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode.startswith("I;16"):
        return float(2 ** image.tag_v2.get(BITS_PER_SAMPLE, (16,))[0] - 1)
    return 65535.0 if image.mode.startswith("I;16") or image.format == "PPM" else None


def _on_white(image: Image.Image) -> Image.Image:
    plain = Image.new(image.mode.removesuffix("A"), image.size, WHITE if image.mode == "LA" else (WHITE,) * 3)
    plain.paste(image.convert(plain.mode), mask=image.getchannel("A"))
    return plain


def _bounded(
    image: Image.Image, source_px: tuple[int, int], box: Box | None, max_side_px: int
) -> Image.Image:
    """Reduce the picture, never enlarge it, to the proxy's size."""
    size = _bounded_size(*source_px, max_side_px)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _bounded_size(width: int, height: int, max_side_px: int) -> tuple[int, int]:
    scale = min(1.0, max_side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    if icc_profile:
        # A broken profile costs the exact colours, which is no reason to go without the picture.
        with suppress(ImageCms.PyCMSError, OSError):
            profile = ImageCms.ImageCmsProfile(BytesIO(icc_profile))
            mode = PROFILE_MODES.get(profile.profile.xcolor_space.strip())
            if image.mode == "L" and mode == "RGB":
                image = image.convert("RGB")
            if image.mode == mode:
                image = _to_rgb_by_profile(image, profile)
    image = image.convert("RGB")
    image.info.clear()  # else a proxy would carry the original's profile and comments along
    return image


def _to_rgb_by_profile(
    image: Image.Image, profile: ImageCms.core.CmsProfile | ImageCms.ImageCmsProfile
) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None, "None stands for a conversion in place"
    return converted


def _exif(image: ImageFile.ImageFile) -> Image.Exif:
    """The EXIF data, or none if they are broken (Pillow raises many things for it); the picture is sound."""
    try:
        exif = image.getexif()
        exif.get_ifd(IFD.Exif)
    except Exception:
        return Image.Exif()
    return exif


def _taken_at(exif: Image.Exif) -> datetime | None:
    """When the shutter fell or the scanner ran; None if EXIF does not say, or says what is no time."""
    camera = exif.get_ifd(IFD.Exif)
    for tag in (Base.DateTimeOriginal, Base.DateTimeDigitized):
        with suppress(ValueError):  # 2021:03:04 05:06:07
            return datetime.fromisoformat(str(camera.get(tag, ""))[:19].replace(":", "-", 2))
    return None


def _frames(image: ImageFile.ImageFile) -> int:
    """How many frames or pages the file holds; 1 if a later one is too broken to be counted past."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 1


def _too_large(width: int, height: int, held_pixels: int, limits: Limits) -> Reject:
    return Reject(
        "too_large",
        f"The picture is {width} x {height} pixels; {held_pixels / PIXELS_A_MEGAPIXEL:,.0f} megapixels would "
        f"have to be held in memory, and the limit is {limits.max_megapixels:g}. "
        "If it is genuine, raise max_megapixels, or export a smaller copy.",
    )


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
