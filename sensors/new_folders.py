"""The sensors that run what arrives, changes or comes back in the watched libraries."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from resources.home import FolderRef, Home, folder_key, read_settings
from resources.object_store import Location, ObjectPath, location
from resources.text import one_line
from resources.workspace import VistagResource, run_config
from sensors.memory import LostMemory, Memory
from sensors.watching import Findings, Looker, Place, Watch, asked_for, at_rest, run_key
from vistag_assets.automation.instance import contiguous_ranges
from vistag_assets.folder_asset import with_work
from vistag_assets.partitions import TAG_FOLDERS, add_folders, range_tags

INTERVAL_SECONDS = 30
STORE_INTERVAL_SECONDS = 300
"""Each listing of a store is a request that may have to be paid."""
STORES = "stores"
LOOK_SECONDS = 20.0
"""A look stops after this; Dagster ends a sensor after 60 seconds."""
FOLDERS_A_LOOK = 1000
"""A look also stops when so many folders have settled: they are registered, and run together."""
BRIDGED_FOLDERS = 20
"""So many folders with nothing new between two others are taken along: cheaper than loading models twice."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick found, what it asks for, and what to go on from: `place` is None where all was seen."""

    findings: Findings
    requests: list[dg.RunRequest]
    cursor: str
    place: Place | None


@dg.sensor(
    job_name=TAG_FOLDERS,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Runs the folders of the watched libraries (vistag watch FOLDER) that are new or have changed, "
        "when copying into them has ended."
    ),
)
def new_folders(
    context: dg.SensorEvaluationContext, vistag: VistagResource
) -> dg.SensorResult | dg.SkipReason:
    return _looked(context, vistag, "")


@dg.sensor(
    job_name=TAG_FOLDERS,
    minimum_interval_seconds=STORE_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Does what new_folders does for libraries on an object store (vistag watch s3://bucket/prefix), less often: "
        "each folder is a request to the store."
    ),
)
def new_folders_on_stores(
    context: dg.SensorEvaluationContext, vistag: VistagResource
) -> dg.SensorResult | dg.SkipReason:
    return _looked(context, vistag, STORES)


def _looked(
    context: dg.SensorEvaluationContext, vistag: VistagResource, sensor: str
) -> dg.SensorResult | dg.SkipReason:
    """What a sensor says after a look at its libraries."""
    home = vistag.resolve_home()
    settings = read_settings(home)
    watched = {name: location(root) for name, root in settings.watched.items()}
    libraries = {
        name: root for name, root in watched.items() if isinstance(root, ObjectPath) == (sensor == STORES)
    }
    if not libraries:
        where = (
            "on an object store: vistag watch s3://bucket/prefix"
            if sensor
            else "on a disk: vistag watch FOLDER"
        )
        return dg.SkipReason(f"No library is watched {where}")
    memory = Memory(home, sensor)
    version = context.cursor.rpartition(" ")[2] if context.cursor else None
    job = context.repository_def.get_job(TAG_FOLDERS) if context.repository_def else None
    assets = job.asset_layer.selected_asset_keys if job else ()
    done = tick(memory, libraries, settings.settle_seconds, context.instance, version, LOOK_SECONDS, assets)
    cursor = f"{_seen(done)} {done.cursor}"  # the one column of words in Dagster's row of a tick
    for trouble in done.findings.troubles:
        context.log.warning(one_line(trouble))
    if done.requests:
        context.log.info(_told(done))  # Dagster's row says how many runs; its log, what was seen
        return dg.SensorResult(run_requests=done.requests, cursor=cursor)
    return dg.SensorResult(skip_reason=_told(done), cursor=cursor)


def tick(
    memory: Memory,
    libraries: Mapping[str, Location],
    settle_s: float,
    instance: dg.DagsterInstance,
    cursor: str | None,
    look_s: float,
    assets: Collection[dg.AssetKey] = (),
) -> Tick:
    """Look for at most `look_s` seconds, register what has settled, mark what is gone, remember what was seen.

    `assets`: of the job; all of them where none are named.
    Raises KeyTaken where two libraries of one name would replace each other's rows.
    """
    home = memory.home
    watch, lost = _remembered(memory, cursor)
    end_s = time.monotonic() + look_s
    looker = Looker(
        home.root,
        settle_s,
        time.time,
        is_enough=lambda findings: time.monotonic() > end_s or len(findings.settled) >= FOLDERS_A_LOOK,
        exclude=read_settings(home).excluded,
    )
    watch, findings = looker.look(watch, libraries)
    findings.troubles += lost
    home.register(*(_ref(place, libraries) for place in findings.settled))
    home.mark_gone(*(_ref(place, libraries) for place in findings.gone))
    requests: list[dg.RunRequest] = []
    if findings.settled:
        requests = _requests(home, watch, findings.settled, instance, assets)
        watch = asked_for(watch, findings.settled)
    return Tick(findings, requests, memory.save(watch, cursor), watch.place)


def _remembered(memory: Memory, cursor: str | None) -> tuple[Watch, list[str]]:
    """What the last tick knew, and what is wrong with the file that the cursor names."""
    if cursor is None:
        return Watch(started_s=time.time()), []
    try:
        return memory.load(cursor), []
    except LostMemory as error:
        return Watch(started_s=time.time()), [f"{error}: every folder is looked at as if it were new."]


def _ref(place: Place, libraries: Mapping[str, Location]) -> FolderRef:
    return FolderRef(_key(place), place.library, str(libraries[place.library]), place.folder)


def _key(place: Place) -> str:
    return folder_key(place.library, place.folder)


def _requests(
    home: Home,
    watch: Watch,
    settled: Sequence[Place],
    instance: dg.DagsterInstance,
    assets: Collection[dg.AssetKey],
) -> list[dg.RunRequest]:
    """One run for each range of neighbouring partitions: one in all for folders that are new."""
    place_of = {_key(place): place for place in settled}
    ordered = add_folders(instance, list(place_of))
    unchanged = {_key(place) for place in at_rest(watch)}
    number = {key: index for index, key in enumerate(ordered)}
    requests = []
    for first, last in contiguous_ranges(ordered, place_of.keys(), unchanged, BRIDGED_FOLDERS):
        keys = ordered[number[first] : number[last] + 1]
        places = [place_of[key] for key in keys if key in place_of]
        tags = {
            **range_tags(first, last),
            "vistag/folders": str(len(places)),
            "vistag/library": one_line(", ".join(sorted({place.library for place in places}))),
        }
        requests.append(
            dg.RunRequest(
                run_key=run_key(watch, places),
                run_config=run_config(home),
                tags=tags,
                asset_selection=with_work(home, assets, keys) or None,
            )
        )
    return requests


def _seen(done: Tick) -> str:
    """What a look saw, in some words: what matters first, since Dagster's row shows some 20 letters of each end."""
    seen = done.findings
    counts = {
        "new": seen.new,
        "changed": len(seen.settled) - seen.new,
        "waiting": seen.changing,
        "gone": len(seen.gone),
        "in trouble": len(seen.troubles),
    }
    found = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing new"
    others = f", {seen.passed_over:,} other files" if seen.passed_over else ""
    return f"{found}; {seen.folders:,} folders, {seen.files:,} images{others}"


def _told(done: Tick) -> str:
    """What a look saw, in sentences."""
    seen, asked = done.findings, len(done.findings.settled)
    changed = asked - seen.new
    told = [
        f"Looked at {seen.folders:,} folders, {seen.files:,} image files, and passed over {seen.passed_over:,} other files.",
        f"{asked:,} folders are run: {seen.new:,} new, {changed:,} changed." if asked else "Nothing to run.",
    ]
    if seen.changing:
        told.append(
            f"{seen.changing:,} folders have just come or changed and must stay as they are for a while first."
        )
    if seen.gone:
        told.append(f"{len(seen.gone):,} folders are gone.")
    if done.place:
        told.append("There was no time for the others: the next look goes on there.")
    return " ".join([*told, *map(one_line, seen.troubles)])
