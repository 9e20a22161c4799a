"""Image files of every kind that a library may hold, the odd ones too, made for tests."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import psd_zoo
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import IFD, Base

pillow_heif.register_heif_opener()

CORNER_COLOURS = {"top left": (220, 30, 30), "top right": (30, 200, 30), "bottom left": (30, 30, 220)}
# JPEG scan headers (ISO 10918-1, B.2.3): of all three components, and of the first one alone.
SCAN_OF_ALL = bytes.fromhex("ffda000c03010002110311003f00")
SCAN_OF_ONE = bytes.fromhex("ffda0008010100003f00")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """A smooth picture whose seed decides what it shows."""
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC)


def corners(width: int = 96, height: int = 64) -> Image.Image:
    """White, with a coloured block in three of its corners: it tells which way up it is."""
    image = Image.new("RGB", (width, height), "white")
    block = (width // 3, height // 3)
    image.paste(CORNER_COLOURS["top left"], (0, 0, *block))
    image.paste(CORNER_COLOURS["top right"], (width - block[0], 0, width, block[1]))
    image.paste(CORNER_COLOURS["bottom left"], (0, height - block[1], block[0], height))
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of that format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int | None = None, taken: str | None = None) -> bytes:
    """EXIF data, as bytes, with an orientation (1..8) and a time in the form of EXIF."""
    data = Image.Exif()
    if orientation is not None:
        data[Base.Orientation] = orientation
    if taken is not None:
        data.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = taken
    return data.tobytes()


def stored_as(orientation: int, upright: Image.Image) -> Image.Image:
    """The pixels that a camera writes beside that EXIF orientation for a picture that is `upright`."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    return upright if undo is None else upright.transpose(undo)


def ramp_16_bit(width: int = 256, height: int = 8) -> Image.Image:
    """Black to white from left to right, in 16 bits."""
    return Image.fromarray(np.tile(np.linspace(0, 65535, width), (height, 1)).astype(np.uint16))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises that many pixels; not one of them is there."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", zlib.compress(bytes(64))) + png_chunk(b"IEND", b"")


def tiff_12_bit(values: list[int]) -> bytes:
    """A grey TIFF of one row with 12 bits a pixel, which no camera software would call rare."""
    bits = "".join(f"{value:012b}" for value in values)
    strip = int(bits, 2).to_bytes(len(bits) // 8, "big")
    tags = [(256, len(values)), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(strip))])
    directory = struct.pack("<H", len(tags) + 1) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory


def swapped_profile() -> bytes:
    """An ICC profile that is sRGB but for its red and green colorants, which are exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = struct.unpack(">I", profile[128:132])[0]
    at = {bytes(profile[o : o + 4]): o for o in range(132, 132 + 12 * entries, 12)}
    red, green = (slice(at[name] + 4, at[name] + 12) for name in (b"rXYZ", b"gXYZ"))
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile)


def usable() -> dict[str, tuple[bytes, str, str]]:
    """File name -> (bytes, format, Pillow's mode): all kinds that end as images."""
    colour = picture()
    grey = colour.convert("L")
    # Black ink alone: what its colours mean is the same for every press.
    cmyk = Image.merge("CMYK", (*[Image.new("L", grey.size)] * 3, ImageOps.invert(grey)))
    alpha = Image.merge("RGBA", (*colour.split(), Image.linear_gradient("L").resize(colour.size)))
    frames = [picture(seed=seed) for seed in range(3)]
    animated: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 100}
    floats = Image.fromarray(np.linspace(-3, 12, 96 * 64, dtype=np.float32).reshape(64, 96))
    return {
        "16 bits.psd": (psd_zoo.psd_of(np.asarray(colour).astype(np.uint16) * 257), "PSD", "RGB"),
        "large document.psb": (
            psd_zoo.psd_of(np.asarray(alpha), version=2, runs=True, layers=-1),
            "PSD",
            "RGBA",
        ),
        "baseline.jpg": (encoded(colour, "JPEG"), "JPEG", "RGB"),
        "progressive.jpg": (encoded(colour, "JPEG", progressive=True), "JPEG", "RGB"),
        "cmyk.jpg": (encoded(cmyk, "JPEG"), "JPEG", "CMYK"),
        "grey.jpg": (encoded(grey, "JPEG"), "JPEG", "L"),
        "upper case.JPEG": (encoded(picture(seed=20), "JPEG"), "JPEG", "RGB"),
        "colour.png": (encoded(colour, "PNG"), "PNG", "RGB"),
        "alpha.png": (encoded(alpha, "PNG"), "PNG", "RGBA"),
        "grey-alpha.png": (encoded(alpha.convert("LA"), "PNG"), "PNG", "LA"),
        "palette.png": (encoded(colour.quantize(16), "PNG"), "PNG", "P"),
        "palette-transparent.png": (encoded(colour.quantize(8), "PNG", transparency=0), "PNG", "P"),
        "bilevel.png": (encoded(grey.convert("1"), "PNG"), "PNG", "1"),
        "16-bit.png": (encoded(ramp_16_bit(), "PNG"), "PNG", "I;16"),
        "animated.png": (encoded(frames[0], "PNG", **animated), "PNG", "RGB"),
        "lossy.webp": (encoded(colour, "WEBP"), "WEBP", "RGB"),
        "alpha.webp": (encoded(alpha, "WEBP", lossless=True), "WEBP", "RGBA"),
        "animated.webp": (encoded(frames[0], "WEBP", **animated), "WEBP", "RGB"),
        "still.gif": (encoded(colour, "GIF"), "GIF", "P"),
        "animated.gif": (encoded(frames[0], "GIF", **animated), "GIF", "P"),
        "plain.bmp": (encoded(colour, "BMP"), "BMP", "RGB"),
        "plain.tif": (encoded(colour, "TIFF"), "TIFF", "RGB"),
        "lzw.tiff": (encoded(colour, "TIFF", compression="tiff_lzw"), "TIFF", "RGB"),
        "fax.tif": (encoded(grey.convert("1"), "TIFF", compression="group4"), "TIFF", "1"),
        "16-bit.tif": (encoded(ramp_16_bit(), "TIFF"), "TIFF", "I;16"),
        "float.tif": (encoded(floats, "TIFF"), "TIFF", "F"),
        "cmyk.tif": (encoded(cmyk, "TIFF"), "TIFF", "CMYK"),
        "pages.tif": (encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "TIFF", "RGB"),
        "phone.heic": (encoded(colour, "HEIF"), "HEIF", "RGB"),
        "small.avif": (encoded(colour, "AVIF"), "AVIF", "RGB"),
        "archive.jp2": (encoded(colour, "JPEG2000"), "JPEG2000", "RGB"),
        "plain.ppm": (encoded(colour, "PPM"), "PPM", "RGB"),
        "really a png.jpg": (encoded(picture(seed=21), "PNG"), "PNG", "RGB"),
        "one pixel.png": (encoded(picture(1, 1, seed=22), "PNG"), "PNG", "RGB"),
        "ribbon.png": (encoded(picture(6000, 1, seed=23), "PNG"), "PNG", "RGB"),
    }


def unusable() -> dict[str, tuple[bytes, str]]:
    """File name -> (bytes, reject code): all kinds of content that end as rejects."""
    jpeg = encoded(picture(640, 480, seed=30), "JPEG")
    png = encoded(picture(seed=31), "PNG")
    return {
        "empty.jpg": (b"", "empty"),
        "letter.jpg": (b"Dear colleagues, the photographs are in the other folder.", "not_an_image"),
        "zeros.png": (bytes(4096), "not_an_image"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "last bytes missing.jpg": (jpeg[:-60], "truncated"),
        "header only.jpg": (jpeg[:40], "truncated"),
        "half.png": (png[: len(png) // 2], "truncated"),
        "scratched.png": (png[:200] + bytes(40) + png[240:], "damaged"),
        "no width.png": (png_bomb(0, 10), "damaged"),
        "bomb.png": (png_bomb(20_000, 20_000), "too_large"),
        "greater bomb.png": (png_bomb(2**31 - 1, 2**31 - 1), "too_large"),
        "camera.NEF": (b"II*\0 whatever a camera writes", "unsupported"),
    }


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
