"""What decoders work with: the limits, a file whose header is read, its pixels, and what is made of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from PIL import Image

from resources.images.metadata.described import Described
from resources.images.rejects import Reject

PIXELS_A_MEGAPIXEL = 1_000_000
Box = tuple[float, float, float, float]
"""left, upper, right, lower in pixels"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image may cost. Raises ValueError unless all are positive.

    `max_megapixels` bounds what one image holds in memory while it is decoded (10^6 pixels; a JPEG counts at
    the reduced size that it is decoded at), `max_file_mib` the file, `proxy_max_side_px` the longer side of
    the proxy, `max_decode_s` the processor time of decoding one file in seconds (`decode_isolated` holds to it).
    `raw` says what of a camera's raw file is shown: the camera's own preview in it, or what LibRaw develops.
    """

    max_megapixels: float = 250
    max_file_mib: float = 1024
    proxy_max_side_px: int = 1024
    max_decode_s: float = 60
    raw: Literal["preview", "decode"] = "preview"

    def __post_init__(self) -> None:
        for name in ("max_megapixels", "max_file_mib", "proxy_max_side_px", "max_decode_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number above 0")
        if self.raw not in ("preview", "decode"):
            raise ValueError(f"raw is {self.raw!r}; give preview or decode")

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return int(self.max_megapixels * PIXELS_A_MEGAPIXEL)


@dataclass(slots=True)
class Pixels:
    """A decoded picture, and what its file said beside it.

    `image` is as the decoder put it out, before orientation, with 8 bits a channel; of `box` of it the picture is made
    where that is not None (a JPEG decoded at a reduced scale). `size_px` are the sides at full size, before orientation.
    `mode` is Pillow's name of the file's pixel layout. `info` and `exif` are as Pillow has them. `count_frames` may leave
    the decoder at another frame, and is called last.
    """

    image: Image.Image
    size_px: tuple[int, int]
    format: str
    mode: str
    box: Box | None = None
    count_frames: Callable[[], int] = lambda: 1
    info: dict[str, Any] = field(default_factory=dict)
    exif: Image.Exif = field(default_factory=Image.Exif)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose header is read: its sides in pixels, how many pixels decoding holds, and what decodes it."""

    size_px: tuple[int, int]
    held_pixels: int
    read: Callable[[], Pixels]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A proxy's picture (`image`: RGB, uint8, sRGB, upright, without transparency) and what the file said.

    The source's sides are in pixels with the orientation applied; the decoded ones are what the decoder put
    out, before orientation: smaller than the source where a JPEG was decoded at a reduced scale. `mode` is
    Pillow's name of the file's pixel layout, `taken_at` the camera's clock (no time zone), `phash` 64 bits,
    `pixel_hash` that of `hashes.pixel_hash`. `colour` says where the meaning of the colours came from, `notes` what
    had to be passed over or assumed for the picture to come in (docs/ingest.md lists the words of both). `described` is
    what people wrote into the file about the picture.
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
    described: Described = field(default_factory=Described)


def too_large(width: int, height: int, held_pixels: int, limits: Limits) -> Reject:
    """The reject of a picture that would hold more pixels than the limits allow."""
    return Reject(
        "too_large",
        f"The picture is {width} x {height} pixels; {held_pixels / PIXELS_A_MEGAPIXEL:,.0f} megapixels would "
        f"have to be held in memory, and the limit is {limits.max_megapixels:g}. "
        "If it is genuine, raise max_megapixels, or export a smaller copy.",
    )


def needs_too_much(bound_bytes: int, limits: Limits) -> Reject:
    """The reject of a file whose decoder asked for more memory than any may have."""
    return Reject(
        "too_large",
        f"Decoding it takes more than {bound_bytes / (1 << 20):,.0f} MiB of memory, the bound by the size that it says it "
        f"has, by max_megapixels ({limits.max_megapixels:g}) and by the memory of this machine. If it is genuine, raise "
        "max_megapixels, use a machine with more memory, or export a smaller copy, or one as JPEG.",
    )
