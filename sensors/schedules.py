"""Schedules that a user may switch on; both are off at first. Times are UTC."""

from __future__ import annotations

import dagster as dg

from resources.workspace import VistagResource, run_config
from sensors.new_folders import BRIDGED_FOLDERS
from vistag_assets.automation.instance import contiguous_ranges
from vistag_assets.automation.verify_job import VERIFY
from vistag_assets.folder_asset import with_work
from vistag_assets.partitions import TAG_FOLDERS, add_folders, range_tags


@dg.schedule(
    job_name=TAG_FOLDERS,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night, all folders that are known and not gone, watched or not; only what is new or changed "
    "is computed.",
)
def nightly_folders(
    context: dg.ScheduleEvaluationContext, vistag: VistagResource
) -> list[dg.RunRequest] | dg.SkipReason:
    home = vistag.resolve_home()
    keys = [folder.key for folder in home.folders() if not folder.gone_since]
    if not keys:
        return dg.SkipReason("No folder is known: vistag run FOLDER, or vistag watch FOLDER")
    ordered = add_folders(context.instance, keys)
    assets = context.repository_def.get_job(TAG_FOLDERS).asset_layer.selected_asset_keys
    return [
        dg.RunRequest(
            run_config=run_config(home),
            tags=range_tags(first, last),
            run_key=_run_key(context, first),
            asset_selection=with_work(home, assets, keys),
        )
        for first, last in contiguous_ranges(ordered, keys, ordered, BRIDGED_FOLDERS)
    ]


@dg.schedule(
    job_name=VERIFY,
    cron_schedule="0 5 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Sunday, what vistag verify does.",
)
def weekly_verify(context: dg.ScheduleEvaluationContext, vistag: VistagResource) -> dg.RunRequest:
    return dg.RunRequest(run_config=run_config(vistag.resolve_home()), run_key=_run_key(context, VERIFY))


def _run_key(context: dg.ScheduleEvaluationContext, what: str) -> str:
    return f"{context.scheduled_execution_time.isoformat()} {what}"
