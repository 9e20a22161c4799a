"""Which files of a library are its pictures: by content, without what systems and programs keep, and nothing in silence."""

from collections import Counter
from pathlib import Path

import image_zoo as zoo
import pytest

from resources.images import (
    Ingested,
    Limits,
    find_folders,
    ingest_folder,
    scan_folder,
    survey_library,
)
from resources.images.ignore import BUILT_IN, Ignore

JPEG = zoo.encoded(zoo.picture(), "JPEG")
PNG = zoo.encoded(zoo.picture(seed=1), "PNG")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    return folder


def ingest(folder: Path, known: Ingested | None = None) -> Ingested:
    before = (known.images, known.rejects, known.proxies) if known else ()
    return ingest_folder(folder, folder, folder.parent / "home", Limits(), *before)


def paths(result: Ingested) -> list[str]:
    return result.images["path"].to_pylist()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "#snapshot",
            "#Snapshot",
            "@Recycle",
            "@recycle",
            "@Recently-Snapshot",
            "$RECYCLE.BIN",
            "$Recycle.Bin",
        ),
        *("@eaDir", "@EADIR", ".Trashes", ".thumbnails", ".dtrash", "System Volume Information", "__MACOSX"),
        *("Catalog Previews.lrdata", "Catalog Smart Previews.LRDATA", "shoot/CaptureOne/Cache"),
        *("Photos Library.photoslibrary/resources", "Photos Library.photoslibrary/resources/derivatives/0"),
        *(
            "Aperture.aplibrary/Thumbnails",
            "iPhoto Library.photolibrary/Previews",
            "x/CaptureOne/Settings153",
        ),
    ],
)
def test_folders_that_systems_and_programs_keep_are_passed_over(library: Path, name: str) -> None:
    for above in ("", "deep/er"):
        zoo.write(library / above / name, {"a.jpg": JPEG})
    zoo.write(library / "kept", {"a.jpg": JPEG})
    assert [str(folder) for folder in find_folders(library)] == ["kept"]
    assert scan_folder(library / name, library) == []


@pytest.mark.parametrize(
    "name",
    [
        *("Photos Library.photoslibrary/originals/0", "old.photoslibrary/Masters/2011", "Previews", "thumbs"),
        *("snapshot", "recycle", "cache", "Capture One", "resources"),
    ],
)
def test_folders_of_people_are_not(library: Path, name: str) -> None:
    zoo.write(library / name, {"a.jpg": JPEG})
    assert [str(folder) for folder in find_folders(library)] == [name]


def test_built_in_patterns_are_in_lower_case() -> None:
    assert [pattern for pattern in BUILT_IN if pattern != pattern.lower()] == []


def test_a_vistagignore_in_any_folder_says_what_is_passed_over(library: Path) -> None:
    for folder in (".", "exports", "a/exports", "a/b", "a/b/drafts", "b/drafts"):
        zoo.write(library / folder, {"one.jpg": JPEG, "two_edit.jpg": JPEG})
    (library / ".vistagignore").write_text("# ours\n/exports/\n*_edit.jpg\n")
    (library / "a" / ".vistagignore").write_text("drafts/\n!two_edit.jpg\n")
    found = {
        str(folder): [Path(entry.path).name for entry in scan_folder(library / folder, library)]
        for folder in find_folders(library)
    }
    both = ["one.jpg", "two_edit.jpg"]
    assert found == {".": ["one.jpg"], "a/b": both, "a/exports": both, "b/drafts": ["one.jpg"]}


def test_excluded_patterns_are_passed_over_and_an_ignore_file_may_take_a_folder_back(library: Path) -> None:
    for folder in ("keep", "out", "@eaDir"):
        zoo.write(library / folder, {"a.jpg": JPEG, "b.tif": JPEG})
    assert [str(f) for f in find_folders(library, exclude=["out/", "*.tif"])] == ["keep"]
    assert [entry.path for entry in scan_folder(library / "keep", library, ["*.tif"])] == ["keep/a.jpg"]
    (library / ".vistagignore").write_text("!@eaDir/\n")
    assert [str(f) for f in find_folders(library, exclude=["out/"])] == ["@eaDir", "keep"]


def test_what_is_excluded_later_goes(library: Path) -> None:
    zoo.write(library, {"a.jpg": JPEG, "b.png": PNG})
    first = ingest(library)
    (library / ".vistagignore").write_text("*.png")
    assert paths(ingest(library, first)) == ["a.jpg"]


def test_a_pattern_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="--exclude"):
        Ignore(Path(), ["!"])


@pytest.mark.parametrize(
    "name",
    [
        "no suffix",
        "photo.jpg?w=800",
        "IMG_1.jpg.1",
        "a.nef",
        "a.cr2",
        "x.image",
        "2021.03.04",
        "a.txt2",
        "a.tga",
    ],
)
def test_the_content_decides_and_not_the_name(library: Path, name: str) -> None:
    zoo.write(library, {name: JPEG, "other": PNG})
    result = ingest(library)
    assert sorted(paths(result)) == sorted([name, "other"])
    assert result.images["format"].to_pylist() in (["JPEG", "PNG"], ["PNG", "JPEG"])
    assert find_folders(library)


@pytest.mark.parametrize(
    "content",
    [content for name, (content, format_, _) in zoo.usable().items() if format_ not in ("BMP", "PPM")],
)
def test_formats_are_known_by_their_first_bytes(library: Path, content: bytes) -> None:
    zoo.write(library, {"no suffix": content})
    assert [entry.path for entry in scan_folder(library, library)] == ["no suffix"]


def test_what_is_no_picture_is_passed_over_and_counted(library: Path) -> None:
    others = ["a.xmp", "b.XMP", "c.txt", "Thumbs.db", "film.mp4", "README", "a.jpg.part", "~$a.jpg", "a.jpg~"]
    zoo.write(library, {**dict.fromkeys(others, b"text"), "a.jpg": JPEG, ".hidden": b"x"})
    zoo.write(library / "only texts", {"d.txt": JPEG})
    zoo.write(library / "@eaDir", {"e.jpg": JPEG})
    survey = survey_library(library)
    assert [str(folder) for folder in survey.folders] == ["."]
    assert survey.passed_over == Counter(
        {".xmp": 2, ".txt": 2, ".db": 1, ".mp4": 1, "": 1, ".part": 1, ".jpg": 1, ".jpg~": 1}
    )
    assert survey.ignored == Counter({"@eaDir": 1})


@pytest.mark.parametrize(
    ("name", "code"), [("a.xcf", "unsupported"), ("a.nef", "unsupported"), ("a.jpg", "not_an_image")]
)
def test_what_nobody_reads_is_told_by_its_name(library: Path, name: str, code: str) -> None:
    zoo.write(library, {name: b"some bytes that are no picture"})
    result = ingest(library)
    assert result.rejects["code"].to_pylist() == [code]
    again = ingest(library, result)
    assert again.rejects == result.rejects


def test_a_raw_beside_its_jpeg_and_a_film_beside_its_photograph_are_one_picture(library: Path) -> None:
    raw, heic = b"II*\0\x10\0\0\0CR\x02\0" + bytes(1000), zoo.encoded(zoo.picture(seed=2), "HEIF")
    zoo.write(library, {"IMG_1.JPG": JPEG, "img_1.cr2": raw, "IMG_2.HEIC": heic, "IMG_2.MOV": b"film"})
    zoo.write(library, {"alone.mov": b"film", "c.tif": PNG})
    first = ingest(library)
    assert {row["path"]: row["also_at"] for row in first.images.to_pylist()} == {
        "IMG_1.JPG": ["img_1.cr2"],
        "IMG_2.HEIC": ["IMG_2.MOV"],
        "c.tif": [],
    }
    assert first.rejects.num_rows == 0
    assert ingest(library, first).images == first.images


def test_a_raw_is_read_where_its_jpeg_is_not_usable_or_gone(library: Path) -> None:
    zoo.write(library, {"a.jpg": JPEG[: len(JPEG) // 2], "a.nef": PNG})
    first = ingest(library)
    assert (paths(first), first.rejects["path"].to_pylist()) == (["a.nef"], ["a.jpg"])
    zoo.write(library, {"a.jpg": JPEG})
    second = ingest(library, first)
    assert second.images.select(["path", "also_at"]).to_pylist() == [{"path": "a.jpg", "also_at": ["a.nef"]}]
    (library / "a.jpg").unlink()
    assert paths(ingest(library, second)) == ["a.nef"]
