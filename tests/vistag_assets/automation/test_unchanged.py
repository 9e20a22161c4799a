"""Folders that stand as a run left them are no part of the next one; whatever differs makes them so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from small_library import draw, tiny_home, use_tier
from tiny_checkpoint import save_tiny_siglip

from resources.decisions import Event
from resources.home import Home, read_settings, write_settings
from resources.workspace import open_workspace
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.unchanged import look
from vistag_assets.definitions import defs
from vistag_assets.partitions import TAG_FOLDERS
from vistag_assets.runs import TagOutcome, find_library, tag_folders

FOLDERS = ("lib--a", "lib--b")


def run(home: Home, library: Path) -> TagOutcome:
    folders = find_library(library, "lib", home)
    return tag_folders(home, folders, lambda *_: None, leave_unchanged=True)


def to_be_run(home: Home, library: Path) -> set[str]:
    """The folders that a run would take now."""
    folders = find_library(library, "lib", home)
    looked = look(open_workspace(home), folders, defs.resolve_job_def(TAG_FOLDERS))
    return {folder.key for folder in folders} - looked.unchanged.keys()


def folders_of_last_run(home: Home) -> set[str | None]:
    with home_instance(home.root) as instance:
        (last,) = instance.get_runs(limit=1)
        made = instance.all_logs(last.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    return {record.asset_materialization.partition for record in made if record.asset_materialization}


@pytest.fixture(scope="module")
def left_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("left")
    home = tiny_home(root, save_tiny_siglip(root / "tiny"))
    run(home, root / "library")
    return root


@pytest.fixture
def left(left_once: Path) -> tuple[Home, Path]:
    """A home as a run left it, where it was made: a copy is another, with other inodes."""
    return Home(left_once / "home"), left_once / "library"


@pytest.mark.slow
def test_a_run_takes_only_what_changed_and_tells_the_rest_from_what_is_known(
    left: tuple[Home, Path],
) -> None:
    home, library = left
    before = {table: home.lake.data_file(table, "lib--a").stat().st_ino for table in ("images", "tags")}  # type: ignore[union-attr]
    outcome = run(home, library)
    assert folders_of_last_run(home) == {None}  # what is made of all folders
    assert (outcome.images, outcome.rejects, outcome.embedded, outcome.computed) == (10, 1, 0, {})
    draw(library / "b" / "new.png", seed=300)
    outcome = run(home, library)
    assert folders_of_last_run(home) == {None, "lib--b"}
    assert (outcome.images, outcome.embedded) == (11, 1)
    assert {table: home.lake.data_file(table, "lib--a").stat().st_ino for table in before} == before  # type: ignore[union-attr]
    (library / "b" / "new.png").unlink()
    run(home, library)
    assert to_be_run(home, library) == set()


def touch_a_file(home: Home, library: Path) -> Callable[[], None]:
    picture = library / "a" / "0.png"
    kept = picture.read_bytes()
    draw(picture, seed=999)
    return lambda: (picture.write_bytes(kept), None)[1]


def remove_a_partition(home: Home, library: Path) -> Callable[[], None]:
    home.lake.delete("tag_scores", "lib--a")
    return lambda: None


def damage_a_partition(home: Home, library: Path) -> Callable[[], None]:
    file = Path(str(home.lake.data_file("images", "lib--a")))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return lambda: None


def remove_a_proxy(home: Home, library: Path) -> Callable[[], None]:
    (home.root / home.lake.read("proxies", "lib--a")["path"][0].as_py()).unlink()
    return lambda: None


@pytest.mark.slow
@pytest.mark.parametrize("change", [touch_a_file, remove_a_partition, damage_a_partition, remove_a_proxy])
def test_what_differs_in_a_folder_has_it_run(
    change: Callable[[Home, Path], Callable[[], None]], left: tuple[Home, Path]
) -> None:
    home, library = left
    assert to_be_run(home, library) == set()
    undo = change(home, library)
    assert to_be_run(home, library) == {"lib--a"}
    undo()
    run(home, library)
    assert to_be_run(home, library) == set()


@pytest.mark.slow
def test_what_differs_in_what_all_rows_are_made_by_has_all_run(left: tuple[Home, Path]) -> None:
    home, library = left
    everything = set(FOLDERS)
    id_ = home.lake.read("images", "lib--a")["id"][0].as_py()
    settings = read_settings(home)
    write_settings(home, settings.model_copy(update={"labels": "pref"}))
    assert to_be_run(home, library) == everything
    use_tier(home, library.parent, library.parent / "tiny", keep_top=2)
    assert to_be_run(home, library) == everything
    use_tier(home, library.parent, library.parent / "tiny")
    assert to_be_run(home, library) == set()
    (home.root / "thresholds.csv").write_text("concept_id,threshold\n")
    assert to_be_run(home, library) == everything
    (home.root / "thresholds.csv").unlink()
    home.decisions.append(
        [Event(who="ada", verdict="accept", image_id=id_, concept_id="vase", client_id="unchanged-1")]
    )
    assert to_be_run(home, library) == everything
    run(home, library)
    assert to_be_run(home, library) == set()


@pytest.mark.slow
def test_notes_that_are_damaged_or_gone_have_their_folder_run(left: tuple[Home, Path]) -> None:
    home, library = left
    note = home.root / "standing" / "lib--a.json"
    kept = note.read_bytes()
    for content in (b"", b"[]", b'{"made_by": 1}', kept.replace(b'"seen"', b'"scene"')):
        note.write_bytes(content)
        assert to_be_run(home, library) == {"lib--a"}
    note.unlink()
    assert to_be_run(home, library) == {"lib--a"}
    note.write_bytes(kept)
    assert to_be_run(home, library) == set()
