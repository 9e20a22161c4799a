"""The sensor that evaluates again when the ground truth, or the tags that it is held against, have changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import dagster as dg

from evaluation.state import EVALUATED_STATE, evaluated_files
from resources.home import read_settings
from resources.lake.versions import glance, state
from resources.workspace import VistagResource, run_config
from vistag_assets.partitions import EVALUATE

INTERVAL_SECONDS = 30
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class Seen:
    """The cursor: the glance of the last look, and glance and state of what was last evaluated; empty for none."""

    last: str = ""
    evaluated: str = ""
    state: str = ""


@dg.sensor(
    job_name=EVALUATE,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Evaluates again when the ground truth, or the tags of its library, have changed and no run is going on."
    ),
)
def stale_evaluation(
    context: dg.SensorEvaluationContext, vistag: VistagResource
) -> dg.SensorResult | dg.SkipReason:
    home = vistag.resolve_home()
    files = evaluated_files(home, read_settings(home).ground_truth_library)
    if not files:
        return dg.SkipReason(
            f"Nothing to evaluate: there are no annotations in {home.ground_truth_path}, or no tags in the lake "
            "(vistag run FOLDER --ground-truth FILE)"
        )
    if going_on := context.instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)):
        return dg.SkipReason(f"Waits for the runs that are going on or queued: {going_on:,}")
    seen, now = _seen(context.cursor), glance(files)
    if now == seen.evaluated:
        return dg.SkipReason("Ground truth and tags are as they were evaluated")
    if now != seen.last:
        return _waits("Ground truth or tags have changed; they must stay as they are for a while", now, seen)
    current = state(files)
    done = Seen(now, now, current)
    if current in (seen.state, _last_evaluated(context.instance)):
        return dg.SensorResult(
            skip_reason="Files were written again, with the content that was evaluated", cursor=_cursor(done)
        )
    request = dg.RunRequest(
        # with what was evaluated before: a state that comes back is evaluated again
        run_key=hashlib.sha256(f"{seen.state} {current}".encode()).hexdigest(),
        run_config=run_config(home),
        tags={f"vistag/{EVALUATED_STATE}": current},
    )
    return dg.SensorResult(run_requests=[request], cursor=_cursor(done))


def _waits(why: str, now: str, seen: Seen) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=_cursor(replace(seen, last=now)))


def _last_evaluated(instance: dg.DagsterInstance) -> str | None:
    """What the last evaluation was of, whoever asked for it: the command line or a person in the UI may have."""
    event = instance.get_latest_materialization_event(dg.AssetKey("tag_recall"))
    if event is None or event.asset_materialization is None:
        return None
    told = event.asset_materialization.metadata.get(EVALUATED_STATE)
    return None if told is None else str(told.value)


def _seen(cursor: str | None) -> Seen:
    return Seen(**json.loads(cursor)) if cursor else Seen()


def _cursor(seen: Seen) -> str:
    return json.dumps(asdict(seen))
