"""Folders on a cluster: how they are cut into runs, what a run takes; and what is said where no cluster can be used."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterImportError
from dagster._core.events import EngineEventData
from dagster._utils.error import serializable_error_info_from_exc_info

from resources.home import Home
from resources.models.tiers import load_tier
from vistag_assets.automation.cluster import ClusterError, Need, Shard, cluster_at, shards_of, why
from vistag_assets.definitions import defs
from vistag_assets.partitions import TAG_FOLDERS
from vistag_assets.runs import _by_reach


def test_shards_are_neighbours_of_dagsters_order() -> None:
    ordered = ["c", "a", "b", "x", "d", "e", "f"]
    assert shards_of(ordered, {"a", "b", "c", "d", "e", "f"}, 2) == [
        Shard("c", "a", 2),
        Shard("b", "b", 1),  # x lies between
        Shard("d", "e", 2),
        Shard("f", "f", 1),
    ]
    assert shards_of(ordered, set(), 2) == []


def test_a_run_takes_a_card_where_its_tier_is_for_one() -> None:
    assert Need.of(load_tier("demo")) == Need(cpus=1, gpus=0)
    on_a_card = Need.of(load_tier("gpu-24gb"))
    assert on_a_card == Need(cpus=1, gpus=1)
    assert [on_a_card.fits(machine) for machine in ({"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}, {})] == [
        2,
        0,
        0,
    ]


def test_what_folders_need_goes_to_the_cluster_and_what_is_made_of_all_stays() -> None:
    of_folders, of_all = (
        {key.to_user_string() for key in keys} for keys in _by_reach(defs.resolve_job_def(TAG_FOLDERS))
    )
    assert {"images", "concept_embeddings", "tag_scores", "tags"} <= of_folders
    assert {"image_index", "region_index", "near_duplicates", "contact_sheet", "review_queue"} <= of_all
    graph = defs.resolve_asset_graph()
    assert {key for key in of_all if graph.get(dg.AssetKey(key)).is_partitioned} == set()


def test_a_cluster_needs_leases_that_its_machines_know_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("ray", "dagster_ray"):
        monkeypatch.setitem(sys.modules, package, type(sys)(package))
    with pytest.raises(ClusterError, match="leases"), cluster_at("head:8265", Home(tmp_path)):
        pass


def test_a_cluster_without_ray_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_ray", None)
    with (
        pytest.raises(ClusterError, match=r"pip install -e '\.\[ray\]'"),
        cluster_at("local", Home(tmp_path)),
    ):
        pass


@pytest.mark.parametrize("address", ["local:0", "local:two", "local:-1", "local:1.5"])
def test_a_number_of_workers_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="how many workers"), cluster_at(address, Home(tmp_path)):
        pass


def test_a_run_that_never_began_is_told_with_its_reason() -> None:
    """As one whose machine lacks a module: no step failed, since none was reached."""
    try:
        raise DagsterImportError("importing vistag_assets") from ModuleNotFoundError(
            "No module named\n'rawpy'"
        )
    except DagsterImportError:
        error = serializable_error_info_from_exc_info(sys.exc_info())
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(defs.resolve_job_def(TAG_FOLDERS))
        assert why(instance, run.run_id) == "its process was gone each time"
        instance.report_engine_event(
            "Exception while loading the job", run, EngineEventData.engine_error(error)
        )
        instance.report_run_failed(run)
        assert why(instance, run.run_id) == "ModuleNotFoundError: No module named 'rawpy'"
