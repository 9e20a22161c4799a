"""vistag export: a command a format, that says what it carries and takes its own options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hand_made_lake import FOLDER, make_home, tables, write
from typer.testing import CliRunner, Result

from resources.home import Home
from vistag_assets.cli import app
from vistag_assets.exports.formats import FORMATS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def vistag(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments, "--home", str(home.root)])


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_help_says_what_is_carried_what_is_lost_and_the_options(name: str) -> None:
    help_ = CliRunner().invoke(app, ["export", name, "--help"], env={"COLUMNS": "1000"}).output
    for said in (FORMATS[name].carried, FORMATS[name].lost, FORMATS[name].about):
        assert said in help_
    page = (ROOT / "docs/exports.md").read_text(encoding="utf-8")
    assert f"| [`{name}`](#" in page


def test_it_writes_where_it_is_told_and_in_the_home_else(home: Home, tmp_path: Path) -> None:
    told = vistag(home, "csv", "--to", str(tmp_path / "out"))
    assert (told.exit_code, "2 files written" in told.output) == (0, True)
    assert (tmp_path / "out/images.csv").is_file()
    vistag(home, "csv")
    assert (home.root / "exports/csv/images.csv").read_bytes() == (tmp_path / "out/images.csv").read_bytes()


def test_a_dry_run_lists_what_would_be_written(home: Home, tmp_path: Path) -> None:
    told = vistag(home, "xmp", "--to", str(tmp_path / "out"), "--dry-run")
    assert "3 files would be written" in told.output
    assert "lib/a/1.jpg.xmp" in told.output
    assert not (tmp_path / "out").exists()


def test_options_and_selection_reach_the_format(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = vistag(
        home, "lora", "--to", str(out), "--state", "human", "--set", "trigger=me", "--set", "pictures=no"
    )
    assert told.exit_code == 0, told.output
    assert (out / "lib/a/1.txt").read_text() == "me, bowl\n"
    assert not list(out.rglob("*.jpg"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["csv", "--set", "nothing=1"], "the options of csv: separator, formulas"),
        (["csv", "--set", "formulas=perhaps"], "yes or no"),
        (["webdataset", "--set", "shard_mb=much"], "no number"),
        (["xmp", "--set", "naming=both"], "full, stem"),
        (["coco", "--set", "masks=all"], "rle, polygon, none"),
        (["skos", "--set", "base=no iri"], "no IRI"),
        (["csv", "--state", "rejected"], "human, machine"),
        (["csv", "--folder", "nowhere"], "no image of it"),
        (["csv", "--thresholds", "absent.csv"], "absent.csv"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    home: Home, tmp_path: Path, arguments: list[str], said: str
) -> None:
    told = vistag(home, *arguments, "--to", str(tmp_path / "out"))
    assert told.exit_code == 1
    assert said in told.output
    assert "Traceback" not in told.output


@pytest.mark.parametrize("named", ["key", "path", "above"])
def test_a_folder_is_named_by_key_or_path_or_what_it_lies_below(
    home: Home, tmp_path: Path, named: str
) -> None:
    library = home.root / "library"
    folder = {"key": FOLDER, "path": str(library / "a"), "above": str(library)}[named]
    assert "2 files written" in vistag(home, "csv", "--folder", folder, "--to", str(tmp_path / "out")).output


def test_sidecars_beside_the_pictures(home: Home) -> None:
    told = vistag(home, "xmp", "--set", "beside=yes")
    assert told.exit_code == 0, told.output
    assert sorted(path.name for path in (home.root / "library/a").iterdir()) == [
        f"{n}.jpg.xmp" for n in (1, 2, 3)
    ]
    assert "0 files written, 3 unchanged" in vistag(home, "xmp", "--set", "beside=yes").output


def test_what_is_left_out_or_not_written_is_told_and_ends_with_1(home: Home, tmp_path: Path) -> None:
    images = tables()["images"]
    images[2]["path"] = "a/x\\xe9.jpg"
    write(home, "images", images)
    (tmp_path / "out/lib/a").mkdir(parents=True)
    (tmp_path / "out/lib/a/1.jpg.xmp").write_text("no xml \x1b[31m")
    told = vistag(home, "xmp", "--to", str(tmp_path / "out"))
    assert told.exit_code == 1
    assert "a/x\\xe9.jpg: its name holds bytes" in told.output
    assert "lib/a/1.jpg: is no XML" in told.output
    assert (tmp_path / "out/lib/a/2.jpg.xmp").is_file()


def test_an_empty_home_is_told(tmp_path: Path) -> None:
    told = vistag(Home(tmp_path / "none"), "csv")
    assert (told.exit_code, "Run vistag on a folder first" in told.output) == (1, True)


def test_exports_are_as_the_umask_has_it_and_what_is_remembered_is_private(
    home: Home, tmp_path: Path
) -> None:
    vistag(home, "csv", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out/images.csv").stat().st_mode & 0o044
    [memory] = (home.root / "exports/.made").rglob("[(]all[)].json")
    assert memory.stat().st_mode & 0o077 == 0
    assert json.loads(memory.read_bytes())["files"].keys() == {"images.csv", "tags.csv"}


def test_only_xmp_writes_into_originals_and_not_elsewhere(home: Home, tmp_path: Path) -> None:
    assert "No such option" in vistag(home, "csv", "--write-originals").output
    told = vistag(home, "xmp", "--write-originals", "--to", str(tmp_path))
    assert told.exit_code == 1
    assert "leave out --to" in told.output
