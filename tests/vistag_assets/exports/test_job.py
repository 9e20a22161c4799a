"""What is the same for all formats: what is chosen, what is written again, and what happens where it cannot be."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from exporting import content, export
from hand_made_lake import FOLDER, IDS, make_home, tables, write
from small_disk import mounted

from resources.home import FolderRef, Home
from resources.workspace import open_workspace
from vistag_assets.exports.formats import FORMATS
from vistag_assets.exports.job import MARKER, ExportError, Job
from vistag_assets.exports.records import (
    ALWAYS,
    FolderRecords,
    Selection,
    UnusableThresholds,
    file_name,
    read_thresholds,
    undecodable,
)

EVERY = sorted(FORMATS)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def tags_of(home: Home, selection: Selection) -> list[list[str]]:
    records = FolderRecords(open_workspace(home), home.folder(FOLDER), selection)
    return [[tag.label for tag in image.tags] for image in records]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [["bowl", "vase", "spotlight"], ["vase"], []]),
        (Selection(states=frozenset(["human"])), [["bowl"], [], []]),
        (Selection(states=frozenset(["machine"])), [["vase", "spotlight"], ["vase"], []]),
        (Selection(min_probability=0.75), [["bowl", "vase"], [], []]),
        (Selection(thresholds={"vase": 0.85}), [["bowl", "spotlight"], [], []]),
        (Selection(min_probability=0.95, thresholds={"spotlight": 0.1}), [["bowl", "spotlight"], [], []]),
    ],
)
def test_tags_are_chosen_by_state_and_probability(
    home: Home, selection: Selection, expected: list[list[str]]
) -> None:
    assert tags_of(home, selection) == expected


def test_without_final_tags_the_scores_stand_in(home: Home) -> None:
    home.lake.delete("tags", FOLDER)
    assert tags_of(home, Selection(min_probability=0.4)) == [["spotlight"], ["vase"], ["vase"]]


def test_what_a_narrower_tag_implies_is_left_out_unless_a_person_said_it(home: Home) -> None:
    rows = tables()["tags"]
    vessel = rows[1] | {"concept_id": "vessel", "phrase": "vessel", "rank": 4}
    write(home, "tags", [*rows, vessel])
    assert "vessel" not in tags_of(home, Selection())[0]
    write(home, "tags", [*rows, vessel | {"state": "human"}])
    assert "vessel" in tags_of(home, Selection())[0]


def test_regions_are_those_of_the_tags_that_the_crop_does_not_deny(home: Home) -> None:
    def regions() -> list[str]:
        records = FolderRecords(open_workspace(home), home.folder(FOLDER), Selection())
        return [region.tag.label for image in records for region in image.regions]

    assert regions() == ["bowl", "vase"]
    write(home, "region_matches", [tables()["region_matches"][0] | {"verdict": "rejected"}])
    assert regions() == ["vase"]


@pytest.mark.parametrize("name", EVERY)
def test_a_second_export_writes_nothing_and_a_fresh_one_the_same(
    home: Home, tmp_path: Path, name: str
) -> None:
    first = export(home, name, tmp_path / "one")
    assert first.written
    assert not first.failed
    again = export(home, name, tmp_path / "one")
    assert (again.written, again.removed) == ([], 0)
    export(home, name, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("name", EVERY)
def test_a_dry_run_writes_nothing(home: Home, tmp_path: Path, name: str) -> None:
    before = content(home.root)
    job = Job(open_workspace(home), FORMATS[name], tmp_path / "out", dry_run=True)
    assert set(job.run().written) == set(export(make_home(tmp_path / "b"), name, tmp_path / "real").written)
    assert not (tmp_path / "out").exists()
    assert content(home.root) == before


@pytest.mark.parametrize("name", EVERY)
def test_originals_and_lake_are_not_touched(home: Home, tmp_path: Path, name: str) -> None:
    library = home.root / "library"
    (library / "a").mkdir(parents=True)
    for n in (1, 2, 3):
        (library / f"a/{n}.jpg").write_bytes(b"original")
    before = content(home.root)
    export(home, name, tmp_path / "out")
    after = {p: d for p, d in content(home.root).items() if not p.startswith("exports/")}
    assert after == before


@pytest.mark.parametrize("name", [name for name in EVERY if not FORMATS[name].merges])
def test_a_folder_of_a_person_is_not_written_to(home: Home, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="empty or not there"):
        export(home, name, tmp_path / "out")
    assert content(tmp_path / "out") == {"mine.txt": b"mine"}


def test_an_export_of_another_format_is_not_written_to(home: Home, tmp_path: Path) -> None:
    export(home, "csv", tmp_path / "out")
    with pytest.raises(ExportError, match="as coco"):
        export(home, "coco", tmp_path / "out")


def test_what_was_damaged_or_lost_is_written_again(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(home, "csv", out)
    before = content(out)
    (out / "tags.csv").write_text("damaged")
    (out / "images.csv").unlink()
    export(home, "csv", out)
    assert content(out) == before


@pytest.mark.skipif(
    os.geteuid() != 0, reason="a file that root may not write needs a file system that says so"
)
def test_what_cannot_be_written_is_told_and_the_others_go_on(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "lib/a/2.jpg.xmp").mkdir(parents=True)  # a folder in the way: not even root may replace it
    outcome = export(home, "xmp", out)
    assert [name for name, _ in outcome.failed] == ["lib/a/2.jpg.xmp"]
    assert outcome.written == ["lib/a/1.jpg.xmp", "lib/a/3.jpg.xmp"]
    (out / "lib/a/2.jpg.xmp").rmdir()
    assert export(home, "xmp", out).written == ["lib/a/2.jpg.xmp"]


@pytest.mark.parametrize("name", EVERY)
def test_a_full_disk_ends_the_export_and_leaves_nothing_half_written(
    home: Home, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(home, name, out)
    before = content(out)
    write(home, "captions", [row | {"caption": "another"} for row in tables()["captions"]])
    write(home, "tags", tables()["tags"][1:])
    full = OSError(errno.ENOSPC, "No space left on device")

    def fsync(descriptor: int) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="is full"):
            export(home, name, out)
    assert content(out) == before
    export(home, name, out)
    export(home, name, tmp_path / "fresh")
    if not FORMATS[name].merges:
        assert content(out) == content(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("name", "size"), [("xmp", "12k"), ("hf", "48k"), ("coco", "8k"), ("fiftyone", "40k")]
)
def test_a_small_disk_that_fills_in_the_middle_holds_whole_files_and_the_next_export_goes_on(
    home: Home, tmp_path: Path, name: str, size: str
) -> None:
    export(home, name, tmp_path / "fresh")
    whole = content(tmp_path / "fresh")
    with mounted(tmp_path / "disk", size) as disk:
        with pytest.raises(OSError, match="disk is full"):
            export(home, name, disk / "out")
        left = content(disk / "out")
        assert left.items() <= whole.items()
        assert left != whole
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        export(home, name, disk / "out")
        assert content(disk / "out") == whole


def with_another_folder(home: Home, key: str = "lib--b") -> FolderRef:
    """The rows of the hand-made folder again, as those of another."""
    other = FolderRef(key, "lib", str(home.root / "library"), "b")
    home.register(other)
    for table in ("images", "tags", "proxies", "captions", "grounded_regions"):
        rows = home.lake.read(table, FOLDER)
        if table == "images":
            paths = [f"b/{n}.jpg" for n in range(rows.num_rows)]
            rows = rows.set_column(rows.column_names.index("path"), "path", [paths])
        home.lake.write(table, rows, key)
    return other


def test_files_of_folders_that_are_gone_go_and_of_others_stay(home: Home, tmp_path: Path) -> None:
    other = with_another_folder(home)
    for name in EVERY:
        export(home, name, tmp_path / name)
    home.mark_gone(other)
    for name in (name for name in EVERY if not FORMATS[name].merges):
        outcome = export(home, name, tmp_path / name)
        assert outcome.removed or not list((tmp_path / name).rglob("b"))
        export(home, name, tmp_path / f"{name}-fresh")
        assert content(tmp_path / name) == content(tmp_path / f"{name}-fresh")


READ_WHOLE = {"yolo", "webdataset"}
"""Their files are cut or numbered across folders."""


@pytest.mark.parametrize("name", EVERY)
def test_where_one_folder_changed_only_that_is_read_and_the_whole_is_as_if_new(
    home: Home, tmp_path: Path, name: str
) -> None:
    with_another_folder(home, "all")  # as a library may be called
    assert export(home, name, tmp_path / "out").images == 6
    write(home, "captions", [row | {"caption": "another"} for row in tables()["captions"]])
    write(home, "tags", tables()["tags"][1:])
    outcome = export(home, name, tmp_path / "out")
    assert outcome.images == (6 if name in READ_WHOLE else 3)
    export(home, name, tmp_path / "fresh")
    if not FORMATS[name].merges:
        assert content(tmp_path / "out") == content(tmp_path / "fresh")


@pytest.mark.parametrize("name", EVERY)
def test_a_format_reads_no_table_that_it_does_not_name(home: Home, tmp_path: Path, name: str) -> None:
    export(home, name, tmp_path / "out")
    for table in tables().keys() - {"images", *ALWAYS, *FORMATS[name].reads}:
        home.lake.delete(table, FOLDER)
    assert export(home, name, tmp_path / "out").written == []
    export(home, name, tmp_path / "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_another_option_leaves_nothing_of_the_one_before(home: Home, tmp_path: Path) -> None:
    export(home, "hf", tmp_path / "out")
    export(home, "hf", tmp_path / "out", layout="parquet")
    assert sorted(content(tmp_path / "out")) == [MARKER, "data/train-00000.parquet"]
    export(home, "hf", tmp_path / "out")
    export(home, "hf", tmp_path / "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_names_that_are_no_utf_8_are_known_and_those_that_look_so_are_not() -> None:
    assert undecodable("a/x\\xe9.jpg")
    assert not undecodable("a/x\\x5cxe9.jpg")
    assert file_name("a/x\\x5cxe9.jpg") == "a/x\\xe9.jpg"


@pytest.mark.parametrize("name", EVERY)
def test_an_image_that_cannot_be_named_is_left_out_with_a_reason(
    home: Home, tmp_path: Path, name: str
) -> None:
    images = tables()["images"]
    images[2]["path"] = "a/x\\xe9.jpg"
    write(home, "images", images)
    outcome = export(home, name, tmp_path / "out")
    assert [name for name, _ in outcome.skipped] == ["lib/a/x\\xe9.jpg"]
    assert outcome.written


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("concept_id,threshold\nbowl,much\n", "line 2"),
        ("concept_id,threshold\nbowl,0.5\nvase,2\n", "line 3"),
        ("a,b\n1,2\n", "columns concept_id and threshold"),
        ("concept_id,threshold\nbowl\n", "line 2"),
    ],
)
def test_thresholds_say_which_line_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UnusableThresholds, match=told):
        read_thresholds(tmp_path / "t.csv")


def test_thresholds_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffconcept_id,threshold\nbowl,0.5\n", encoding="utf-8")
    assert read_thresholds(tmp_path / "t.csv") == {"bowl": 0.5}


def test_the_marker_says_whose_a_folder_is(home: Home, tmp_path: Path) -> None:
    export(home, "csv", tmp_path / "out")
    assert (tmp_path / "out" / MARKER).read_text() == "csv\n"
    assert len(IDS) == 3


@pytest.mark.parametrize(("name", "fsyncs"), [("xmp", 4), ("coco", 3), ("voc", 6)])
def test_after_a_kill_nothing_is_half_written_and_the_next_export_makes_it_whole(
    home: Home, tmp_path: Path, name: str, fsyncs: int
) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2] / "helpers" / "exports")!r})
from pathlib import Path
from exporting import export
from resources.home import Home
fsync, calls = os.fsync, []
def fatal(descriptor):
    calls.append(descriptor)
    if len(calls) == {fsyncs}:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)
os.fsync = fatal
export(Home(Path({str(home.root)!r})), {name!r}, Path({str(tmp_path / "out")!r}))
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    export(home, name, tmp_path / "fresh")
    whole = content(tmp_path / "fresh")
    left = {path: data for path, data in content(tmp_path / "out").items() if not path.endswith(".tmp")}
    assert left.items() <= whole.items()
    assert left != whole
    export(home, name, tmp_path / "out")
    assert content(tmp_path / "out") == whole
