"""`vistag verify`: nothing to say of a sound home, and each fault found alone, with what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from resources.home import FolderRef, Home
from resources.lake import embedding_column, with_empty_ids, with_failed_ids
from resources.tables import (
    CANDIDATES,
    CAPTIONS,
    GLOBAL_EMBEDDINGS,
    GROUNDED_REGIONS,
    IMAGES,
    PER_FOLDER_TABLES,
    PROXIES,
    REJECTS,
    TAG_SCORES,
)
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app
from vistag_assets.definitions import defs
from vistag_assets.partitions import folder_partitions

FOLDER = "lib--a"
IDS = tuple(letter * 32 for letter in "abc")
BY = "0" * 16


def rows_of(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"fingerprint": BY, **row} for row in rows], schema=schema)


def proxy_of(id_: str) -> str:
    return f"proxies/{id_[:2]}/{id_}-1.jpg"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three images: one that the captioner failed at, and one without a candidate or a region."""
    home = Home(tmp_path / "home")
    home.register(FolderRef(FOLDER, "lib", str(tmp_path / "library"), "a"))
    for id_ in IDS:
        path = home.root / proxy_of(id_)
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), ord(id_[0]), np.uint8)).save(path)
    a, b, c = IDS
    embeddings = [IDS, embedding_column(np.eye(3, 4)), [BY] * 3]
    tables = {
        "images": rows_of(IMAGES.schema, [{"id": id_, "path": f"a/{id_[0]}.jpg"} for id_ in IDS]),
        "rejects": rows_of(REJECTS.schema, [{"path": "a/broken.jpg"}]),
        "proxies": rows_of(PROXIES.schema, [{"id": id_, "path": proxy_of(id_)} for id_ in IDS]),
        "global_embeddings": pa.table(embeddings, schema=GLOBAL_EMBEDDINGS.sized(4)),
        "tag_scores": rows_of(
            TAG_SCORES.schema, [{"id": id_, "concept_id": name} for id_ in IDS for name in ("bowl", "vase")]
        ),
        "captions": with_failed_ids(
            rows_of(CAPTIONS.schema, [{"id": a, "caption": "a bowl"}, {"id": b, "caption": "a vase"}]),
            {c: "late"},
        ),
        "candidates": with_empty_ids(
            rows_of(CANDIDATES.schema, [{"id": id_, "rank": rank} for id_ in (a, b) for rank in (1, 2)]),
            {c: BY},
        ),
        "grounded_regions": with_empty_ids(
            rows_of(
                GROUNDED_REGIONS.schema, [{"id": a, "region_id": "a-r1"}, {"id": a, "region_id": "a-r2"}]
            ),
            {b: BY, c: BY},
        ),
    }
    for table, rows in tables.items():
        home.lake.write(table, rows, FOLDER)
    return home


def edit(home: Home, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    home.lake.write(table, change(home.lake.read(table, FOLDER)), FOLDER)


def without_last(rows: pa.Table) -> pa.Table:
    return rows.slice(0, rows.num_rows - 1)


def twice(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def cut(home: Home) -> None:
    path = home.lake.data_file("tag_scores", FOLDER)
    path.write_bytes(path.read_bytes()[:-20])


def leave(*parts: str, age_s: float = 7200) -> Callable[[Home], None]:
    def left(home: Home) -> None:
        file = home.root.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
        then = file.stat().st_mtime - age_s
        os.utime(file, (then, then))

    return left


PARTITION = ("lake", "captions", f"folder={FOLDER}")

FAULTS: dict[str, tuple[Callable[[Home], object], str, str | None, str]] = {
    # what is done to the home -> kind, table, and words of the sentence
    "row": (
        lambda home: edit(home, "global_embeddings", without_last),
        "missing_rows",
        "global_embeddings",
        "lacks 1 of 3 images, such as cccc",
    ),
    "note of emptiness": (
        lambda home: edit(home, "grounded_regions", lambda rows: with_empty_ids(rows, {IDS[1]: BY})),
        "missing_rows",
        "grounded_regions",
        "such as cccc",
    ),
    "note of failure": (
        lambda home: edit(home, "captions", lambda rows: with_failed_ids(rows, {})),
        "missing_rows",
        "captions",
        "run vistag on that folder",
    ),
    "doubled image": (
        lambda home: edit(home, "captions", twice),
        "doubled_rows",
        "captions",
        "more than once",
    ),
    "doubled region": (
        lambda home: edit(home, "grounded_regions", twice),
        "doubled_rows",
        "grounded_regions",
        "(id, region_id)",
    ),
    "image that is gone": (
        lambda home: edit(home, "captions", lambda rows: with_empty_ids(rows, {"d" * 32: BY})),
        "stray_rows",
        "captions",
        "that images no longer holds, such as dddd",
    ),
    "cut file": (cut, "damaged_file", "tag_scores", "is not a whole Parquet file"),
    "partition": (
        lambda home: home.lake.delete("rejects", FOLDER),
        "missing_partition",
        "rejects",
        "has no file",
    ),
    "half-written partition": (
        leave(*PARTITION, ".data.parquet-1a2b.tmp"),
        "temporary_file",
        "captions",
        "left by a run that was killed",
    ),
    "half-written batch": (
        leave("pending", "captions", FOLDER, ".000001.parquet-1a2b.tmp"),
        "temporary_file",
        "captions",
        "left by a run that was killed",
    ),
    "half-written proxy": (leave("proxies", "aa", ".aa-1.tmp"), "temporary_file", "proxies", "delete it"),
    "copy of a file": (leave(*PARTITION, "data (1).parquet"), "unknown_file", "captions", "move it away"),
    "proxy": (
        lambda home: (home.root / proxy_of(IDS[0])).unlink(),
        "missing_proxy",
        "proxies",
        "is gone",
    ),
    "folder that is not registered": (
        lambda home: home.forget(FOLDER),
        "unknown_folder",
        None,
        "is not registered",
    ),
    "registration": (
        lambda home: (home.root / "folders" / f"{FOLDER}.json").write_text("{"),
        "damaged_registration",
        None,
        "does not describe a folder",
    ),
}


def run(home: Home, *options: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["verify", "--json", "--home", str(home.root), *options])
    told: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, told


@pytest.mark.parametrize("options", [(), ("--deep",)])
def test_a_sound_home_has_no_findings(home: Home, options: tuple[str, ...]) -> None:
    code, told = run(home, *options)
    assert (code, told["findings"], told["faults"]) == (0, [], 0)
    assert told["partitions"] == 8
    assert told["rows"] == 3 + 1 + 3 + 3 + 6 + 2 + 4 + 2


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_alone_and_says_what_to_do(home: Home, fault: str) -> None:
    break_it, kind, table, words = FAULTS[fault]
    break_it(home)
    code, told = run(home)
    (finding,) = told["findings"]
    assert code == 1
    assert (finding["kind"], finding["table"], finding["is_fault"]) == (kind, table, True)
    assert words in finding["sentence"]
    assert FOLDER in finding["sentence"] or finding["file"] in finding["sentence"]


def test_what_is_damaged_inside_is_found_by_deep(home: Home) -> None:
    path = home.lake.data_file("captions", FOLDER)
    content = bytearray(path.read_bytes())
    content[content.index(b"a bowl")] ^= 1  # not in a key column
    path.write_bytes(content)
    proxy = home.root / proxy_of(IDS[0])
    proxy.write_bytes(proxy.read_bytes()[:100])
    assert run(home)[0] == 0
    code, told = run(home, "--deep")
    assert code == 1
    assert {(found["kind"], found["file"]) for found in told["findings"]} == {
        ("damaged_file", str(path)),
        ("damaged_proxy", str(proxy)),
    }


def test_what_a_run_leaves_or_is_writing_is_information(home: Home) -> None:
    lake = home.lake
    (lake.pending("captions", FOLDER)).mkdir(parents=True)
    (lake.pending("captions", FOLDER) / "000001.parquet").write_bytes(b"")
    (home.root / "proxies" / "aa" / f"{'e' * 32}-1.jpg").write_bytes(b"")
    leave("proxies", "aa", ".aa-1.tmp", age_s=0)(home)
    with lake.locked("captions", FOLDER):
        leave(*PARTITION, ".data.parquet-1a2b.tmp")(home)
        code, told = run(home)
    assert code == 0
    assert sorted(found["kind"] for found in told["findings"]) == [
        "being_written",
        "pending_batches",
        "proxies_without_row",
        "temporary_file",
    ]
    assert not any(found["is_fault"] for found in told["findings"])


def test_a_person_reads_sentences(home: Home) -> None:
    assert verify_home(home).findings == ()
    home.lake.delete("rejects", FOLDER)
    result = CliRunner().invoke(app, ["verify", "--home", str(home.root)])
    assert result.exit_code == 1
    assert f"rejects of folder {FOLDER} has no file" in result.stdout
    assert result.stdout.endswith("7 files of the lake were looked at: 1 faults.\n")


def test_a_place_without_a_lake_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", "--home", str(tmp_path)])
    assert result.exit_code == 1
    assert "There is no lake in" in result.output


def test_every_table_of_a_folder_has_a_rule() -> None:
    graph = defs.resolve_asset_graph()
    per_folder = {
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if graph.get(key).partitions_def == folder_partitions
    }
    files = {"contact_sheet"} | {name for name in per_folder if name.startswith("export_")}
    assert per_folder - files == set(PER_FOLDER_TABLES)
