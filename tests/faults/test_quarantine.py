"""Damaged partitions: moved aside, told and computed again by a run; named by whoever only reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from small_library import tag
from typer.testing import CliRunner

from resources.decisions import Event
from resources.home import Home
from resources.lake import CorruptPartition
from resources.workspace import open_workspace
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app
from vistag_assets.ingest.files import prune
from vistag_assets.runs import tag_folders

FOLDER = "lib--a"
OTHER_FOLDER = "lib--b"


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def flipped_in(place: int) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        return bytes(damaged)

    return flip


LENGTH_OF_FOOTER, MAGIC_OF_FOOTER, FIRST_PAGE = flipped_in(-6), flipped_in(-1), flipped_in(60)

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "images": cut,
    "proxies": emptied,
    "rejects": MAGIC_OF_FOOTER,
    "global_embeddings": FIRST_PAGE,
    "concept_embeddings": emptied,
    "tag_scores": LENGTH_OF_FOOTER,
    "routing": cut,
    "tags": FIRST_PAGE,
}


@pytest.fixture
def home(tagged_home: Home) -> Home:
    return tagged_home


def folder_of(table: str) -> str | None:
    return None if table == "concept_embeddings" else FOLDER


def damage(home: Home, table: str) -> bytes:
    path = home.lake.data_file(table, folder_of(table))
    damaged = DAMAGE[table](path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(CorruptPartition, match=str(path)):
        home.lake.read(table, folder_of(table))
    return damaged


def rows(home: Home) -> dict[str, pa.Table]:
    lake = home.lake
    return {
        f"{table} {folder}": lake.read(table, folder)
        for table in lake.tables()
        for folder in lake.folders(table) or [None]
    }


@pytest.mark.slow
def test_a_run_moves_damaged_partitions_aside_tells_it_and_computes_them_again(
    home: Home, tagged_once: Path
) -> None:
    before = rows(home)
    damaged = {table: damage(home, table) for table in DAMAGE}
    found = verify_home(home, deep=True).faults
    assert {(fault.kind, fault.table, fault.folder) for fault in found} == {
        ("damaged_file", table, folder_of(table)) for table in DAMAGE
    }

    outcome = tag(home, tagged_once / "library")

    assert rows(home) == before
    quarantine = home.root / "quarantine"
    for table, content in damaged.items():
        partition = home.lake.data_file(table, folder_of(table)).parent.relative_to(home.lake.root)
        (kept,) = (quarantine / partition).iterdir()
        assert kept.name.endswith("Z-data.parquet")
        assert kept.read_bytes() == content
        assert str(kept) in outcome.quarantined
    assert len(outcome.quarantined) == len(DAMAGE)

    with home_instance(home.root) as instance:
        (run, *_) = instance.get_runs(limit=1)
        warnings = [entry.user_message for entry in instance.all_logs(run.run_id) if entry.level == 30]
    assert all(any(f"moved to {file}" in warning for warning in warnings) for file in outcome.quarantined)

    assert tag(home, tagged_once / "library").quarantined == ()
    assert verify_home(home, deep=True).faults == ()


@pytest.mark.slow
def test_damaged_tags_are_made_anew_with_what_people_decided(home: Home, tagged_once: Path) -> None:
    first = home.lake.read("tags", FOLDER).slice(0, 1).to_pylist()[0]
    home.decisions.append(
        [Event(who="ada", verdict="reject", image_id=first["id"], concept_id=first["concept_id"])]
    )
    tag(home, tagged_once / "library")
    before = rows(home)
    assert "rejected" in before[f"tags {FOLDER}"]["state"].to_pylist()
    content = damage(home, "tags")
    (moved,) = tag(home, tagged_once / "library").quarantined
    assert Path(moved).read_bytes() == content
    assert rows(home) == before


def test_a_run_that_only_reads_a_damaged_table_names_the_file_and_the_command(home: Home) -> None:
    damage(home, "images")
    result = CliRunner().invoke(app, ["sql", "from tags", "--home", str(home.root)])
    said = " ".join(result.output.split())
    assert result.exit_code == 1
    assert str(home.lake.data_file("images", FOLDER)) in said
    assert "run vistag on its folder again" in said


def test_no_proxy_is_removed_while_a_folder_cannot_say_which_it_needs(home: Home) -> None:
    damage(home, "proxies")
    proxies = set((home.root / "proxies").rglob("*.jpg"))
    assert proxies
    assert prune(open_workspace(home)) == 0
    assert set((home.root / "proxies").rglob("*.jpg")) == proxies


@pytest.mark.slow
def test_a_run_of_one_folder_goes_on_while_another_folder_is_damaged(
    home: Home, tagged_once: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = home.lake.data_file("tag_scores", OTHER_FOLDER)
    path.write_bytes(cut(path.read_bytes()))
    outcome = tag_folders(home, [home.folder(FOLDER)], watcher=lambda stage, done, total: None)
    assert outcome.images == 5
    assert f"left out: {path} is not a whole Parquet file" in caplog.text
    assert path.exists()
