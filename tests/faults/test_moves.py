"""Folders that move, files that change: what people decided stays, no model is asked again, nothing is a ghost."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.decisions import Event
from resources.home import Home, Settings, write_settings
from resources.workspace import open_workspace
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app
from vistag_assets.gallery.pages import gallery_page
from vistag_assets.runs import NoImagesError

pytestmark = pytest.mark.slow  # two or three runs each

XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>a keyword</x:xmpmeta>"


@pytest.fixture(scope="module")
def tagged_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`home`, tagged once, and what its library was: a and b of five images, c of two JPEGs."""
    root = tmp_path_factory.mktemp("tagged")
    home = tiny_home(root, save_tiny_siglip(root / "tiny"))
    (root / "library" / "b" / "broken.jpg").unlink()
    for name in ("1.jpg", "2.jpg"):
        draw(root / "library" / "c" / name, seed=ord(name[0]))
    tag(home, root / "library")
    (root / "library").rename(root / "original")
    return root


@pytest.fixture
def home(tagged_once: Path, tmp_path: Path) -> Home:
    """A home of its own, with a library of its own beside it."""
    shutil.copytree(tagged_once / "home", tmp_path / "home")
    shutil.copytree(tagged_once / "original", tmp_path / "library")
    home = Home(tmp_path / "home")
    root = str(tmp_path / "library")
    home.register(*(replace(folder, root=root) for folder in home.folders()))
    return home


@pytest.fixture
def library(home: Home) -> Path:
    return home.root.parent / "library"


def vistag(home: Home, *arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home.root)])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def images(home: Home) -> dict[str, str]:
    """Path -> id of all images that the lake knows."""
    rows = home.lake.read_all("images", ["id", "path"]).to_pylist()
    return {row["path"]: row["id"] for row in rows}


def say(home: Home, path: str, verdict: str = "accept", concept: str = "bronze") -> None:
    """Somebody's word on an image as it is now."""
    key = f"lib--{path.split('/')[0]}"
    (row,) = [row for row in home.lake.read("images", key).to_pylist() if row["path"] == path]
    said = {"image_id": row["id"], "pixel_hash": row["pixel_hash"], "concept_id": concept}
    home.decisions.append([Event(who="ada", verdict=verdict, **said)])  # type: ignore[arg-type]


def decided(home: Home) -> dict[str, str]:
    """Path -> state of `bronze`, where a person gave it one."""
    with home.lake.connect() as sql:
        rows = sql.execute(
            "select path, state from tagged_images where concept_id = 'bronze' and state <> 'machine'"
        ).fetchall()
    return dict(rows)


def is_sound(home: Home) -> bool:
    return verify_home(home, deep=True).faults == ()


def with_metadata(file: Path) -> None:
    """Write a keyword into a JPEG, and nothing of its picture."""
    content = file.read_bytes()
    segment = b"\xff\xe1" + (len(XMP) + 2).to_bytes(2, "big") + XMP
    file.write_bytes(content[:2] + segment + content[2:])


# Folders


def test_a_renamed_folder_takes_all_that_is_known_along(home: Home, library: Path) -> None:
    before = images(home)
    scores = home.lake.read("tag_scores", "lib--a")
    say(home, "a/1.png")
    (library / "a").rename(library / "z")
    outcome = tag(home, library)
    assert outcome.computed == {"tags": 1}  # by the decision
    assert home.lake.read("tag_scores", "lib--z") == scores
    assert decided(home) == {"z/1.png": "human"}
    assert images(home) == {path.replace("a/", "z/"): id_ for path, id_ in before.items()}
    (gone,) = outcome.gone
    assert (gone.folder.relative, gone.images, gone.now_in, gone.has_moved) == ("a", 5, {"z": 5}, True)
    assert [folder.key for folder in home.folders()] == ["lib--b", "lib--c", "lib--z"]
    assert vistag(home, "forget") == "No folder is gone."
    assert is_sound(home)
    assert tag(home, library).computed == {}


def test_folders_that_moved_deeper_or_changed_places_are_found(home: Home, library: Path) -> None:
    say(home, "b/2.png", "reject")
    tag(home, library)
    (library / "years").mkdir()
    (library / "a").rename(library / "years" / "a")
    (library / "b").rename(library / "a")
    outcome = tag(home, library)
    assert outcome.computed == {}
    assert decided(home) == {"a/2.png": "rejected"}
    assert {gone.folder.relative: dict(gone.now_in) for gone in outcome.gone} == {"b": {"a": 5}}
    assert len(images(home)) == 12
    assert is_sound(home)


def test_a_deleted_folder_is_marked_shown_nowhere_and_can_be_forgotten(home: Home, library: Path) -> None:
    say(home, "a/1.png")
    tag(home, library)
    kept = library.parent / "kept"
    (library / "a").rename(kept)
    told = vistag(home, "run", library, "--library", "lib")
    assert "a is not there any more" in told
    assert "what is known of 5 is kept until vistag forget --yes" in told
    assert home.folder("lib--a").gone_since
    assert home.lake.read("images", "lib--a").num_rows == 5  # its disk may come back
    assert decided(home) == {"a/1.png": "human"}
    page = gallery_page(home).read_text()
    assert "b/1.png" in page
    assert "a/1.png" not in page
    assert "0" in vistag(home, "sql", "select count(*) from tagged_images where path like 'a/%'")
    assert [found.kind for found in verify_home(home).findings] == ["gone_folder"]
    assert "lib--a: 5 images, gone since" in vistag(home, "forget")
    assert "1 decisions about their images are kept" in vistag(home, "forget", "--yes")
    assert "lib--a" not in home.lake.folders("tags")
    # the picture comes back under another name, and what was said of it with it
    kept.rename(library / "again")
    assert tag(home, library).gone == ()
    assert decided(home) == {"again/1.png": "human"}


def test_a_folder_of_copies_that_is_deleted_has_not_moved(home: Home, library: Path) -> None:
    shutil.copytree(library / "a", library / "copies")
    tag(home, library)
    shutil.rmtree(library / "copies")
    (gone,) = tag(home, library).gone
    assert (gone.folder.relative, gone.images, gone.now_in) == ("copies", 5, {})
    assert "lib--copies: 5 images" in vistag(home, "forget")


def test_forget_takes_decisions_only_where_it_is_told_to(home: Home, library: Path) -> None:
    say(home, "a/1.png")
    say(home, "a/2.png")
    say(home, "b/1.png")
    shutil.copy(library / "a" / "2.png", library / "b" / "copy.png")
    shutil.rmtree(library / "a")
    tag(home, library)
    vistag(home, "forget", "--yes", "--decisions")
    ids = images(home)
    assert {event.image_id for event in home.decisions.since()} == {ids["b/copy.png"], ids["b/1.png"]}


def test_a_folder_that_is_gone_is_known_without_a_run(home: Home, library: Path) -> None:
    shutil.rmtree(library / "b")
    assert [found.kind for found in verify_home(home).findings] == ["gone_folder"]
    assert "lib--b: 5 images, gone" in vistag(home, "forget")
    assert "Removed from the lake: 1 folders." in vistag(home, "forget", "--yes")
    assert is_sound(home)


def test_what_left_a_folder_that_is_gone_is_in_one_place_only(home: Home, library: Path) -> None:
    (library / "z").mkdir()
    for number in range(3):
        (library / "a" / f"{number}.png").rename(library / "z" / f"{number}.png")
    shutil.rmtree(library / "a")
    (gone,) = tag(home, library).gone
    assert (gone.images, gone.now_in, gone.has_moved) == (5, {"z": 3}, False)
    assert {path for path in images(home) if path[0] in "az"} == {f"z/{n}.png" for n in range(3)} | {
        "a/3.png",
        "a/4.png",
    }
    assert is_sound(home)


@pytest.mark.parametrize("root", ["missing", "empty"])
def test_a_library_that_is_not_there_is_not_all_deleted(home: Home, library: Path, root: str) -> None:
    before = images(home)
    library.rename(library.parent / "unmounted")
    if root == "empty":
        library.mkdir()
    with pytest.raises((NoImagesError, NotADirectoryError)):
        tag(home, library)
    assert vistag(home, "forget") == "No folder is gone."
    assert images(home) == before
    assert verify_home(home).findings == ()
    if root == "empty":
        library.rmdir()
    (library.parent / "unmounted").rename(library)
    assert tag(home, library).computed == {}


def test_a_folder_that_may_not_be_looked_into_is_not_gone(home: Home, library: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look into any folder")
    (library / "a").chmod(0)
    try:
        assert tag(home, library).gone == ()
    finally:
        (library / "a").chmod(0o755)


# Files


def test_a_file_that_moves_to_another_folder_keeps_its_rows_and_decisions(home: Home, library: Path) -> None:
    say(home, "a/1.png")
    tag(home, library)
    (library / "a" / "1.png").rename(library / "b" / "moved.png")
    outcome = tag(home, library)
    assert (outcome.computed, outcome.carried) == ({}, 1)
    assert decided(home) == {"b/moved.png": "human"}
    assert is_sound(home)


def test_metadata_that_is_written_into_a_file_changes_nothing_that_is_known(
    home: Home, library: Path
) -> None:
    say(home, "c/1.jpg", "reject")
    tag(home, library)
    before = images(home)["c/1.jpg"]
    embeddings = home.lake.read("global_embeddings", "lib--c")
    for _ in range(2):
        with_metadata(library / "c" / "1.jpg")
    outcome = tag(home, library)
    after = images(home)["c/1.jpg"]
    assert after != before
    assert (outcome.computed, outcome.carried) == ({}, 1)
    assert decided(home) == {"c/1.jpg": "rejected"}
    vectors = {row["id"]: row["embedding"] for row in embeddings.to_pylist()}
    now = {row["id"]: row["embedding"] for row in home.lake.read("global_embeddings", "lib--c").to_pylist()}
    assert now[after] == vectors[before]
    assert before not in now
    assert is_sound(home)


def test_pixels_that_change_are_another_picture(home: Home, library: Path) -> None:
    say(home, "c/1.jpg", "reject")
    draw(library / "c" / "1.jpg", seed=99)
    outcome = tag(home, library)
    assert (outcome.embedded, outcome.carried) == (1, 0)
    assert decided(home) == {}


@pytest.mark.parametrize("fault", ["empty", "unreadable", "absent"])
def test_a_decision_outlives_a_file_that_cannot_be_used_for_a_run(
    home: Home, library: Path, fault: str
) -> None:
    file = library / "a" / "1.png"
    say(home, "a/1.png")
    tag(home, library)
    content = file.read_bytes()
    if fault == "absent":
        file.unlink()
    else:
        file.write_bytes(b"" if fault == "empty" else b"no image")
    tag(home, library)
    assert decided(home) == {}
    file.write_bytes(content)
    tag(home, library)
    assert decided(home) == {"a/1.png": "human"}
    assert is_sound(home)


def test_states_in_the_rows_of_an_older_home_follow_the_file_as_well(home: Home, library: Path) -> None:
    older = home.lake.read("tags", "lib--a").drop_columns(["decision"])
    rows = [{**row, "state": "human" if row["rank"] == 1 else "machine"} for row in older.to_pylist()]
    home.lake.write("tags", pa.Table.from_pylist(rows, older.schema), "lib--a")
    path_of = {id_: path for path, id_ in images(home).items()}
    accepted = {path_of[row["id"]] for row in rows if row["state"] == "human"}
    assert {"a/1.png", "a/2.png", "a/3.png"} <= accepted
    (library / "a" / "1.png").rename(library / "b" / "moved.png")
    (library / "a" / "2.png").write_bytes(b"")
    tag(home, library)
    with home.lake.connect() as sql:
        found = sql.execute("select path from tagged_images where state = 'human'").fetchall()
    assert {path for (path,) in found} == accepted - {"a/1.png", "a/2.png"} | {"b/moved.png"}
    assert len(home.decisions.since()) == len(accepted)  # of the empty file too


def test_a_copied_home_reads_each_file_once(home: Home, library: Path, tmp_path: Path) -> None:
    """The fixture copied both: all times of status, and all inodes, are others."""
    before = images(home)
    for written in (True, False):
        stored = home.lake.data_file("images", "lib--a").stat().st_mtime_ns
        assert tag(home, library).computed == {}
        assert (home.lake.data_file("images", "lib--a").stat().st_mtime_ns != stored) == written
    assert images(home) == before


def test_force_reads_again_what_looks_as_it_did(home: Home, library: Path) -> None:
    assert "Nothing new" in vistag(home, "run", library, "--library", "lib", "--force")
    assert is_sound(home)


# The tool


def test_a_person_decides_and_takes_it_back(
    home: Home, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = images(home)["a/1.png"]
    told = vistag(home, "decide", library / "a" / "1.png", "Bronze", "accept", "--by", "ada")
    assert told.startswith("'bronze' of a/1.png stands (decision 1 by ada). The tags of lib--a show it")
    assert decided(home) == {"a/1.png": "human"}
    assert "is rejected (decision 2" in vistag(home, "decide", id_, "bronze", "reject")
    monkeypatch.chdir(library / "a")
    assert "is rejected (decision 3" in vistag(home, "decide", "2.png", "bronze", "reject")
    assert decided(home) == {"a/1.png": "rejected", "a/2.png": "rejected"}
    assert "decision 2 is taken back, 'bronze' of a/1.png stands" in vistag(
        home, "decide", "a/1.png", "bronze", "--undo"
    )
    assert "decision 1 is taken back, 'bronze' of a/1.png is what the machine says" in vistag(
        home, "decide", "a/1.png", "bronze", "--undo"
    )
    assert decided(home) == {"a/2.png": "rejected"}
    assert "there is nothing to take back" in vistag(home, "decide", id_, "vase", "--undo")
    assert "5" in vistag(home, "sql", "select count(*) from decisions")
    assert tag(home, library).computed == {}  # the tags have it already
    assert [event.shown is not None for event in home.decisions.since()][:2] == [False, True]


def test_a_decision_holds_wherever_the_picture_lies(home: Home, library: Path) -> None:
    shutil.copy(library / "a" / "1.png", library / "b" / "copy.png")
    tag(home, library)
    told = vistag(home, "decide", "b/copy.png", "bronze", "accept")
    assert "The same picture lies in 1 other places" in told
    assert decided(home) == {"a/1.png": "human", "b/copy.png": "human"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a/9.png", "bronze", "accept"), "is no image of this home"),
        (("a/1.png", "gizmo", "accept"), "neither an id nor a label of the vocabulary"),
        (("a/1.png", "bronze"), "Say accept or reject, or --undo"),
        (("a/1.png", "bronze", "accept", "--undo"), "Say accept or reject, or --undo"),
    ],
)
def test_what_cannot_be_decided_is_said(home: Home, arguments: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(app, ["decide", *arguments, "--home", str(home.root)])
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())
    assert home.decisions.since() == []


def test_no_model_of_the_whole_graph_is_asked_again(tmp_path: Path) -> None:
    home, library = Home(tmp_path / "home"), tmp_path / "library"
    write_settings(home, Settings(tier="demo"))
    for number in range(3):
        draw(library / "a" / f"{number}.png", seed=number)
        (library / "b").mkdir(exist_ok=True)
        Image.effect_noise((96, 64), 20 * number + 20).convert("RGB").save(library / "b" / f"{number}.jpg")
    assert tag(home, library).computed["captions"] == 6
    (library / "a").rename(library / "z")
    with_metadata(library / "b" / "1.jpg")
    (library / "b" / "2.jpg").rename(library / "z" / "2.jpg")
    outcome = tag(home, library)
    assert (outcome.computed, outcome.carried) == ({}, 5)
    assert is_sound(home)
    assert open_workspace(home).lake.folders("descriptions") == ["lib--b", "lib--z"]
