"""The sensor that writes exports again when what they say has changed."""

from __future__ import annotations

import hashlib

import dagster as dg

from resources.home import Home, read_settings
from resources.lake.versions import glance
from resources.workspace import VistagResource, run_config
from sensors.stale_evaluation import INTERVAL_SECONDS, UNFINISHED
from vistag_assets.exports.assets import asked_for
from vistag_assets.exports.follow import followed
from vistag_assets.exports.formats import Format
from vistag_assets.partitions import EXPORT


@dg.sensor(
    job_name=EXPORT,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Writes the exports that the home follows (vistag export FORMAT --follow) again when tags, regions or texts have "
        "changed and no run is going on."
    ),
)
def stale_exports(
    context: dg.SensorEvaluationContext, vistag: VistagResource
) -> dg.SensorResult | dg.SkipReason:
    home = vistag.resolve_home()
    formats = followed(read_settings(home))
    if not formats:
        return dg.SkipReason("The home follows no export (vistag export FORMAT --follow)")
    if going_on := context.instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)):
        return dg.SkipReason(f"Waits for the runs that are going on or queued: {going_on:,}")
    now = _state(home, formats)
    if now == context.cursor:
        return dg.SkipReason("Nothing has changed since the exports were asked for")
    asked = asked_for(home, context.instance)
    if asked is None:
        return dg.SensorResult(skip_reason="There are no images yet", cursor=now)
    request = dg.RunRequest(
        # with what was before: a state that comes back is exported again
        run_key=hashlib.sha256(f"{context.cursor} {now}".encode()).hexdigest(),
        run_config=run_config(home),
        asset_selection=asked[0],
        tags=asked[1],
    )
    return dg.SensorResult(run_requests=[request], cursor=now)


def _state(home: Home, formats: list[Format]) -> str:
    """Of all that the exports are made of."""
    lake, settings = home.lake, read_settings(home)
    tables = sorted({"images", "tags", *(table for format_ in formats for table in format_.reads)})
    files = [lake.data_file(table, key) for table in tables for key in lake.folders(table)]
    asked = f"{settings.exports!r} {settings.taxonomy} {settings.tier} {settings.languages}"
    return f"{glance(files)} {hashlib.sha256(asked.encode()).hexdigest()[:16]}"
