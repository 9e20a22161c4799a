"""Ingest, on real files: what becomes an image, what a reject and why, and what is not read twice."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import image_zoo as zoo
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageCms

from resources.fingerprint import fingerprint
from resources.images import (
    Decoded,
    Found,
    Ingested,
    Limits,
    Reject,
    Rejected,
    decode_to_proxy,
    find_folders,
    folder_order,
    ingest_folder,
    open_proxy,
    perceptual_hash,
    prune_proxies,
    reading,
    scan_folder,
    walk_folders,
)
from resources.images.budget import PixelBudget
from resources.images.ingest import rejects_fingerprint
from resources.images.reading import IN_MEMORY_BYTES
from resources.tables import IMAGES, PROXIES, REJECTS

ROOT = Path(__file__).parents[3]
LIMITS = Limits()
WHITE = (255, 255, 255)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def ingest(folder: Path, home: Path, before: Ingested | None = None, **options: Any) -> Ingested:
    """One ingest of a folder that is a library by itself, on top of the one before."""
    known = (before.images, before.rejects, before.proxies) if before else (None, None, None)
    return ingest_folder(folder, folder, home, options.pop("limits", LIMITS), *known, **options)


def decode(content: bytes, limits: Limits = LIMITS) -> Decoded:
    return decode_to_proxy(io.BytesIO(content), limits)


def rejected_codes(result: Ingested) -> dict[str, str]:
    return {row["path"]: row["code"] for row in result.rejects.to_pylist()}


def close(pixel: Any, expected: tuple[int, int, int], tolerance: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(pixel, expected, strict=True)) <= tolerance


# What a scan finds


def test_scan_takes_pictures_by_suffix_in_order_of_name_bytes(library: Path) -> None:
    names = ["b.jpg", "B.JPG", "é.png", "a.tiff", "z.heic"]
    passed_over = [
        "a.xmp",
        "a.jpg.part",
        "a.jpg~",
        ".hidden.jpg",
        "Thumbs.db",
        "a.json",
        "noname",
        "a.crdownload",
    ]
    zoo.write(library, dict.fromkeys([*names, *passed_over], b"x"))
    (library / "a folder.jpg").mkdir()
    assert [entry.path for entry in scan_folder(library, library)] == [
        "B.JPG",
        "a.tiff",
        "b.jpg",
        "z.heic",
        "é.png",
    ]


def test_scan_follows_only_links_that_stay_in_the_library(tmp_path: Path, library: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    zoo.write(library / "originals", {"one.jpg": b"x"})
    zoo.write(library / "folder", {})
    (library / "folder/inside.jpg").symlink_to("../originals/one.jpg")
    (library / "folder/outside.jpg").symlink_to("../../secret.jpg")
    (library / "folder/loop.jpg").symlink_to("back.jpg")
    (library / "folder/back.jpg").symlink_to("loop.jpg")
    (library / "folder/dangling.jpg").symlink_to("gone.jpg")
    (library / "folder/below a file.jpg").symlink_to("../originals/one.jpg/two.jpg")
    (library / "folder/a folder.jpg").symlink_to("../originals")
    found = {
        entry.path: getattr(entry, "code", "found") for entry in scan_folder(library / "folder", library)
    }
    assert found == {
        "folder/back.jpg": "link_loop",
        "folder/below a file.jpg": "dangling_link",
        "folder/dangling.jpg": "dangling_link",
        "folder/inside.jpg": "found",
        "folder/loop.jpg": "link_loop",
        "folder/outside.jpg": "link_leaves_library",
    }


def test_a_sibling_whose_name_begins_like_the_library_is_outside_it(tmp_path: Path, library: Path) -> None:
    zoo.write(tmp_path / "library-private", {"a.jpg": b"x"})
    (library / "a.jpg").symlink_to("../library-private/a.jpg")
    (entry,) = scan_folder(library, library)
    assert isinstance(entry, Rejected)
    assert entry.code == "link_leaves_library"


def test_pipes_and_sockets_are_rejected_unopened(
    library: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library)  # a socket's path may have 107 bytes at most
    os.mkfifo("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
        result = ingest(library, home)
    assert rejected_codes(result) == {"pipe.jpg": "not_a_file", "socket.png": "not_a_file"}


def test_names_in_any_script_with_newlines_and_without_an_encoding_all_work(
    library: Path, home: Path
) -> None:
    names = [
        "фото.png",
        "写真.png",
        "صورة.png",
        "two\nlines.png",
        "🖼️ 🎨.png",
        "e\u0301.png",
        "-rf *.png",
        "%00.png",
    ]
    zoo.write(library, {name: zoo.encoded(zoo.picture(seed=i), "PNG") for i, name in enumerate(names)})
    (library / os.fsdecode(b"caf\xe9.png")).write_bytes(zoo.encoded(zoo.picture(seed=99), "PNG"))
    result = ingest(library, home)
    assert set(result.images["path"].to_pylist()) == {*names, "caf\\xe9.png"}
    assert result.rejects.num_rows == 0
    assert ingest(library, home, result).decoded == 0


def test_a_missing_folder_is_an_error_and_not_an_empty_one(library: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"disk is mounted.*gone"):
        scan_folder(library / "gone", library)
    with pytest.raises(NotADirectoryError, match="gone"):
        find_folders(library / "gone")


def test_folders_are_found_at_every_depth_and_never_through_links(tmp_path: Path, library: Path) -> None:
    zoo.write(tmp_path / "elsewhere", {"a.jpg": b"x"})
    for folder in (".", "b", "b/deep/er", "a", ".hidden", "@eaDir", "work/home/proxies"):
        zoo.write(library / folder, {"a.jpg": b"x"})
    zoo.write(library / "texts", {"a.txt": b"x"})
    (library / "b/up").symlink_to("..")
    (library / "b/again").symlink_to("../a")
    (library / "elsewhere").symlink_to(tmp_path / "elsewhere")
    found = find_folders(library, home_root=library / "work/home")
    assert found == [PurePosixPath(path) for path in (".", "a", "b", "b/deep/er")]


def test_a_walk_goes_on_behind_any_folder_also_one_that_vanished(library: Path) -> None:
    names = ["a", "a/b", "a/b/c", "a b", "a-", "b", "b/a", os.fsdecode(b"b\xff")]
    for name in names:
        (library / name).mkdir(parents=True)
    everything = [listing.folder for listing in walk_folders(library)]
    assert everything == sorted(map(PurePosixPath, [".", *names]), key=folder_order)
    for place, folder in enumerate(everything):
        rest = [listing.folder for listing in walk_folders(library, after=folder)]
        assert rest == everything[place + 1 :]
    behind = [listing.folder for listing in walk_folders(library, after=PurePosixPath("a/bb/gone"))]
    assert behind == everything[everything.index(PurePosixPath("a/b/c")) + 1 :]


@pytest.mark.parametrize(
    "name", ["a.jpg.part", ".a.jpg.x7Gh2k", "~$a.jpg", "~a.png", ".~lock.a.jpg#", "a.jpg.crdownload"]
)
def test_names_of_files_that_are_still_being_written_are_passed_over(library: Path, name: str) -> None:
    zoo.write(library, {name: b"x"})
    assert scan_folder(library, library) == []
    assert find_folders(library) == []


def test_folders_with_undecodable_names_can_be_scanned(library: Path) -> None:
    zoo.write(library / os.fsdecode(b"\xff"), {"a.jpg": b"x"})
    (folder,) = find_folders(library)
    (entry,) = scan_folder(library / folder, library)
    assert isinstance(entry, Found)
    assert entry.path == "\\xff/a.jpg"


# What becomes an image


@pytest.fixture(scope="module")
def zoo_ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ingested]:
    root = tmp_path_factory.mktemp("zoo")
    zoo.write(root / "library", {name: content for name, (content, _, _) in zoo.usable().items()})
    zoo.write(root / "library", {name: content for name, (content, _) in zoo.unusable().items()})
    return root / "home", ingest(root / "library", root / "home")


def test_every_usable_kind_becomes_an_image(
    zoo_ingested: tuple[Path, Ingested],
) -> None:
    rows = zoo_ingested[1].images.to_pylist()
    expected = {name: (format_, mode) for name, (_, format_, mode) in zoo.usable().items()}
    assert {row["path"]: (row["format"], row["mode"]) for row in rows} == expected


def test_every_unusable_kind_is_rejected_in_words(zoo_ingested: tuple[Path, Ingested]) -> None:
    result = zoo_ingested[1]
    assert rejected_codes(result) == {name: code for name, (_, code) in zoo.unusable().items()}
    for reason in result.rejects["reason"].to_pylist():
        assert reason.count(". ") >= 1, "says what is wrong, and what to do"


def test_tables_have_the_documented_schemas_and_the_order_of_paths(
    zoo_ingested: tuple[Path, Ingested],
) -> None:
    result = zoo_ingested[1]
    assert (result.images.schema, result.rejects.schema) == (IMAGES.schema, REJECTS.schema)
    assert result.proxies.schema == PROXIES.schema
    assert result.proxies["id"] == result.images["id"]
    for table in (result.images, result.rejects):
        assert table["path"].to_pylist() == sorted(table["path"].to_pylist(), key=os.fsencode)


def test_every_proxy_is_a_loaded_rgb_picture_of_the_stated_size(zoo_ingested: tuple[Path, Ingested]) -> None:
    home, result = zoo_ingested
    for row in result.proxies.to_pylist():
        proxy = open_proxy(home, row["path"])
        assert (proxy.mode, proxy.size) == ("RGB", (row["width"], row["height"]))
        assert max(proxy.size) <= LIMITS.proxy_max_side_px
        assert row["path"] == f"proxies/{row['id'][:2]}/{row['id']}-{row['fingerprint']}.jpg"


def test_one_picture_in_many_formats_has_one_perceptual_hash(zoo_ingested: tuple[Path, Ingested]) -> None:
    hashes = {row["path"]: row["phash"] for row in zoo_ingested[1].images.to_pylist()}
    same = ["progressive.jpg", "cmyk.jpg", "grey.jpg", "colour.png", "lossy.webp", "still.gif", "plain.bmp"]
    same += ["plain.tif", "lzw.tiff", "cmyk.tif", "phone.heic", "small.avif", "archive.jp2", "plain.ppm"]
    for name in same:
        assert (hashes[name] ^ hashes["baseline.jpg"]).bit_count() <= 6, name


def test_frames_are_counted_and_the_first_is_shown(zoo_ingested: tuple[Path, Ingested]) -> None:
    rows = {row["path"]: row for row in zoo_ingested[1].images.to_pylist()}
    for name in ("animated.gif", "animated.webp", "animated.png", "pages.tif"):
        assert rows[name]["frames"] == 3, name
        assert (rows[name]["phash"] ^ rows["colour.png"]["phash"]).bit_count() <= 6, name
    assert rows["colour.png"]["frames"] == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_later_page_does_not_cost_the_first() -> None:
    pages = zoo.usable()["pages.tif"][0]
    decoded = decode(pages[: len(pages) * 6 // 10])
    assert (decoded.image.size, decoded.frames) == ((96, 64), 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_out_upright(kind: str, orientation: int) -> None:
    stored = zoo.stored_as(orientation, zoo.corners())
    decoded = decode(zoo.encoded(stored, kind, exif=zoo.exif(orientation), quality=95))
    assert decoded.image.size == (decoded.source_width_px, decoded.source_height_px) == (96, 64)
    assert close(decoded.image.getpixel((8, 8)), zoo.CORNER_COLOURS["top left"], 40)
    assert close(decoded.image.getpixel((88, 8)), zoo.CORNER_COLOURS["top right"], 40)
    assert close(decoded.image.getpixel((8, 56)), zoo.CORNER_COLOURS["bottom left"], 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_the_time_of_the_picture_is_read_from_exif(kind: str) -> None:
    content = zoo.encoded(zoo.picture(), kind, exif=zoo.exif(taken="2021:03:04 05:06:07"))
    assert decode(content).taken_at == datetime(2021, 3, 4, 5, 6, 7)


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", ""])
def test_a_time_that_is_none_is_null(taken: str) -> None:
    assert decode(zoo.encoded(zoo.picture(), "JPEG", exif=zoo.exif(taken=taken))).taken_at is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture() -> None:
    broken = b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(5)
    assert decode(zoo.encoded(zoo.picture(), "JPEG", exif=broken)).taken_at is None


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    assert decode(zoo.encoded(clear, "PNG")).image.getpixel((4, 4)) == WHITE
    assert close(decode(zoo.encoded(half, "PNG")).image.getpixel((4, 4)), (127, 127, 127), 1)
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    assert decode(zoo.encoded(keyed, "PNG", transparency=(1, 2, 3))).image.getpixel((4, 4)) == WHITE


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bits_are_scaled_to_8_and_not_clipped(kind: str) -> None:
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    row = np.asarray(decode(zoo.encoded(zoo.ramp_16_bit(), kind, **options)).image)[0, :, 0]
    assert np.abs(row.astype(int) - np.arange(256)).max() <= 1


def test_12_bits_are_scaled_by_their_own_white() -> None:
    row = np.asarray(decode(zoo.tiff_12_bit([0, 2048, 4095, 1024])).image)[0, :, 0]
    assert row.tolist() == [0, 128, 255, 64]


def test_floats_are_scaled_from_their_extremes_and_what_is_not_finite_is_black() -> None:
    values = np.array([[-1.0, 0.0, 1.0, np.nan, np.inf]], dtype=np.float32)
    row = np.asarray(decode(zoo.encoded(Image.fromarray(values), "TIFF")).image)[0, :, 0]
    assert row.tolist() == [0, 128, 255, 0, 0]
    nothing = np.full((1, 3), np.nan, dtype=np.float32)
    assert np.asarray(decode(zoo.encoded(Image.fromarray(nothing), "TIFF")).image).max() == 0


def test_a_colour_profile_is_applied_and_a_broken_one_ignored() -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    swapped = decode(zoo.encoded(red, "PNG", icc_profile=zoo.swapped_profile())).image
    assert close(swapped.getpixel((8, 8)), (0, 255, 0))
    broken = decode(zoo.encoded(red, "PNG", icc_profile=b"no profile at all")).image
    assert broken.getpixel((8, 8)) == (255, 0, 0)


def test_a_proxy_carries_no_metadata_of_its_original(library: Path, home: Path) -> None:
    options = {"icc_profile": zoo.swapped_profile(), "comment": b"private", "exif": zoo.exif(6)}
    zoo.write(library, {"a.jpg": zoo.encoded(zoo.picture(), "JPEG", **options)})
    (path,) = ingest(library, home).proxies["path"].to_pylist()
    with Image.open(home / path) as proxy:
        assert not {"icc_profile", "comment", "exif"} & proxy.info.keys()


def test_lab_becomes_rgb() -> None:
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    red = ImageCms.profileToProfile(Image.new("RGB", (16, 16), (200, 30, 30)), rgb, lab, outputMode="LAB")
    assert red is not None
    assert close(decode(zoo.encoded(red, "TIFF")).image.getpixel((8, 8)), (200, 30, 30))


def test_adobe_cmyk_is_not_shown_as_its_negative() -> None:
    white = decode(zoo.encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")).image
    assert close(white.getpixel((8, 8)), WHITE)


# What a picture is, whatever is written beside it


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_the_pixel_hash_is_that_of_the_picture_and_not_of_the_file(kind: str) -> None:
    picture = zoo.picture(1500, 1100)
    plain = decode(zoo.encoded(picture, kind))
    dated = decode(zoo.encoded(picture, kind, exif=zoo.exif(taken="2021:03:04 05:06:07")))
    assert dated.pixel_hash == plain.pixel_hash
    assert len(plain.pixel_hash) == 32
    others = [
        zoo.encoded(zoo.picture(1500, 1100, seed=1), kind),
        zoo.encoded(picture, kind, exif=zoo.exif(6)),
    ]
    assert len({plain.pixel_hash, *(decode(other).pixel_hash for other in others)}) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_pixel_hash_is_of_the_upright_picture(orientation: int) -> None:
    stored = zoo.encoded(zoo.stored_as(orientation, zoo.corners()), "PNG", exif=zoo.exif(orientation))
    assert decode(stored).pixel_hash == decode(zoo.encoded(zoo.corners(), "TIFF")).pixel_hash


def test_a_picture_whose_colours_mean_others_has_another_pixel_hash() -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    swapped = decode(zoo.encoded(red, "PNG", icc_profile=zoo.swapped_profile()))
    plain = decode(zoo.encoded(red, "PNG"))
    assert swapped.pixel_hash != plain.pixel_hash
    assert (swapped.colour, plain.colour) == ("icc", "assumed_srgb")


# How much is decoded


def test_a_24_megapixel_jpeg_is_decoded_at_a_reduced_scale_not_below_the_proxy() -> None:
    decoded = decode(zoo.encoded(zoo.picture(6000, 4000), "JPEG", quality=60))
    assert (decoded.source_width_px, decoded.source_height_px) == (6000, 4000)
    assert (decoded.decoded_width_px, decoded.decoded_height_px) == (1500, 1000)
    assert decoded.image.size == (1024, 683)


def test_a_scaled_decode_shows_what_a_whole_one_shows() -> None:
    picture = zoo.corners(4001, 2999)
    scaled = decode(zoo.encoded(picture, "JPEG", quality=95), Limits(proxy_max_side_px=400)).image
    whole = picture.resize(scaled.size, Image.Resampling.LANCZOS)
    difference = np.abs(np.asarray(scaled, dtype=int) - np.asarray(whole, dtype=int))
    assert difference.mean() < 1.0


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1024, 1024), (6000, 1), (1, 6000), (65_000, 9)])
def test_proxies_keep_the_proportions_are_never_enlarged_and_never_empty(size: tuple[int, int]) -> None:
    decoded = decode(zoo.encoded(Image.new("RGB", size), "JPEG"))
    scale = min(1, 1024 / max(size))
    assert decoded.image.size == tuple(max(1, round(side * scale)) for side in size)


@pytest.mark.slow
def test_a_20000_pixel_square_is_accepted_as_jpeg_and_refused_as_png() -> None:
    square = Image.new("L", (20_000, 20_000), 128)
    decoded = decode(zoo.encoded(square, "JPEG"))
    assert (decoded.source_width_px, decoded.decoded_width_px, decoded.image.width) == (20_000, 2500, 1024)
    with pytest.raises(Reject, match=r"20000 x 20000 pixels.*400 megapixels.*limit is 250.*max_megapixels"):
        decode(zoo.encoded(square.convert("1"), "PNG"))


def test_jpegs_that_are_held_whole_count_whole() -> None:
    limits = Limits(max_megapixels=0.5, proxy_max_side_px=500)
    picture = zoo.picture(2000, 1000)
    assert decode(zoo.encoded(picture, "JPEG"), limits).decoded_width_px == 500
    several_scans = zoo.encoded(picture, "JPEG").replace(zoo.SCAN_OF_ALL, zoo.SCAN_OF_ONE)
    for held_whole in (zoo.encoded(picture, "JPEG", progressive=True), several_scans):
        with pytest.raises(Reject, match=r"too_large.*2000 x 1000"):
            decode(held_whole, limits)


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_megapixels is 0"):
        Limits(max_megapixels=0)


def test_threads_never_hold_more_pixels_than_the_budget() -> None:
    budget, held, most = PixelBudget(10), [0], [0]
    lock = threading.Lock()

    def hold(pixels: int) -> None:
        for _ in range(200):
            with budget.hold(pixels):
                with lock:
                    held[0] += min(pixels, 10)
                    most[0] = max(most[0], held[0])
                with lock:
                    held[0] -= min(pixels, 10)

    threads = [threading.Thread(target=hold, args=(pixels,)) for pixels in (3, 4, 6, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most[0] <= 10


# What is not done twice


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The paths that Python opens for reading meanwhile, as its own audit events tell."""
    paths: list[str] = []
    AUDITED.append(paths)
    try:
        yield paths
    finally:
        AUDITED.remove(paths)


AUDITED: list[list[str]] = []


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and AUDITED:
        for paths in AUDITED:
            paths.append(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "")


sys.addaudithook(_note_opened)


def test_an_unchanged_folder_is_not_opened_again(library: Path, home: Path) -> None:
    zoo.write(library, {f"{i}.png": zoo.encoded(zoo.picture(seed=i), "PNG") for i in range(5)})
    zoo.write(library, {"bad.jpg": b"no image"})
    with opened_files() as opened:
        first = ingest(library, home)
        assert sum(Path(path).parent == library for path in opened) == 6
    with opened_files() as opened:
        second = ingest(library, home, first)
        assert [path for path in opened if Path(path).parent == library] == []
    assert (first.decoded, first.kept, second.decoded, second.kept) == (5, 0, 0, 5)
    assert (second.images, second.rejects, second.proxies) == (first.images, first.rejects, first.proxies)


def test_only_what_is_new_changed_or_without_a_proxy_is_decoded(library: Path, home: Path) -> None:
    zoo.write(library, {f"{i}.png": zoo.encoded(zoo.picture(seed=i), "PNG") for i in range(6)})
    first = ingest(library, home)
    by_path = {row["path"]: row["id"] for row in first.images.to_pylist()}
    zoo.write(library, {"1.png": zoo.encoded(zoo.picture(seed=11), "PNG")})
    zoo.write(library, {"new.png": zoo.encoded(zoo.picture(seed=12), "PNG")})
    (library / "2.png").unlink()
    next((home / "proxies").glob(f"*/{by_path['3.png']}-*")).unlink()
    second = ingest(library, home, first)
    assert (second.decoded, second.kept) == (3, 3)
    paths = second.images["path"].to_pylist()
    assert paths == ["0.png", "1.png", "3.png", "4.png", "5.png", "new.png"]
    assert all((home / path).is_file() for path in second.proxies["path"].to_pylist())


def test_a_renamed_or_touched_file_keeps_what_was_decoded(library: Path, home: Path) -> None:
    zoo.write(
        library,
        {"a.png": zoo.encoded(zoo.picture(seed=1), "PNG"), "b.png": zoo.encoded(zoo.picture(), "PNG")},
    )
    first = ingest(library, home)
    (library / "a.png").rename(library / "c.png")
    os.utime(library / "b.png", (1, 1))
    second = ingest(library, home, first)
    assert (second.decoded, second.kept) == (0, 2)
    assert second.images["path"].to_pylist() == ["b.png", "c.png"]
    assert second.images["modified_at"][0].as_py().year == 1970


def test_one_content_under_several_names_is_one_row_and_one_decode(library: Path, home: Path) -> None:
    content = zoo.encoded(zoo.picture(), "PNG")
    zoo.write(library, dict.fromkeys(("b.png", "a.png", "c.jpg"), content))
    (library / "d.png").symlink_to("a.png")
    first = ingest(library, home, workers=4)
    (row,) = first.images.to_pylist()
    assert (row["path"], row["also_at"]) == ("a.png", ["b.png", "c.jpg", "d.png"])
    assert (first.decoded, ingest(library, home, first).decoded) == (1, 0)
    (library / "d.png").unlink()
    (library / "a.png").unlink()
    second = ingest(library, home, first)
    assert (second.decoded, second.images["path"].to_pylist()) == (0, ["b.png"])


def test_a_broken_content_is_rejected_under_each_of_its_names(library: Path, home: Path) -> None:
    content = zoo.unusable()["half.jpg"][0]
    zoo.write(library, {"a.jpg": content, "b.jpg": content})
    assert rejected_codes(ingest(library, home)) == {"a.jpg": "truncated", "b.jpg": "truncated"}


def test_another_proxy_size_decodes_again_but_another_limit_only_retries_rejects(
    library: Path, home: Path
) -> None:
    small, large = (
        zoo.encoded(zoo.picture(100, 100), "PNG"),
        zoo.encoded(zoo.picture(2000, 2000, seed=1), "PNG"),
    )
    zoo.write(library, {"small.png": small, "large.png": large})
    first = ingest(library, home, limits=Limits(max_megapixels=1))
    assert rejected_codes(first) == {"large.png": "too_large"}
    second = ingest(library, home, first, limits=Limits(max_megapixels=5))
    assert (second.decoded, second.kept, second.rejects.num_rows) == (1, 1, 0)
    third = ingest(library, home, second, limits=Limits(max_megapixels=5, proxy_max_side_px=64))
    assert (third.decoded, third.kept) == (2, 0)
    assert third.proxies["width"].to_pylist() == [64, 64]


def test_a_proxy_that_comes_out_as_under_an_earlier_version_keeps_its_fingerprint(
    library: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no model is asked again about a picture that looks as it did."""
    zoo.write(library, {f"{i}.png": zoo.encoded(zoo.picture(seed=i), "PNG") for i in range(3)})
    with monkeypatch.context() as earlier:
        earlier.setattr(reading, "VERSION", 1)
        first = ingest(library, home)
    (home / first.proxies["path"][1].as_py()).write_bytes(b"what an earlier version made of it")
    second = ingest(library, home, first)
    assert (second.decoded, second.kept) == (3, 0)
    assert set(second.images["fingerprint"].to_pylist()) == {reading.ingest_fingerprint(LIMITS)}
    assert second.proxies["id"] == first.proxies["id"]
    kept = [a == b for a, b in zip(first.proxies.to_pylist(), second.proxies.to_pylist(), strict=True)]
    assert kept == [True, False, True]
    assert ingest(library, home, second).decoded == 0


def test_a_repaired_file_is_tried_again(library: Path, home: Path) -> None:
    whole = zoo.encoded(zoo.picture(), "JPEG")
    zoo.write(library, {"a.jpg": whole[:-200]})
    first = ingest(library, home)
    assert rejected_codes(first) == {"a.jpg": "truncated"}
    zoo.write(library, {"a.jpg": whole})
    second = ingest(library, home, first)
    assert (second.decoded, second.rejects.num_rows) == (1, 0)


def test_results_do_not_depend_on_the_number_of_threads(library: Path, tmp_path: Path) -> None:
    zoo.write(library, {name: content for name, (content, _, _) in zoo.usable().items()})
    alone, together = (ingest(library, tmp_path / str(n), workers=n) for n in (1, 8))
    assert (alone.images, alone.proxies) == (together.images, together.proxies)


def test_progress_counts_every_file_once(library: Path, home: Path) -> None:
    zoo.write(library, {f"{i}.png": zoo.encoded(zoo.picture(seed=i), "PNG") for i in range(4)})
    calls: list[tuple[int, int]] = []
    first = ingest(library, home, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    ingest(library, home, first, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[5:] == [(4, 4)]


def test_an_empty_folder_gives_empty_tables(library: Path, home: Path) -> None:
    result = ingest(library, home)
    assert (result.images.num_rows, result.rejects.num_rows, result.proxies.num_rows) == (0, 0, 0)
    assert isinstance(result.images, pa.Table)


# What goes wrong outside the file


AS_NOBODY = """
import os, sys
from pathlib import Path
from resources.images import *
os.chdir(sys.argv[1])
decode_isolated(open("open.png", "rb"), Limits())  # started while it may: nobody may run root's Python
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
here = Path(".")
for folder in find_folders(here):
    result = ingest_folder(here / folder, here, Path(".home"), Limits(), None, None, None)
    for path in result.images["path"].to_pylist():
        print(path, "image", "", sep="|")
    for row in result.rejects.select(["path", "code", "reason"]).to_pylist():
        print(*row.values(), sep="|")
"""


def test_what_may_not_be_read_is_rejected_and_the_rest_is_ingested(library: Path) -> None:
    """In a process of its own that gives up its rights first: to the superuser nothing is unreadable."""
    good = zoo.encoded(zoo.picture(), "PNG")
    zoo.write(library, {"closed.png": good, "open.png": good})
    zoo.write(library / "closed", {"a.png": good})
    (library / ".home").mkdir()
    (library / ".home").chmod(0o777)
    library.chmod(0o755)
    (library / "closed.png").chmod(0)
    (library / "closed").chmod(0)
    command = [sys.executable, "-c", AS_NOBODY, str(library)]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        (library / "closed").chmod(0o755)
    assert ran.returncode == 0, ran.stderr
    assert [line.split("|")[:2] for line in ran.stdout.splitlines()] == [
        ["open.png", "image"],
        ["closed.png", "unreadable"],
        ["closed", "unreadable"],
    ]
    assert ran.stdout.count("permission denied") == 2


def test_an_unreadable_file_is_tried_again_though_it_has_not_changed(library: Path, home: Path) -> None:
    zoo.write(library, {"a.png": zoo.encoded(zoo.picture(), "PNG")})
    (found,) = scan_folder(library, library)
    assert isinstance(found, Found)
    refused = pa.Table.from_pylist(
        [
            {
                "path": "a.png",
                "bytes": found.bytes,
                "modified_at": found.changed_us,
                "code": "unreadable",
                "reason": "",
                "fingerprint": rejects_fingerprint(LIMITS),
            }
        ],
        schema=REJECTS.schema,
    )
    assert ingest_folder(library, library, home, LIMITS, None, refused, None).decoded == 1


@pytest.mark.parametrize("size_bytes", [2 * 2**20, 65 * 2**20])  # read once into memory, and read twice
def test_no_more_of_a_file_is_read_than_it_had(
    library: Path, home: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    """It becomes a terabyte of nothing (a sparse file) just after it was looked at: reading that takes hours."""
    content = zoo.encoded(zoo.picture(), "PNG")
    growing = library / "growing.png"
    growing.write_bytes(content)
    os.truncate(growing, size_bytes)
    looked_at = reading._status_at_rest

    def grown_after(file: BufferedReader) -> os.stat_result:
        status = looked_at(file)
        os.truncate(growing, 2**40)
        return status

    monkeypatch.setattr(reading, "_status_at_rest", grown_after)
    result = ingest(library, home)
    assert rejected_codes(result) == {"growing.png": "changed_while_reading"}
    os.truncate(growing, size_bytes)
    monkeypatch.undo()
    assert ingest(library, home, result).decoded == 1


def test_a_file_that_grows_while_it_is_read_is_left_for_the_next_run(library: Path, home: Path) -> None:
    growing = library / "growing.jpg"
    growing.write_bytes(zoo.encoded(zoo.picture(), "JPEG") + bytes(32 * 2**20))
    done = threading.Event()

    def grow() -> None:
        with growing.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        result = ingest(library, home)
    finally:
        done.set()
        writer.join()
    assert rejected_codes(result) == {"growing.jpg": "changed_while_reading"}
    again = ingest(library, home, result)
    assert (again.decoded, again.rejects.num_rows) == (1, 0)


def test_files_too_large_for_memory_are_decoded_from_disk(library: Path, home: Path) -> None:
    zoo.picture(5000, 5000).save(library / "large.bmp")
    assert (library / "large.bmp").stat().st_size > IN_MEMORY_BYTES
    first = ingest(library, home)
    assert first.images["width"].to_pylist() == [5000]
    refused = ingest(library, home, limits=Limits(max_file_mib=10))
    assert rejected_codes(refused) == {"large.bmp": "too_large"}
    assert "max_file_mib" in refused.rejects["reason"][0].as_py()


def test_a_home_that_cannot_be_written_to_fails_the_run(library: Path, tmp_path: Path) -> None:
    zoo.write(library, {"a.png": zoo.encoded(zoo.picture(), "PNG")})
    (tmp_path / "home").write_text("a file where the home should be")
    with pytest.raises(OSError, match="home"):
        ingest(library, tmp_path / "home")


SLOW_INGEST = """
import sys
from pathlib import Path
from resources.images import *
library, home = Path(sys.argv[1]), Path(sys.argv[2])
ingest_folder(library, library, home, Limits(), None, None, None, lambda done, total: print(done, flush=True))
"""


def test_a_killed_ingest_leaves_only_whole_proxies_and_the_next_one_completes(
    library: Path, home: Path
) -> None:
    zoo.write(library, {f"{i}.jpg": zoo.encoded(zoo.picture(900, 700, i), "JPEG") for i in range(40)})
    for files_done in (1, 5, 15):
        command = [sys.executable, "-c", SLOW_INGEST, str(library), str(home)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < files_done:
                pass
            process.send_signal(signal.SIGKILL)
        proxies = list((home / "proxies").glob("*/[!.]*"))
        assert 0 < len(proxies) < 40
        for proxy in proxies:
            assert open_proxy(home, str(proxy.relative_to(home))).size == (900, 700)
    complete = ingest(library, home)
    assert complete.decoded == 40
    prune_proxies(home, complete.proxies["path"].to_pylist(), grace_s=0)
    assert sum(1 for _ in (home / "proxies").glob("*/*")) == 40


# The proxy store, the hash and the fingerprint


def test_pruning_removes_what_no_table_names_once_it_is_old_enough(library: Path, home: Path) -> None:
    zoo.write(library, {f"{i}.png": zoo.encoded(zoo.picture(seed=i), "PNG") for i in range(3)})
    paths = ingest(library, home).proxies["path"].to_pylist()
    (home / paths[0]).with_name(".left-over.tmp").write_bytes(b"half a picture")
    assert prune_proxies(home, paths[:2]) == 0
    assert prune_proxies(home, paths[:2], grace_s=0) == 2
    assert sorted(str(file.relative_to(home)) for file in (home / "proxies").glob("*/*")) == sorted(paths[:2])


def test_a_lost_proxy_is_an_error_that_says_how_to_get_it_back(home: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"materialise images and proxies.*gone\.jpg"):
        open_proxy(home, "proxies/go/gone.jpg")


def test_perceptual_hashes_are_near_for_copies_and_far_for_others() -> None:
    hashes = [perceptual_hash(zoo.picture(600, 400, seed)) for seed in range(12)]
    for seed, of_original in enumerate(hashes):
        original = zoo.picture(600, 400, seed)
        small = original.resize((150, 100), Image.Resampling.BICUBIC)
        poor = Image.open(io.BytesIO(zoo.encoded(original, "JPEG", quality=20)))
        for copy in (small, poor):
            assert (perceptual_hash(copy) ^ of_original).bit_count() <= 6
        for other in hashes[:seed]:
            assert (other ^ of_original).bit_count() > 16


def test_pictures_of_one_colour_hash_alike() -> None:
    assert {perceptual_hash(Image.new("RGB", (50, 40), colour)) for colour in ("black", "grey", "red")} == {0}


def test_fingerprints_depend_on_values_and_not_on_order() -> None:
    assert fingerprint(a=1, b=[2, "x"]) == fingerprint(b=[2, "x"], a=1)
    assert len({fingerprint(a=1), fingerprint(a="1"), fingerprint(a=2), fingerprint(b=1)}) == 4
    assert len(fingerprint(a=1)) == 16
    with pytest.raises(TypeError):
        fingerprint(a=object())
