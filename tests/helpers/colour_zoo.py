"""Pictures whose colours are told in many ways: each is the same picture once its colours are understood.

The constants are those of the standards, written out here a second time, so that a slip in the code shows.
"""

import io
import struct
import zlib
from collections.abc import Callable

import image_zoo as zoo
import imagecodecs
import numpy as np
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
ADOBE_TO_XYZ = np.array(
    [[0.5767309, 0.1855540, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.0270343, 0.0706872, 0.9911085]]
)
BT2020_TO_XYZ = np.array(
    [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0.0000000, 0.0280727, 1.0609851]]
)
P3_TO_XYZ = np.array(
    [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0000000, 0.0451134, 1.0439444]]
)


def right() -> Image.Image:
    """What each of them shows: muted colours, which every space has, and a grey ramp."""
    picture = np.asarray(zoo.picture(160, 120, seed=5)).astype(float) * 0.55 + 60
    picture[100:] = np.linspace(0, 255, 160)[None, :, None]
    return Image.fromarray(picture.astype(np.uint8))


def linear(image: Image.Image) -> np.ndarray:
    """Linear light of an sRGB picture, [height, width, 3]."""
    values = np.asarray(image) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def in_space(image: Image.Image, to_xyz: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The picture's values 0..1 in another space: `curve` takes linear light there."""
    light = linear(image) @ (np.linalg.inv(to_xyz) @ SRGB_TO_XYZ).T
    return np.clip(curve(np.clip(light, 0, None)), 0, 1)


def bits(values: np.ndarray, depth: int = 8) -> np.ndarray:
    return np.rint(values * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)


def adobe(light: np.ndarray) -> np.ndarray:
    return light ** (256 / 563)


def srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def pq(light: np.ndarray) -> np.ndarray:
    """203 cd/m2 is white."""
    power = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """Of a display whose peak is 1000 cd/m2: 203 is white."""
    display = light * 203 / 1000
    luminance = display @ np.array([0.2627, 0.6780, 0.0593])
    scene = display * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks in front of its pixels."""
    plain = zoo.encoded(Image.fromarray(pixels), "PNG")
    at = plain.index(b"IDAT") - 4
    return plain[:at] + b"".join(zoo.png_chunk(*chunk) for chunk in chunks) + plain[at:]


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


def chrm(*chromaticities: float) -> tuple[bytes, bytes]:
    """x and y of white, red, green and blue."""
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in chromaticities))


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


ADOBE_CHRM = chrm(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)


def adobe_profile(padding: int = 0) -> bytes:
    """Adobe RGB (1998) as a matrix profile (ICC 2.4), the colorants adapted to D50; with `padding` random bytes."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, 563, 0)
    noise = np.random.default_rng(1).integers(0, 256, padding, dtype=np.uint8).tobytes()
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 6) + b"adobe\0" + bytes(78),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    if padding:
        tags[b"note"] = b"data\0\0\0\0\0\0\0\1" + noise
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    head = struct.pack(">I", size) + bytes(4) + b"\2\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def jp2(pixels: np.ndarray, colr: bytes) -> bytes:
    """A JPEG 2000 whose colour box is another."""
    content = zoo.encoded(Image.fromarray(pixels), "JPEG2000", irreversible=False)
    box = content.index(b"colr") - 4
    old = struct.unpack(">I", content[box : box + 4])[0]
    new = struct.pack(">I", 8 + len(colr)) + b"colr" + colr
    header = content.index(b"jp2h") - 4
    length = struct.unpack(">I", content[header : header + 4])[0] + len(new) - old
    content = content[:box] + new + content[box + old :]
    return content[:header] + struct.pack(">I", length) + content[header + 4 :]


def adobe_exif(space: int = 0xFFFF, index: str = "R03") -> bytes:
    data = Image.Exif()
    data.get_ifd(IFD.Exif)[Base.ColorSpace] = space
    data.get_ifd(IFD.Interop)[1] = index
    data._ifds[IFD.Exif][IFD.Interop] = dict(data._ifds[IFD.Interop])
    return data.tobytes()


def avif(values: np.ndarray, primaries: int, transfer: int) -> bytes:
    return bytes(
        imagecodecs.avif_encode(
            bits(values, 10), level=95, bitspersample=10, primaries=primaries, transfer=transfer, matrix=9
        )
    )


def heic(values: np.ndarray, primaries: int, transfer: int) -> bytes:
    import pillow_heif

    file = io.BytesIO()
    image = pillow_heif.from_bytes("RGB;16", (160, 120), (bits(values, 16)).tobytes())
    image.save(
        file,
        quality=95,
        chroma=444,
        color_primaries=primaries,
        transfer_characteristics=transfer,
        matrix_coefficients=9,
        full_range_flag=1,
    )
    return file.getvalue()


def bmp_v4(pixels: np.ndarray, gamma: float) -> bytes:
    """A bitmap of version 4 that gives Adobe RGB's primaries and a gamma."""
    rows = pixels[::-1, :, ::-1].tobytes()
    height, width = pixels.shape[:2]
    points = [round(value * 2**30) for value in ADOBE_TO_XYZ.T.ravel()]
    head = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    head += bytes(20) + struct.pack("<9i", *points) + struct.pack("<3I", *[round(gamma * 65536)] * 3)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def tiff_with_primaries(pixels: np.ndarray) -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[318], tags[319] = (0.3127, 0.329), (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    curve = np.rint((np.arange(256) / 255) ** (563 / 256) * 65535).astype(int)
    tags[301] = tuple(int(value) for value in curve) * 3
    return zoo.encoded(Image.fromarray(pixels), "TIFF", tiffinfo=tags)


def coloured() -> dict[str, tuple[bytes, str]]:
    """File name -> (bytes, what `colour` says): all show `right()`."""
    picture = right()
    plain = np.asarray(picture)
    in_adobe = bits(in_space(picture, ADOBE_TO_XYZ, adobe))
    in_p3 = bits(in_space(picture, P3_TO_XYZ, srgb))
    light = linear(picture)
    in_pq = in_space(picture, BT2020_TO_XYZ, pq)
    in_hlg = in_space(picture, BT2020_TO_XYZ, hlg)
    profile = adobe_profile()
    srgb_icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = Image.fromarray(in_adobe)
    return {
        "plain.png": (png(plain), "assumed_srgb"),
        "icc.png": (png(in_adobe, iccp(profile)), "icc"),
        "large icc.png": (png(in_adobe, iccp(adobe_profile(1_300_000))), "icc"),
        "icc.jpg": (zoo.encoded(rgb, "JPEG", quality=98, subsampling=0, icc_profile=profile), "icc"),
        "icc.tif": (zoo.encoded(rgb, "TIFF", icc_profile=profile), "icc"),
        "icc.webp": (zoo.encoded(rgb, "WEBP", lossless=True, icc_profile=profile), "icc"),
        "icc.jp2": (jp2(in_adobe, b"\2\0\0" + profile), "jp2_icc"),
        "srgb.jp2": (jp2(plain, b"\1\0\0" + struct.pack(">I", 16)), "jp2_srgb"),
        "dcf.jpg": (zoo.encoded(rgb, "JPEG", quality=98, subsampling=0, exif=adobe_exif()), "exif_adobe_rgb"),
        "dcf.webp": (zoo.encoded(rgb, "WEBP", lossless=True, exif=adobe_exif()), "exif_adobe_rgb"),
        "exif 2.jpg": (
            zoo.encoded(rgb, "JPEG", quality=98, subsampling=0, exif=adobe_exif(2, "")),
            "exif_adobe_rgb",
        ),
        "exif srgb.jpg": (
            zoo.encoded(picture, "JPEG", quality=98, subsampling=0, exif=adobe_exif(1, "R98")),
            "exif_srgb",
        ),
        "chrm gama.png": (png(in_adobe, gama(256 / 563), ADOBE_CHRM), "png_chrm_gama"),
        "gama.png": (png(bits(light ** (1 / 1.8)), gama(1 / 1.8)), "png_gama"),
        "chrm.png": (
            png(in_p3, chrm(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
            "png_chrm",
        ),
        "srgb before gama.png": (png(plain, (b"sRGB", b"\0"), gama(1.0)), "png_srgb"),
        "icc before srgb.png": (png(in_adobe, iccp(profile), (b"sRGB", b"\0"), gama(1.0)), "icc"),
        "cicp before icc.png": (png(in_p3, (b"cICP", bytes([12, 13, 0, 1])), iccp(srgb_icc)), "png_cicp"),
        "cicp pq.png": (png(bits(in_pq), (b"cICP", bytes([9, 16, 0, 1]))), "png_cicp"),
        "primaries.tif": (tiff_with_primaries(in_adobe), "tiff_primaries"),
        "version 4.bmp": (bmp_v4(in_adobe, 563 / 256), "bmp"),
        "pq.avif": (avif(in_pq, 9, 16), "nclx"),
        "hlg.avif": (avif(in_hlg, 9, 18), "nclx"),
        "p3.avif": (avif(in_space(picture, P3_TO_XYZ, srgb), 12, 13), "nclx"),
        "pq.heic": (heic(in_pq, 9, 16), "nclx"),
        "p3.heic": (heic(in_space(picture, P3_TO_XYZ, srgb), 12, 13), "nclx"),
        "plain.jxl": (bytes(imagecodecs.jpegxl_encode(plain, lossless=True)), "assumed_srgb"),
        "linear.jxl": (bytes(imagecodecs.jpegxl_encode(bits(light, 16), lossless=True)), "jxl"),
    }
