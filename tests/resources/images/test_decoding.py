"""Sound pictures come in whole: in their own colours, the main one of their file, whatever lies beside them."""

import io
import struct
import zlib
from pathlib import Path

import colour_zoo as colours
import image_zoo as zoo
import imagecodecs
import jxl_zoo
import numpy as np
import psd_zoo
import pytest
import tifffile
from PIL import Image, ImageCms

from resources.images import Decoded, Limits, Reject, decode_isolated, decode_to_proxy

LIMITS = Limits()


def decode(content: bytes, limits: Limits = LIMITS) -> Decoded:
    return decode_to_proxy(io.BytesIO(content), limits)


def rejected(content: bytes) -> Reject:
    with pytest.raises(Reject) as caught:
        decode(content)
    return caught.value


def off_by(decoded: Decoded, right: Image.Image) -> float:
    """The mean absolute difference, in levels of 255."""
    shown, wanted = (np.asarray(image.convert("RGB"), dtype=int) for image in (decoded.image, right))
    return float(np.abs(shown - wanted).mean())


PICTURE = zoo.picture(160, 120, seed=3)
PNG = zoo.encoded(PICTURE, "PNG")
JPEG = zoo.encoded(PICTURE, "JPEG", quality=92)


# What lies beside the pixels


def png_with(kind: bytes, body: bytes, checksum: bytes | None = None) -> bytes:
    chunk = zoo.png_chunk(kind, body)
    at = PNG.index(b"IDAT") - 4
    return PNG[:at] + chunk[:-4] + (checksum or chunk[-4:]) + PNG[at:]


LONG = zlib.compress(b"metadata " * 200_000)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (png_with(b"zTXt", b"Comment\0\0" + LONG), "metadata_too_large"),
        (png_with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG), "metadata_too_large"),
        (png_with(b"zTXt", b"Comment\0\0" + b"no zlib"), None),
        (png_with(b"tEXt", b"Comment\0text", b"\0\1\2\3"), "metadata_unreadable"),
        (png_with(b"iCCP", b"p\0\0no zlib", b"\0\1\2\3"), "metadata_unreadable"),
        (png_with(b"gAMA", struct.pack(">I", 45455), b"\0\1\2\3"), "metadata_unreadable"),
        (png_with(b"iCCP", b"p\0\0" + zlib.compress(bytes(40_000_000))), "metadata_unreadable"),
    ],
)
def test_a_png_comes_in_whatever_is_wrong_beside_its_pixels(content: bytes, note: str | None) -> None:
    decoded = decode(content)
    assert off_by(decoded, PICTURE) == 0
    assert list(decoded.notes) == ([note] if note else [])
    assert decoded.pixel_hash == decode(PNG).pixel_hash


def test_a_wrong_checksum_of_pixels_that_are_right_is_a_note_and_of_wrong_ones_damage() -> None:
    header = PNG.index(b"IHDR") + 17
    decoded = decode(PNG[:header] + bytes(4) + PNG[header + 4 :])
    assert (off_by(decoded, PICTURE), decoded.notes) == (0, ("wrong_checksum",))
    at = PNG.index(b"IDAT") + 4
    length = struct.unpack(">I", PNG[at - 8 : at - 4])[0]
    assert off_by(decode(PNG[: at + length] + bytes(4) + PNG[at + length + 4 :]), PICTURE) == 0
    middle = at + length // 2
    assert rejected(PNG[:middle] + bytes(40) + PNG[middle + 40 :]).code in {"damaged", "truncated"}


@pytest.mark.parametrize("missing", [1, 4, 8, 11, 12])
def test_a_png_that_lacks_only_its_end_comes_in(missing: int) -> None:
    decoded = decode(PNG[:-missing])
    assert off_by(decoded, PICTURE) == 0
    assert decoded.notes in ((), ("no_end_marker",))
    assert decoded.pixel_hash == decode(PNG).pixel_hash
    assert rejected(PNG[: -12 - 20]).code == "truncated"


@pytest.mark.parametrize("padding", [0, 1, 2, 8, 30])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(160, 120), (2600, 1900)])
def test_a_jpeg_that_lacks_only_its_end_marker_comes_in(
    padding: int, progressive: bool, size: tuple[int, int]
) -> None:
    whole = zoo.encoded(zoo.picture(*size), "JPEG", progressive=progressive)
    decoded = decode(whole[:-2] + bytes(padding))
    if padding < 2:  # Pillow may be content with a little of it
        assert decoded.notes == ("no_end_marker",)
    assert decoded.pixel_hash == decode(whole).pixel_hash


@pytest.mark.parametrize("missing", [3, 4, 6, 20, 200, 1000])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_some_of_its_picture_is_truncated(missing: int, progressive: bool) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    whole = zoo.encoded(noise, "JPEG", progressive=progressive)
    assert rejected(whole[:-missing]).code == "truncated"


def test_a_progressive_jpeg_without_its_last_scans_is_truncated() -> None:
    whole = zoo.encoded(PICTURE, "JPEG", progressive=True)
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    tables = whole.rindex(b"\xff\xc4", 0, scans[-1])
    assert rejected(whole[:tables]).code == "truncated"


# What one decoder does not read


def bitmap(bits: int, masks: tuple[int, ...], header: int = 40, is_file: bool = True) -> bytes:
    """PICTURE as a bitmap whose channels lie where the masks say."""
    pixels = np.asarray(PICTURE)[::-1].astype(np.uint32)
    words = np.zeros(pixels.shape[:2], np.uint32)
    for channel, mask in enumerate(masks[:3]):
        shift = (mask & -mask).bit_length() - 1
        words |= (np.rint(pixels[..., channel] * ((mask >> shift) / 255)).astype(np.uint32) << shift) & mask
    rows = words.astype("<u2" if bits == 16 else "<u4").tobytes()
    head = struct.pack("<IiiHHIIiiII", header, 160, 120, 1, bits, 3, len(rows), 0, 0, 0, 0)
    head += struct.pack(f"<{len(masks)}I", *masks) + bytes(max(0, header - 40 - 4 * len(masks)))
    if header > 60:  # its colours are sRGB's
        head = head[:56] + b"BGRs" + head[60:]
    file = b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head))
    return (file if is_file else b"") + head + rows


def palette_bitmap(bits: int, colours: int) -> tuple[bytes, Image.Image]:
    """A bitmap with a palette of any size, and what it shows."""
    levels = np.arange(160 * 120).reshape(120, 160) % min(2**bits, colours)
    table = np.random.default_rng(2).integers(0, 256, (colours, 4), dtype=np.uint8)
    packed = np.packbits(
        np.unpackbits(levels.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :].reshape(120, -1), axis=1
    )
    head = struct.pack("<IiiHHIIiiII", 40, 160, -120, 1, bits, 0, packed.size, 0, 0, colours, 0)
    start = 14 + 40 + table.size
    content = b"BM" + struct.pack("<IHHI", start + packed.size, 0, 0, start) + head + table.tobytes()
    return content + packed.tobytes(), Image.fromarray(table[:, 2::-1][levels])


@pytest.mark.parametrize(("bits", "colours"), [(8, 300), (8, 256), (4, 16), (2, 4), (1, 2)])
def test_bitmaps_with_palettes_of_any_size(bits: int, colours: int) -> None:
    content, shown = palette_bitmap(bits, colours)
    assert off_by(decode(content), shown) == 0


@pytest.mark.parametrize(
    "content",
    [
        bitmap(32, (0x3FF00000, 0x000FFC00, 0x000003FF)),
        bitmap(32, (0x000000FF, 0x0000FF00, 0x00FF0000)),
        bitmap(32, (0xFF000000, 0x00FF0000, 0x0000FF00, 0), 124),
        bitmap(16, (0x0F00, 0x00F0, 0x000F)),
        bitmap(16, (0xF800, 0x07E0, 0x001F)),
        bitmap(32, (0x3FF00000, 0x000FFC00, 0x000003FF), is_file=False),
        zoo.encoded(PICTURE, "BMP")[14:],
    ],
)
def test_bitmaps_with_channels_anywhere_and_from_the_clipboard(content: bytes) -> None:
    assert off_by(decode(content), PICTURE) < 5  # of four bits


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "options",
    [
        {"compression": "jpeg2000", "photometric": "rgb"},
        {"compression": "zstd", "photometric": "rgb"},
        {"compression": "webp", "photometric": "rgb"},
        {"compression": "jpegxl", "photometric": "rgb"},
        {"compression": "lerc", "photometric": "rgb"},
        {"byteorder": ">", "bigtiff": True, "photometric": "rgb"},
        {"byteorder": "<", "bigtiff": True, "photometric": "rgb"},
        {"planarconfig": "separate", "photometric": "rgb"},
        {"tile": (32, 32), "predictor": True, "compression": "lzma", "photometric": "rgb"},
    ],
)
def test_tiffs_of_many_kinds(options: dict[str, object]) -> None:
    file, pixels = io.BytesIO(), np.asarray(PICTURE)
    if "planarconfig" in options:
        pixels = np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(file, pixels, **options)
    decoded = decode(file.getvalue())
    assert decoded.format == "TIFF"
    assert off_by(decoded, PICTURE) < 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.uint32])
def test_tiffs_of_colours_with_many_bits(dtype: type) -> None:
    values = np.asarray(PICTURE) / 255
    values[0, 0], values[0, 1] = 0, 1
    scaled = values if np.issubdtype(dtype, np.floating) else values * np.iinfo(dtype).max
    file = io.BytesIO()
    tifffile.imwrite(file, scaled.astype(dtype), photometric="rgb", compression="zlib")
    assert off_by(decode(file.getvalue()), PICTURE) < 1.5


def test_an_avif_beyond_its_decoder_is_too_large_and_not_damaged() -> None:
    """The decoder says of such a file that it is broken."""
    content = bytearray(zoo.encoded(PICTURE, "AVIF"))
    sizes = content.index(b"ispe") + 8
    for side in (17_000, 16_500):  # above max_megapixels; above what the decoder takes
        struct.pack_into(">II", content, sizes, side, side)
        limits = LIMITS if side == 17_000 else Limits(max_megapixels=400)
        with pytest.raises(Reject) as caught:
            decode(bytes(content), limits)
        assert caught.value.code == "too_large"
        assert str(side) in caught.value.reason


def test_a_tiff_that_one_decoder_finds_too_short_is_held_against_its_tables() -> None:
    """Old programs list tiles where strips are listed: Pillow looks for all of the picture in the last one."""
    grey = Image.linear_gradient("L").resize((100, 75))
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(grey), tile=(32, 32), photometric="minisblack")
    content = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages[0]
        for of_tiles, of_strips in ((324, 273), (325, 279)):
            struct.pack_into("<H", content, page.tags[of_tiles].offset, of_strips)
        end = page.dataoffsets[-1] + page.databytecounts[-1]
    whole = decode(bytes(content))
    assert (off_by(whole, grey) < 1, whole.notes) == (True, ("second_decoder",))
    assert rejected(bytes(content[: end - 100])).code == "truncated"


def test_a_lossless_jpeg_and_jpeg_xl_come_in() -> None:
    grey = PICTURE.convert("L")
    lossless = bytes(imagecodecs.ljpeg_encode(np.asarray(grey)))
    assert off_by(decode(lossless), grey) < 1
    for options in ({"usecontainer": True}, {}):
        content = bytes(imagecodecs.jpegxl_encode(np.asarray(PICTURE), lossless=True, **options))
        decoded = decode(content)
        assert (decoded.format, off_by(decoded, PICTURE)) == ("JXL", 0)
    assert rejected(content[: len(content) // 2]).code == "damaged"


def test_a_drawing_is_unsupported_and_told_so() -> None:
    reject = rejected(b'<?xml version="1.0"?><!-- a --><svg xmlns="http://www.w3.org/2000/svg"/>')
    assert (reject.code, "SVG" in reject.reason) == ("unsupported", True)


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("version", [1, 2])  # PSD, PSB
@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_the_composite_of_photoshop_comes_in_at_any_depth(
    runs: bool, version: int, dtype: type[np.generic], white: float
) -> None:
    samples = (np.asarray(PICTURE) / 255 * white).astype(dtype)
    shown = decode(psd_zoo.psd_of(samples, version=version, runs=runs))
    assert (shown.format, shown.mode, shown.notes) == ("PSD", "RGB", ())
    assert off_by(shown, PICTURE) < 1


def test_channels_that_photoshop_keeps_beside_the_colours_are_not_seen_unless_they_are_transparency() -> None:
    """A saved selection is a channel too; Pillow takes it for transparency, and the rows of others for the picture's."""
    four = np.dstack([np.asarray(PICTURE), np.zeros((120, 160), np.uint8)])
    for samples in (four, np.dstack([four, four[..., :2]])):
        for runs in (False, True):
            assert off_by(decode(psd_zoo.psd_of(samples, layers=1, runs=runs)), PICTURE) < 1
    clear = decode(psd_zoo.psd_of(four, layers=-1))
    assert (clear.mode, "blank" in clear.notes) == ("RGBA", True)
    inks = np.dstack([255 - np.asarray(PICTURE.convert("CMYK")), np.zeros((120, 160), np.uint8)])
    right = decode(zoo.encoded(PICTURE.convert("CMYK"), "TIFF"))
    assert off_by(decode(psd_zoo.psd_of(inks, psd_zoo.CMYK, runs=True)), right.image) < 1


def test_a_file_of_photoshop_has_its_profile_and_may_be_cut_or_huge() -> None:
    profile = zoo.swapped_profile()
    content = psd_zoo.psd_of(np.asarray(PICTURE), profile=profile)
    shown, right = decode(content), decode(zoo.encoded(PICTURE, "PNG", icc_profile=profile))
    assert (shown.colour, shown.pixel_hash) == ("icc", right.pixel_hash)
    assert rejected(content[:-1000]).code == "truncated"
    huge = content[:14] + struct.pack(">II", 30_000, 30_000) + content[22:]
    assert rejected(huge).code == "too_large"


# Colours


@pytest.fixture(scope="module")
def coloured() -> dict[str, tuple[bytes, str]]:
    return colours.coloured()


def test_colours_are_understood_wherever_they_are_told(coloured: dict[str, tuple[bytes, str]]) -> None:
    right = colours.right()
    for name, (content, told) in coloured.items():
        decoded = decode(content)
        assert decoded.colour == told, name
        assert off_by(decoded, right) < (4 if name.endswith(("avif", "heic")) else 2), name


def test_the_pixel_hash_is_of_the_meaning_of_colours_and_not_of_how_it_is_told(
    coloured: dict[str, tuple[bytes, str]],
) -> None:
    of = {name: decode(content).pixel_hash for name, (content, _) in coloured.items()}
    assert of["plain.png"] == of["srgb before gama.png"] == of["srgb.jp2"] == of["plain.jxl"]
    assert of["icc.png"] == of["icc.tif"] == of["icc.webp"] != of["plain.png"]
    untagged = Image.open(io.BytesIO(coloured["icc.webp"][0]))
    untagged.info.clear()
    assert of["icc.png"] != decode(zoo.encoded(untagged, "PNG")).pixel_hash


def test_a_jpeg_2000_may_have_its_colours_in_another_order() -> None:
    blue_first = Image.merge("RGB", PICTURE.split()[::-1])
    content = zoo.encoded(blue_first, "JPEG2000", irreversible=False)
    order = b"".join(struct.pack(">3H", channel, 0, 3 - channel) for channel in range(3))
    cdef = struct.pack(">I4sH", 10 + len(order), b"cdef", 3) + order
    at = content.index(b"jp2h") - 4
    (length,) = struct.unpack(">I", content[at : at + 4])
    end = at + length
    shown = decode(
        content[:at] + struct.pack(">I", length + len(cdef)) + content[at + 4 : end] + cdef + content[end:]
    )
    assert (shown.format, shown.colour) == ("JPEG2000", "jp2_srgb")
    assert off_by(shown, PICTURE) < 1


@pytest.mark.parametrize("lossless", [True, False])  # a lossy one says in its header what its profile says
def test_the_profile_of_a_jpeg_xl_is_applied(lossless: bool) -> None:
    profile = zoo.swapped_profile()
    shown = decode(jxl_zoo.jxl_of(np.asarray(PICTURE), profile, lossless=lossless))
    right = decode(zoo.encoded(PICTURE, "PNG", icc_profile=profile))
    assert (shown.colour, shown.notes) == ("icc" if lossless else "jxl", ())
    assert off_by(shown, right.image) < (0.1 if lossless else 3)
    assert off_by(shown, PICTURE) > 20
    assert not lossless or shown.pixel_hash == right.pixel_hash


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
def test_a_jpeg_xl_says_what_is_white(bits: int) -> None:
    """The picture is dark: its values, of which the brightest is a quarter of white, do not tell."""
    dark = np.asarray(PICTURE).astype(np.uint32) // 4
    samples = (dark * (2**bits - 1) // 255).astype(np.uint16)
    shown = decode(jxl_zoo.jxl_of(samples, bits=bits))
    assert shown.notes == ()
    assert off_by(shown, Image.fromarray(dark.astype(np.uint8))) < 1


def test_a_jpeg_xl_whose_colours_are_multiplied_by_its_alpha_shows_them() -> None:
    alpha = Image.linear_gradient("L").resize(PICTURE.size)
    straight = Image.merge("RGBA", (*PICTURE.split(), alpha))
    multiplied = Image.frombytes("RGBA", PICTURE.size, straight.convert("RGBa").tobytes())
    right = decode(zoo.encoded(straight, "PNG"))
    assert off_by(decode(jxl_zoo.jxl_of(np.asarray(straight))), right.image) < 1
    assert off_by(decode(jxl_zoo.jxl_of(np.asarray(multiplied), premultiplied=True)), right.image) < 1.5


def test_a_profile_of_srgb_changes_no_pixel_hash() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(zoo.encoded(PICTURE, "PNG", icc_profile=profile)).pixel_hash == decode(PNG).pixel_hash


def test_what_is_wrong_with_a_profile_is_noted() -> None:
    decoded = decode(zoo.encoded(PICTURE, "PNG", icc_profile=b"no profile at all"))
    assert (decoded.colour, decoded.notes) == ("assumed_srgb", ("colour_profile_unusable",))


def test_cmyk_without_a_profile_is_what_a_press_prints() -> None:
    """Solid inks and tints of US Web Coated (SWOP) v2, as Photoshop's swatches have them."""
    printed = {
        (100, 0, 0, 0): (0, 174, 239),
        (0, 100, 0, 0): (236, 0, 140),
        (0, 100, 100, 0): (237, 28, 36),
        (0, 0, 0, 100): (35, 31, 32),
        (50, 0, 0, 0): (109, 207, 246),
        (0, 50, 50, 0): (246, 150, 121),
        (50, 50, 0, 0): (135, 129, 189),
        (50, 0, 100, 0): (141, 198, 63),
        (0, 0, 0, 50): (147, 149, 152),
    }
    for ink, shown in printed.items():
        levels = tuple(round(percent * 2.55) for percent in ink)
        decoded = decode(zoo.encoded(Image.new("CMYK", (16, 16), levels), "TIFF"))
        assert decoded.colour == "assumed_cmyk"
        assert np.abs(np.subtract(decoded.image.getpixel((8, 8)), shown)).mean() < 6, ink
    paper = decode(zoo.encoded(Image.new("CMYK", (16, 16)), "TIFF"))
    assert paper.image.getpixel((8, 8)) == (255, 255, 255)


# Which picture of a file


def pages(*sizes_and_kinds: tuple[tuple[int, int], int], sub: int = 0) -> bytes:
    """A TIFF with a page for each (size, NewSubfileType), all of PICTURE; `sub` of them below the first."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, (size, kind) in enumerate(sizes_and_kinds):
            below = {"subifds": sub} if sub and number == 0 else {}
            pixels = np.asarray(PICTURE.resize(size))
            writer.write(pixels, photometric="rgb", subfiletype=kind, compression="zlib", **below)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pages(((20, 15), 1), ((160, 120), 0)),
        pages(((20, 15), 1), ((40, 30), 1), ((160, 120), 0), ((20, 15), 1)),
        pages(((20, 15), 1), ((160, 120), 0), sub=1),
        pages(((20, 15), 1), ((160, 120), 1)),
    ],
)
def test_a_reduced_copy_is_not_the_picture(content: bytes) -> None:
    decoded = decode(content)
    assert (decoded.source_width_px, decoded.source_height_px) == (160, 120)
    assert off_by(decoded, PICTURE) < 1
    assert "reduced_pages_passed_over" in decoded.notes or content == pages(((20, 15), 1), ((160, 120), 1))


def test_a_full_first_page_is_the_picture() -> None:
    decoded = decode(pages(((160, 120), 0), ((20, 15), 1)))
    assert (decoded.source_width_px, decoded.notes) == (160, ())


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["tif", "png"])
def test_few_bits_in_words_of_16_are_the_whole_range(bits: int, channels: int, kind: str) -> None:
    shown = PICTURE if channels == 3 else PICTURE.convert("L")
    values = np.asarray(shown).astype(np.float64)
    values = (values - values.min()) / (values.max() - values.min())
    stored = np.rint(values * (2**bits - 1)).astype(np.uint16)
    if kind == "png":
        content = bytes(imagecodecs.png_encode(stored))
    else:
        file = io.BytesIO()
        tifffile.imwrite(file, stored, photometric="rgb" if channels == 3 else "minisblack")
        content = file.getvalue()
    decoded = decode(content)
    assert off_by(decoded, Image.fromarray(np.rint(values * 255).astype(np.uint8))) < 1
    assert "white_by_content" in decoded.notes


def test_the_white_that_a_tiff_tells_is_taken() -> None:
    file = io.BytesIO()
    values = np.tile(np.linspace(0, 20000, 256).astype(np.uint16), (8, 1))
    tifffile.imwrite(file, values, photometric="minisblack", extratags=[(341, 3, 1, 20000, True)])
    decoded = decode(file.getvalue())
    assert np.abs(np.asarray(decoded.image)[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert decoded.notes == ()


def test_the_primary_picture_of_a_heic_is_shown() -> None:
    import pillow_heif

    file = io.BytesIO()
    images = pillow_heif.HeifFile()
    images.add_from_pillow(zoo.picture(160, 120, seed=8))
    images.add_from_pillow(PICTURE)
    images.save(file, primary_index=1, quality=95)
    assert off_by(decode(file.getvalue()), PICTURE) < 3


def test_the_animation_of_a_png_is_shown_and_not_what_stands_in_for_it() -> None:
    file, first = io.BytesIO(), zoo.picture(160, 120, seed=9)
    Image.new("RGB", (160, 120), "white").save(
        file, "PNG", save_all=True, append_images=[PICTURE, first], default_image=True
    )
    decoded = decode(file.getvalue())
    assert off_by(decoded, PICTURE) == 0
    assert decoded.notes == ("default_image_passed_over",)


def test_a_photoshop_file_shows_its_composite() -> None:
    planes = b"".join(channel.tobytes() for channel in PICTURE.split())
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 120, 160, 8, 3)
    decoded = decode(head + bytes(4) + bytes(4) + bytes(4) + b"\0\0" + planes)
    assert (decoded.format, off_by(decoded, PICTURE)) == ("PSD", 0)


# Cameras' raw files


def dng(preview: Image.Image | None, path: Path) -> bytes:
    """A raw file of 320 x 240: a preview, and below it what a sensor with a Bayer filter saw."""
    sensor = np.asarray(zoo.picture(320, 240, seed=3)).astype(np.uint16) * 16
    mosaic = np.zeros((240, 320), np.uint16)
    for (row, column), channel in {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}.items():
        mosaic[row::2, column::2] = sensor[row::2, column::2, channel]
    raw_tags = [
        *[(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([0, 1, 1, 2]), True)],
        *[(50714, 3, 1, 0, True), (50717, 4, 1, 4095, True)],
    ]
    identity = [value for number in range(9) for value in (10_000 * (number % 4 == 0), 10_000)]
    tags = [
        *[(50706, 1, 4, bytes([1, 4, 0, 0]), True), (50708, 2, 0, "Camera", True)],
        *[(50721, 10, 9, tuple(identity), True), (50728, 5, 3, (1, 1, 1, 1, 1, 1), True)],
        *[(271, 2, 0, "Maker", True), (272, 2, 0, "Camera", True), (274, 3, 1, 1, True)],
        (306, 2, 20, "2021:03:04 05:06:07", True),
    ]
    with tifffile.TiffWriter(path) as writer:
        if preview is not None:
            writer.write(
                iter([zoo.encoded(preview, "JPEG", quality=95)]), shape=(preview.height, preview.width, 3),
                dtype=np.uint8, photometric="ycbcr", compression="jpeg", subfiletype=1, subifds=1,
                extratags=tags, rowsperstrip=preview.height,
            )  # fmt: skip
            tags = []
        writer.write(mosaic, photometric="cfa", subfiletype=0, extratags=[*raw_tags, *tags])
    return path.read_bytes()


def test_a_raw_file_comes_in_by_its_preview_or_developed(tmp_path: Path) -> None:
    preview = zoo.picture(320, 240, seed=3)
    content = dng(preview, tmp_path / "a.dng")
    shown, developed = decode(content), decode(content, Limits(raw="decode"))
    assert (shown.format, shown.notes) == ("RAW", ("raw_preview",))
    assert off_by(shown, preview) < 4
    assert developed.notes == ("raw_developed",)
    assert {shown.source_width_px, developed.source_width_px} == {320}
    without = decode(dng(None, tmp_path / "b.dng"))
    assert without.notes == ("raw_developed",)
    assert str(without.taken_at) == "2021-03-04 05:06:07"


def test_a_small_preview_is_not_shown_for_a_large_picture(tmp_path: Path) -> None:
    assert decode(dng(zoo.picture(64, 48), tmp_path / "a.dng")).notes == ("raw_developed",)


@pytest.mark.parametrize(
    "head",
    [
        b"FUJIFILMCCD-RAW 0201",
        b"\0\0\0\x18ftypcrx \0\0\0\1",
        b"IIU\0\x18\0\0\0",
        b"IIRO\x08\0\0\0",
        b"II*\0\x10\0\0\0CR\x02\0",
        b"FOVb\0\0\0\0",
        b"\0MRM\0\0\0\0",
    ],
)
def test_raw_formats_are_known_by_their_content(head: bytes) -> None:
    reject = rejected(head + bytes(4000))
    assert (reject.code, "LibRaw" in reject.reason) == ("unsupported", True)


# Dates and blanks


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2021:03:04 05:06:07", "2021-03-04 05:06:07"),
        ("2021/03/04 05:06:07", "2021-03-04 05:06:07"),
        ("2021/03/04", "2021-03-04 00:00:00"),
        ("2021-03-04T05:06:07", "2021-03-04 05:06:07"),
        ("2021-03-04T05:06:07.25+02:00", "2021-03-04 05:06:07"),
        ("2021-03-04 05:06", "2021-03-04 05:06:00"),
        ("2021:13:04 05:06:07", "None"),
        ("0000:00:00 00:00:00", "None"),
    ],
)
def test_times_are_read_in_all_the_forms_that_programs_write(told: str, meant: str) -> None:
    assert str(decode(zoo.encoded(PICTURE, "JPEG", exif=zoo.exif(taken=told))).taken_at) == meant
    changed = Image.Exif()
    changed[306] = told
    assert str(decode(zoo.encoded(PICTURE, "JPEG", exif=changed.tobytes())).taken_at) == meant


def test_blank_pictures_are_flagged_and_others_are_not() -> None:
    noise = np.random.default_rng(0).integers(0, 3, (480, 640, 3), dtype=np.uint8)
    blank = [Image.new("RGB", (640, 480), shade) for shade in ("black", "white", "red")]
    blank += [Image.fromarray(noise), Image.new("RGBA", (64, 64), (1, 2, 3, 0)), Image.new("RGB", (1, 1))]
    for image in blank:
        assert "blank" in decode(zoo.encoded(image, "PNG")).notes
    page = Image.new("L", (1024, 1400), 255)
    page.paste(0, (500, 700, 508, 708))
    night = Image.new("RGB", (640, 480))
    night.paste((40, 40, 30), (300, 200, 340, 240))
    for image in (page, night, PICTURE):
        assert "blank" not in decode(zoo.encoded(image, "PNG")).notes


def test_a_transparent_drawing_lies_on_a_ground_that_shows_it() -> None:
    for mode, ink, ground, note in (
        ("RGBA", (255, 255, 255, 255), 32, ("dark_ground",)),
        ("LA", (250, 255), 32, ("dark_ground",)),
        ("RGBA", (0, 0, 0, 255), 255, ()),
        ("RGBA", (200, 30, 30, 255), 255, ()),
    ):
        logo = Image.new(mode, (64, 64), (0,) * len(mode))
        logo.paste(ink, (16, 16, 48, 48))
        decoded = decode(zoo.encoded(logo, "PNG"))
        assert decoded.image.getpixel((2, 2)) == (ground,) * 3
        assert decoded.notes == note


# In processes of their own


def test_new_decoders_work_in_processes_of_their_own(
    coloured: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    files = [content for content, _ in coloured.values()]
    files += [dng(PICTURE, tmp_path / "a.dng"), bitmap(16, (0x0F00, 0x00F0, 0x000F)), JPEG[:-2]]
    files += [pages(((20, 15), 1), ((160, 120), 0), sub=1)]
    for content in files:
        here, there = decode(content), decode_isolated(io.BytesIO(content), LIMITS)
        assert here.image.tobytes() == there.image.tobytes()
        assert (here.colour, here.notes, here.pixel_hash) == (there.colour, there.notes, there.pixel_hash)
