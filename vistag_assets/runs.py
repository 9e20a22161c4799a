"""Dagster runs from Python: what the command line starts is what the UI shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from resources.home import FolderRef, Home, folder_key
from resources.images import Survey, find_folders
from resources.metadata import ROW_COUNT
from resources.object_store import Location
from resources.workspace import open_workspace, run_config
from vistag_assets.automation.cluster import DEATHS, Need, cluster_at, run_shards, shards_of
from vistag_assets.automation.forget import Gone, let_go, mark_missing
from vistag_assets.automation.instance import contiguous_ranges, home_instance
from vistag_assets.automation.unchanged import Standing, look
from vistag_assets.definitions import defs
from vistag_assets.exports.assets import asked_for
from vistag_assets.folder_asset import with_work
from vistag_assets.ingest.carry import Elsewhere
from vistag_assets.partitions import EVALUATE, EXPORT, READ_AGAIN, TAG_FOLDERS, add_folders, range_tags
from vistag_assets.progress import Watcher, watching

# Dagster's own log goes to the run, where the UI shows it; the console is for progress.
_LONGEST_BRIDGE = 8
"""Folders with nothing to do that are looked at rather than have a run of their own begin behind them."""
_QUIET: Mapping[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class OnRay:
    """The Ray cluster that folders are run on."""

    address: str
    """of its dashboard, http://host:8265; or `local`"""
    folders: int
    """of one run at most"""
    deaths: int = DEATHS
    """of one run's processes, before it has failed"""


class NoImagesError(ValueError):
    """The folder that was given holds nothing to work on."""


@dataclass(frozen=True, slots=True)
class FolderOutcome:
    """One folder after a run, in numbers of images and of rejected files."""

    folder: FolderRef
    images: int
    rejects: int
    decoded: int
    embedded: int
    scored: int
    carried: int
    """new images of which the lake held rows already"""


@dataclass(frozen=True, slots=True)
class TagOutcome:
    """What a tagging run did. `images_per_second`, of the model, is None where it had nothing to do."""

    folders: tuple[FolderOutcome, ...]
    computed: Mapping[str, int]
    """Asset -> images it had to do something for, where there were any."""
    failed: Mapping[str, int]
    """Asset -> images that its model gave no answer for, where there were any; the next run asks again."""
    quarantined: tuple[str, ...]
    """Damaged files of the lake, by where they are now; their rows were computed again."""
    phrases_embedded: int
    images_per_second: float | None
    device: str
    gone: tuple[Gone, ...] = ()
    """Folders of the same libraries that are not there any more, sorted by key."""

    @property
    def images(self) -> int:
        return sum(folder.images for folder in self.folders)

    @property
    def rejects(self) -> int:
        return sum(folder.rejects for folder in self.folders)

    @property
    def embedded(self) -> int:
        return sum(folder.embedded for folder in self.folders)

    @property
    def carried(self) -> int:
        return sum(folder.carried for folder in self.folders)

    @property
    def scored(self) -> int:
        return sum(folder.scored for folder in self.folders)


def find_library(root: Location, library: str, home: Home, survey: Survey | None = None) -> list[FolderRef]:
    """The folders of a library that hold images, by a survey of it or a new look, and those it had before.

    Raises NotADirectoryError for a root that is no directory, NoImagesError where nothing is found, StoreError.
    """
    root = root.resolve()
    folders = survey.folders if survey else find_folders(root, home.root)
    found = {str(relative) for relative in folders}
    if not found:
        raise NoImagesError(
            f"There are no images in {root}. Give a folder that holds image files, directly or below it."
        )
    # a folder that was emptied is still to be looked at, so that its rows go
    known = [folder for folder in home.folders() if (folder.library, folder.root) == (library, str(root))]
    found |= {folder.relative for folder in known if folder.directory.is_dir()}
    return [
        FolderRef(folder_key(library, relative), library, str(root), relative) for relative in sorted(found)
    ]


def tag_folders(
    home: Home,
    folders: Sequence[FolderRef],
    watcher: Watcher,
    job_name: str = TAG_FOLDERS,
    *,
    read_again: bool = False,
    leave_unchanged: bool = False,
    ray: OnRay | None = None,
) -> TagOutcome:
    """Register the folders and materialise everything but the evaluation, or what another job says.

    Other folders of their libraries that are not there any more are marked as gone; their rows go where all of their
    pictures are in other folders now. `read_again`: also files that look as they did. `leave_unchanged`: folders that
    stand as the last run left them are no part of the run in Dagster; what is made of all folders together is brought up
    to date in any case.

    One run for each range of neighbouring partitions, which is one run but for unusual histories; each loads a
    model once at most. Raises what a stage raised; the run in Dagster has failed then. With `ray` the runs are those of
    shards, on a cluster: raises ClusterError where one of them failed.
    """
    home.register(*folders)
    missing, before = mark_missing(home, folders), Elsewhere(home.lake)
    if missing:
        _ = before.pictures  # now: the run changes what is where
    job = defs.resolve_job_def(job_name)
    looked = look(open_workspace(home), folders, job) if leave_unchanged and not read_again else None
    still = looked.unchanged if looked else {}
    keys = [folder.key for folder in folders if folder.key not in still]
    more = {READ_AGAIN: "true"} if read_again else {}
    with home_instance(home.root) as instance, watching(watcher):
        ordered = add_folders(instance, keys)
        if not keys:
            made = _of_all(home, instance, job)
        elif ray:
            made = _on_cluster(home, instance, ordered, keys, watcher, job_name, ray, more)
        else:
            made = _in_process(home, instance, ordered, keys, job_name, more, set(still))
    if looked:
        looked.remember(keys)
    return _outcome(folders, made, let_go(home, missing, before), still)


def _in_process(
    home: Home,
    instance: dg.DagsterInstance,
    ordered: Sequence[str],
    keys: Sequence[str],
    job_name: str,
    tags: Mapping[str, str],
    unchanged: Collection[str],
) -> list[dg.AssetMaterialization]:
    job = defs.resolve_job_def(job_name)
    assets = with_work(home, job.asset_layer.selected_asset_keys, keys)
    # a run has nothing to do for what is gone, and would be cut in two by it
    gone = set(home.gone_keys()).difference(keys)
    there = [key for key in ordered if key not in gone]
    results = [
        job.execute_in_process(
            instance=instance,
            run_config=_config(home),
            tags={**range_tags(first, last), **tags},
            asset_selection=assets,
        )
        for first, last in contiguous_ranges(there, keys, unchanged, _LONGEST_BRIDGE)
    ]
    return [
        _made(event) for result in results for event in result.all_events if event.is_step_materialization
    ]


def _on_cluster(
    home: Home,
    instance: dg.DagsterInstance,
    ordered: Sequence[str],
    keys: Sequence[str],
    watcher: Watcher,
    job_name: str,
    ray: OnRay,
    tags: Mapping[str, str],
) -> list[dg.AssetMaterialization]:
    """Shards of folders as runs on the cluster; then here, once, what is made of all folders together."""
    job = defs.resolve_job_def(job_name)
    of_folders, _ = _by_reach(job)
    with cluster_at(ray.address, home) as cluster:
        runs = run_shards(
            instance,
            cluster,
            shards_of(ordered, set(keys), ray.folders),
            job_name,
            assets=with_work(home, of_folders, keys),
            need=Need.of(open_workspace(home).tier),
            config=_config(home),
            tags=tags,
            on_progress=lambda done, total: watcher("Folders on the cluster", done, total),
            deaths=ray.deaths,
        )
    events = (record.dagster_event for run_id in runs for record in instance.all_logs(run_id))
    made = [_made(event) for event in events if event and event.is_step_materialization]
    return made + _of_all(home, instance, job)


def _of_all(home: Home, instance: dg.DagsterInstance, job: dg.JobDefinition) -> list[dg.AssetMaterialization]:
    """Bring up to date what is made of the lake as a whole."""
    _, of_all = _by_reach(job)
    result = job.execute_in_process(instance=instance, run_config=_config(home), asset_selection=of_all)
    return [_made(event) for event in result.all_events if event.is_step_materialization]


def _by_reach(job: dg.JobDefinition) -> tuple[list[dg.AssetKey], list[dg.AssetKey]]:
    """The assets of a job that folders need, and those that are made of the lake as a whole."""
    graph = job.asset_layer.asset_graph
    own = set(job.asset_layer.selected_asset_keys)
    waiting = [key for key in own if graph.get(key).is_partitioned]
    needed = set(waiting)
    while waiting:
        new = (graph.get(waiting.pop()).parent_keys & own) - needed
        needed |= new
        waiting += new
    return sorted(needed), sorted(own - needed)


def _made(event: dg.DagsterEvent) -> dg.AssetMaterialization:
    return event.step_materialization_data.materialization


def evaluate(home: Home) -> list[dg.AssetCheckEvaluation]:
    """Materialise the evaluation, from the home's ground truth to the report; returns the checks that failed.

    Raises what a stage raised.
    """
    with home_instance(home.root) as instance:
        job = defs.resolve_job_def(EVALUATE)
        result = job.execute_in_process(instance=instance, run_config=_config(home))
    return [check for check in result.get_asset_check_evaluations() if not check.passed]


def export(home: Home, watcher: Watcher) -> list[Mapping[str, Any]]:
    """Write the exports that the home follows; the metadata of each, with its `asset`. Raises what a stage raised."""
    with home_instance(home.root) as instance, watching(watcher):
        asked = asked_for(home, instance)
        if asked is None:
            return []
        result = defs.resolve_job_def(EXPORT).execute_in_process(
            instance=instance, run_config=_config(home), asset_selection=asked[0], tags=asked[1]
        )
    made = [_made(event) for event in result.all_events if event.is_step_materialization]
    last = {one.asset_key.to_user_string(): one for one in made}
    return [{"asset": name, **{k: v.value for k, v in one.metadata.items()}} for name, one in last.items()]


def _config(home: Home) -> dict[str, Any]:
    return {**_QUIET, **run_config(home)}


def _outcome(
    folders: Sequence[FolderRef],
    materializations: Sequence[dg.AssetMaterialization],
    gone: Sequence[Gone],
    still: Mapping[str, Standing],
) -> TagOutcome:
    of: dict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)
    for made in materializations:
        metadata = {name: value.value for name, value in made.metadata.items()}
        of[made.asset_key.to_user_string()][made.partition] = metadata
    embedded = [made for made in of["global_embeddings"].values() if "images_per_second" in made]
    seconds = sum(made["computed"] / made["images_per_second"] for made in embedded)
    return TagOutcome(
        folders=tuple(
            FolderOutcome(folder, still[folder.key].images, still[folder.key].rejects, 0, 0, 0, 0)
            if folder.key in still
            else FolderOutcome(
                folder,
                images=of["images"][folder.key][ROW_COUNT],
                rejects=of["rejects"][folder.key][ROW_COUNT],
                decoded=of["images"][folder.key]["decoded"],
                embedded=of["global_embeddings"][folder.key]["computed"],
                scored=of["tag_scores"][folder.key]["computed"],
                carried=of["images"][folder.key].get("carried", 0),
            )
            for folder in folders
        ),
        computed=_total("computed", of),
        failed=_total("failed", of),
        quarantined=tuple(
            made["quarantined"]
            for partitions in of.values()
            for made in partitions.values()
            if "quarantined" in made
        ),
        phrases_embedded=sum(made["phrases_computed"] for made in of["concept_embeddings"].values()),
        images_per_second=sum(made["computed"] for made in embedded) / seconds if seconds else None,
        device=next((made["device"] for made in embedded), ""),
        gone=tuple(gone),
    )


def _total(count: str, of: Mapping[str, Mapping[str | None, Mapping[str, Any]]]) -> dict[str, int]:
    """Asset -> the sum of a count over its partitions, where it is not 0."""
    totals = {
        asset: sum(made.get(count, 0) for made in partitions.values()) for asset, partitions in of.items()
    }
    return {asset: total for asset, total in totals.items() if total}
