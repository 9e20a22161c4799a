"""A per-folder asset as docs/architecture.md makes one: declared in a few lines, run by Dagster like all others."""

import threading
from inspect import signature
from pathlib import Path
from typing import Annotated

import dagster as dg
import pyarrow as pa
import pytest
from PIL import Image
from small_library import draw

from resources import tables
from resources.home import Home
from resources.lake import MissingPartition, empty_ids, failed_ids
from resources.metadata import ROW_COUNT
from resources.tables import PER_FOLDER_TABLES, TABLES, Column, Table
from resources.workspace import VistagResource, open_workspace
from vistag_assets import folder_asset as module
from vistag_assets.definitions import defs
from vistag_assets.folder_asset import (
    Batch,
    Folder,
    Proxies,
    Rows,
    declared,
    folder_asset,
    in_batches,
    in_batches_of_images,
    update_table,
)
from vistag_assets.ingest.ingest import ingest
from vistag_assets.lineage import derived
from vistag_assets.partitions import FOLDERS
from vistag_assets.progress import Meter, watching
from vistag_assets.runs import find_library

BRIGHTNESS = Table(
    "brightness",
    "whole_image",
    "How bright each image is.",
    (
        tables.COMMON["id"],
        Column("mean", pa.float32(), "of the grey values, 0..255"),
        tables.COMMON["fingerprint"],
    ),
    key=("id",),
    parents=("proxies",),
)


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> dg.AssetsDefinition:
    monkeypatch.setitem(TABLES, "brightness", BRIGHTNESS)
    monkeypatch.setattr(module, "_DECLARED", dict(module._DECLARED))

    @folder_asset("Measuring brightness", version=1, kinds={"pillow"})
    def brightness(folder: Folder, proxies: Proxies, images: Annotated[pa.Table, "id", "path"]) -> Rows:
        open_image = folder.opener(proxies)
        path_of = dict(zip(images["id"].to_pylist(), images["path"].to_pylist(), strict=True))

        def measure(ids: list[str]) -> Batch:
            means = {id_: sum(open_image(id_).convert("L").resize((1, 1)).tobytes()) for id_ in ids}
            failed = {id_: "too dark" for id_ in ids if "dark" in path_of[id_]}
            rows = [
                {"id": id_, "mean": means[id_]}
                for id_ in ids
                if id_ not in failed and "plain" not in path_of[id_]
            ]
            return Batch(ids, rows, failed)

        return Rows(derived(proxies, version=folder.version), in_batches(2, measure))

    return brightness


def test_an_asset_runs_over_folders_and_tells_what_it_did(
    tmp_path: Path, brightness: dg.AssetsDefinition
) -> None:
    for folder in ("one", "two"):
        for seed, name in enumerate(("bright", "dark", "plain")):
            draw(tmp_path / "library" / folder / f"{name}.png", seed + 10 * (folder == "two"))
    home = Home(tmp_path / "home")
    folders = find_library(tmp_path / "library", "library", home)
    home.register(*folders)
    keys = [folder.key for folder in folders]

    def run() -> dict[str, dict[str, object]]:
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions(FOLDERS, keys)
            result = dg.materialize(
                [ingest, brightness],
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": keys[0],
                    "dagster/asset_partition_range_end": keys[-1],
                },
                resources={"vistag": VistagResource(home=str(home.root))},
            )
            made = [event.materialization for event in result.get_asset_materialization_events()]
        return {
            str(one.partition): {name: value.value for name, value in one.metadata.items()}
            for one in made
            if one.asset_key == dg.AssetKey("brightness")
        }

    first = run()
    assert {(first[key]["computed"], first[key]["failed"], first[key][ROW_COUNT]) for key in keys} == {
        (2, 1, 1)
    }
    assert all("dark.png" in str(first[key]["unanswered"]) for key in keys)
    rows = home.lake.read("brightness", keys[0])
    assert rows.schema.equals(BRIGHTNESS.schema)
    assert len(empty_ids(rows)) == 1
    assert list(failed_ids(rows).values()) == ["too dark"]
    second = run()
    assert {(second[key]["kept"], second[key]["computed"], second[key]["failed"]) for key in keys} == {
        (2, 0, 1)
    }


@pytest.mark.parametrize("table", PER_FOLDER_TABLES)
def test_lineage_names_the_tables_that_an_asset_is_handed(table: str) -> None:
    asset = declared(table)
    if asset is None:
        assert table in ("images", "rejects", "proxies")
        return
    handed = set(signature(asset.rows).parameters) - {"folder"}
    node = defs.resolve_asset_graph().get(dg.AssetKey(table))
    assert {key.to_user_string() for key in node.parent_keys} == handed == set(asset.inputs)


def test_a_table_that_was_never_made_is_named(tmp_path: Path) -> None:
    workspace = open_workspace(Home(tmp_path / "home"))
    with pytest.raises(MissingPartition, match="materialise proxies of folder a first"):
        update_table("global_embeddings", workspace, "a")
    with pytest.raises(LookupError, match="images is not made by a folder_asset"):
        update_table("images", workspace, "a")


@pytest.mark.parametrize("of_images", [True, False])
def test_of_steps_that_wait_for_others_the_next_begins_before_one_has_ended(of_images: bool) -> None:
    second_began = threading.Event()

    def step(ids: list[str], images: object = None) -> list[dict[str, str]]:
        if ids == ["0", "1"]:
            assert second_began.wait(60)
        else:
            second_began.set()
        return [{"id": id_} for id_ in ids]

    compute = (
        in_batches_of_images(2, lambda id_: Image.new("RGB", (1, 1)), step, at_once=2)
        if of_images
        else in_batches(2, step, at_once=2)
    )
    batches = list(compute(["0", "1", "2", "3", "4"]))
    assert [batch.ids for batch in batches] == [["0", "1"], ["2", "3"], ["4"]]


def test_a_meter_counts_once_what_threads_do_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vistag_assets.progress.time.perf_counter", lambda: now[0])
    told: list[tuple[str, int, int]] = []
    meter = Meter("Asking")
    with watching(lambda *of: told.append(of)):
        first, second = meter.folder(), meter.folder()
        with meter.timed():
            now[0] += 1
            first(1, 4)
            with meter.timed():
                now[0] += 2
                second(5, 5)
            now[0] += 4
            first(4, 4)
    now[0] += 8
    with meter.timed():
        now[0] += 16
    assert meter.seconds == 1 + 2 + 4 + 16
    assert told == [("Asking", 1, 4), ("Asking", 6, 9), ("Asking", 9, 9)]
