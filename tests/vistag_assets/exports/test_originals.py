"""Into the pictures' own files: what exiftool reads afterwards, that pixels and people's words stay, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pillow_heif
import pyarrow as pa
import pytest
from described_files import by_mwg, describe, needs_exiftool, picture
from exporting import content, exiftool
from hand_made_lake import FOLDER, IDS, make_home
from PIL import Image
from small_disk import mounted, remount
from small_library import tag, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home import Home
from resources.images.metadata import read_embedded
from resources.workspace import open_workspace
from vistag_assets.cli import app
from vistag_assets.exports.exiftool import Exiftool, ExiftoolUnavailable
from vistag_assets.exports.formats import ORIGINALS
from vistag_assets.exports.job import ExportError, Job, Outcome
from vistag_assets.exports.records import Selection

pytestmark = needs_exiftool
pillow_heif.register_heif_opener()


def library_of(home: Home, *names: str) -> Path:
    """The hand-made home, its three pictures now files of these names in the library."""
    library = home.root / "library"
    rows = home.lake.read("images", FOLDER).to_pylist()
    paths = [name if "/" in name else f"a/{name}" for name in names]
    images = []
    for row, path in zip(rows, paths, strict=True):
        if not (library / path).exists():
            picture(library / path, seed=len(images))
        images.append(row | {"path": path, "also_at": []})
    home.lake.write("images", pa.Table.from_pylist(images), FOLDER)
    return library


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def write(
    home: Home, selection: Selection | None = None, *, dry_run: bool = False, **options: Any
) -> Outcome:
    workspace = open_workspace(home)
    format_options = ORIGINALS.options(**options)
    library = home.root / "library"
    job = Job(workspace, ORIGINALS, library, selection=selection, options=format_options, dry_run=dry_run)
    return job.run()


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def forget_the_last(home: Home) -> None:
    for memory in (home.root / "exports").rglob("*.json"):
        memory.unlink()


FORMATS = [
    ("1.jpg", "2.tif", "3.png"),
    pytest.param(("1.webp", "2.heic", "3.dng"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("names", FORMATS)
def test_each_format_carries_it_and_shows_the_same_pixels(home: Home, names: Sequence[str]) -> None:
    library = library_of(home, *names)
    files = [library / "a" / name for name in names]
    before, bytes_before = [pixels(file) for file in files], content(library)
    outcome = write(home)
    assert outcome.failed == []
    assert outcome.written == [f"a/{name}" for name in names[:3]]
    assert [pixels(file) for file in files] == before
    first, second, _ = exiftool(*files)
    assert set(first["XMP-dc:Subject"]) == {"bowl", "vase", "spotlight"}
    assert first["XMP-dc:Title"] == "A bowl"
    assert second["XMP-dc:Subject"] == ["vase"]
    assert content(home.root / "backups/lib") == bytes_before
    assert not list(library.rglob(".*"))
    for file in files:
        with file.open("rb") as opened:
            assert read_embedded(opened).keywords == ()  # none of it is a person's

    bytes_after = content(library)
    assert write(home).written == []
    forget_the_last(home)
    again = write(home)
    assert again.failed == []
    assert (again.written, again.unchanged) == ([], 3)
    assert content(library) == bytes_after
    write(home, Selection(states=frozenset(["human"])))
    first, second, _ = exiftool(*files)
    assert first["XMP-dc:Subject"] == ["bowl"]
    assert "XMP-dc:Subject" not in second


THEIRS = (
    *(
        "-IPTC:Keywords=Family",
        "-IPTC:Keywords=BOWL",
        "-IPTC:Caption-Abstract=Their caption",
        "-IPTC:Keywords=1.50",
    ),
    "-EXIF:ImageDescription=Their caption",
)


def test_iim_says_the_same_where_there_is_iim_and_people_s_words_stay(home: Home) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    describe(library / "a/1.jpg", *THEIRS)
    describe(library / "a/2.jpg", "-XMP-dc:Subject=Theirs", "-XMP-xmp:Rating=3", "-XMP-crs:Version=15.0")
    assert write(home).failed == []
    first, second = exiftool(*(library / f"a/{n}.jpg" for n in "12"))
    assert first["IPTC:Keywords"] == ["Family", "BOWL", 1.5, "vase", "spotlight"]
    assert first["XMP-dc:Subject"] == ["Family", "BOWL", 1.5, "vase", "spotlight"]
    assert first["IPTC:Caption-Abstract"] == first["XMP-dc:Description"] == "Their caption"
    assert first["IPTC:ObjectName"] == first["XMP-dc:Title"] == "A bowl"
    assert first["Photoshop:IPTCDigest"] == first["File:CurrentIPTCDigest"]
    assert "IPTC:Keywords" not in second  # it had none
    assert second["XMP-dc:Subject"] == ["Theirs", "vase"]
    assert (second["XMP-xmp:Rating"], second["XMP-crs:Version"]) == (3, 15.0)
    assert by_mwg(library / "a/1.jpg")[0]["Description"] == "Their caption"
    with (library / "a/1.jpg").open("rb") as file:
        said = read_embedded(file)
    assert (said.keywords, said.description, said.title) == (
        ("Family", "BOWL", "1.50"),
        "Their caption",
        None,
    )

    write(home, Selection(states=frozenset(["human"]), min_probability=1.0))
    first, second = exiftool(*(library / f"a/{n}.jpg" for n in "12"))
    assert first["IPTC:Keywords"] == first["XMP-dc:Subject"] == ["Family", "BOWL", 1.5]
    assert second["XMP-dc:Subject"] == "Theirs" or second["XMP-dc:Subject"] == ["Theirs"]
    forget_the_last(home)
    assert write(home, Selection(states=frozenset(["human"]), min_probability=1.0)).written == []


def test_iim_that_was_changed_since_stays_the_newer_one(home: Home) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    file = library / "a/1.jpg"
    describe(file, "-XMP-dc:Subject=old", "-IPTC:Keywords=old", "-IPTCDigest=new")
    describe(file, "-IPTC:Keywords=new", "-IPTC:Keywords-=old")
    assert write(home).failed == []
    assert {"new", "vase"} <= set(
        by_mwg(file)[0]["Keywords"]
    )  # of IIM: its digest says that it is the newer one
    with file.open("rb") as opened:
        assert "new" in read_embedded(opened).keywords


def test_iim_in_latin_letters_takes_others(home: Home) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    describe(library / "a/1.jpg", "-charset", "iptc=Latin", "-IPTC:Keywords=Schloß")
    rows = home.lake.read("descriptions", FOLDER).to_pylist()
    titled = [row | {"title": "鷺 – heron"} if row["id"] == IDS[0] else row for row in rows]
    stored = home.lake.read("descriptions", FOLDER)
    home.lake.write("descriptions", pa.Table.from_pylist(titled, stored.schema), FOLDER)
    assert write(home).failed == []
    [read] = exiftool(library / "a/1.jpg")
    assert read["IPTC:Keywords"][0] == "Schloß"
    assert read["IPTC:ObjectName"] == "鷺 – heron"


HOSTILE_NAMES = (
    "a/-execute.jpg",
    "a/@args\n-all=\n.jpg",
    "a/$(touch x) | echo; %f {ready}.jpg",
)


def test_names_never_become_arguments(home: Home) -> None:
    library = library_of(home, *HOSTILE_NAMES)
    outcome = write(home)
    assert outcome.failed == []
    assert sorted(outcome.written) == sorted(HOSTILE_NAMES)
    assert sorted(path.name for path in (library / "a").iterdir()) == sorted(
        Path(name).name for name in HOSTILE_NAMES
    )
    with (library / HOSTILE_NAMES[1]).open("rb") as file:
        assert b"vase" in file.read()


def test_what_is_no_plain_file_of_its_name_is_left_alone(home: Home, tmp_path: Path) -> None:
    library = home.root / "library"
    picture(tmp_path / "elsewhere.jpg")
    (library / "a").mkdir(parents=True)
    (library / "a/1.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    picture(library / "a/2.jpg")
    os.link(library / "a/2.jpg", tmp_path / "second name.jpg")
    picture(tmp_path / "a.png").rename(library / "a/3.jpg")
    library_of(home, "1.jpg", "2.jpg", "3.jpg")
    before = content(library)
    outcome = write(home)
    assert outcome.written == []
    reasons = " ".join(reason for _, reason in outcome.failed)
    for said in ("is a link", "hard links", "holds PNG"):
        assert said in reasons
    assert content(library) == before


def test_another_picture_than_the_lake_knows_is_left_alone(home: Home) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    rows = home.lake.read("images", FOLDER).to_pylist()
    for row in rows:
        row["pixel_hash"] = "0" * 32
    home.lake.write("images", pa.Table.from_pylist(rows), FOLDER)
    before = content(library)
    outcome = write(home)
    assert len(outcome.failed) == 3
    assert "another picture than at the last run" in outcome.failed[0][1]
    assert content(library) == before


def test_a_dry_run_changes_nothing(home: Home) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    before = content(library)
    assert write(home, dry_run=True).written == ["a/1.jpg", "a/2.jpg", "a/3.jpg"]
    assert content(library) == before
    assert not (home.root / "backups").exists()


def test_malformed_xmp_is_kept_and_told(home: Home) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    packet = library.parent / "broken.xmp"
    packet.write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'><no end")
    describe(library / "a/1.jpg", f"-XMP<={packet}")
    before = content(library)["a/1.jpg"]
    outcome = write(home)
    assert [name for name, _ in outcome.failed] == ["a/1.jpg"]
    assert outcome.written == ["a/2.jpg", "a/3.jpg"]
    assert content(library)["a/1.jpg"] == before


def test_without_exiftool_a_sentence_says_so(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExiftoolUnavailable, match="apt install libimage-exiftool-perl"):
        Exiftool(tmp_path)
    old = tmp_path / "exiftool"
    python = sys.executable
    old.write_text(
        f"#!{python}\nimport sys\nsys.stderr.write('{{ready}}\\n'); sys.stderr.flush()\n"
        "print('11.88', flush=True); print('{ready}', flush=True); sys.stdin.read()\n"
    )
    old.chmod(0o755)
    with pytest.raises(ExiftoolUnavailable, match=r"11\.88"):
        Exiftool(tmp_path)


def test_a_read_only_library_is_refused_before_anything_is_done(home: Home, tmp_path: Path) -> None:
    with mounted(home.root / "library") as library:
        library_of(home, "1.jpg", "2.jpg", "3.jpg")
        if not remount(library, "ro"):
            pytest.skip("this user may not make a disk read-only")
        before = content(library)
        with pytest.raises(ExportError, match="is read-only"):
            write(home)
        assert content(library) == before


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.2, 0.6, 1.0])
def test_a_kill_leaves_every_file_whole_and_the_next_export_goes_on(home: Home, after_s: float) -> None:
    library = library_of(home, "1.jpg", "2.jpg", "3.jpg")
    before = {name: pixels(library / name) for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg")}
    command = [
        sys.executable,
        "-c",
        "from vistag_assets.cli import app; app()",
        "export",
        "xmp",
        "--write-originals",
    ]
    process = subprocess.Popen(
        [*command, "--home", str(home.root)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not (home.root / ".originals").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for name, shown in before.items():
        assert pixels(library / name) == shown
    assert write(home).failed == []
    assert sorted(path.name for path in (library / "a").iterdir()) == ["1.jpg", "2.jpg", "3.jpg"]
    assert exiftool(library / "a/2.jpg")[0]["XMP-dc:Subject"] == ["vase"]


@pytest.mark.slow
def test_the_next_run_takes_the_changed_file_for_the_same_picture(tmp_path: Path) -> None:
    """Decisions hold, no model is asked, and vistag's own keywords are not read back as people's."""
    home, library = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny")), tmp_path / "library"
    tag(home, library)
    said = CliRunner().invoke(
        app, ["decide", str(library / "a/0.png"), "bronze", "accept", "--home", str(home.root)]
    )
    assert said.exit_code == 0, said.output
    before = image_id(home, "a/0.png")
    told = CliRunner().invoke(
        app, ["export", "xmp", "--write-originals", "--min-probability", "0", "--home", str(home.root)]
    )
    assert told.exit_code == 0, told.output
    assert "files written" in told.output
    assert "bronze" in exiftool(library / "a/0.png")[0]["XMP-dc:Subject"]
    outcome = tag(home, library)
    assert outcome.embedded == 0
    assert image_id(home, "a/0.png") != before  # other bytes
    tags = home.lake.read("tags", outcome.folders[0].folder.key).to_pylist()
    assert [row["concept_id"] for row in tags if row["state"] == "human"] == ["bronze"]
    rows = home.lake.read("images", outcome.folders[0].folder.key).to_pylist()
    assert [row["keywords"] for row in rows] == [[]] * 5


def image_id(home: Home, path: str) -> str:
    rows = (row for key in home.lake.folders("images") for row in home.lake.read("images", key).to_pylist())
    return next(str(row["id"]) for row in rows if row["path"] == path)


@pytest.mark.extras
def test_exiv2_reads_the_same(home: Home) -> None:
    exiv2 = pytest.importorskip("pyexiv2", reason="pyexiv2 is not installed")
    library = library_of(home, "1.jpg", "2.png", "3.tif")
    describe(library / "a/1.jpg", "-IPTC:Keywords=Family")
    assert write(home).failed == []
    with exiv2.Image(str(library / "a/1.jpg")) as file:
        xmp, iim = file.read_xmp(), file.read_iptc()
    assert (
        xmp["Xmp.dc.subject"] == iim["Iptc.Application2.Keywords"] == ["Family", "bowl", "vase", "spotlight"]
    )
    with exiv2.Image(str(library / "a/2.png")) as file:
        assert file.read_xmp()["Xmp.dc.subject"] == ["vase"]
