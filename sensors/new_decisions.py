"""The sensor that fits the home's adapter again when people have decided more."""

import dagster as dg

from resources.workspace import VistagResource, run_config
from vistag_assets.automation.adapt_job import adapt
from vistag_assets.whole_image.home_adapter import stored_home_adapter

INTERVAL_SECONDS = 60
ENOUGH = 20
"""Lines of the log: fewer change little, and each fit is a run."""


@dg.sensor(
    job_name=adapt.name,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Fits the adapter of the home again when there are {ENOUGH} decisions that it does not know.",
)
def new_decisions(vistag: VistagResource) -> dg.RunRequest | dg.SkipReason:
    """Where `vistag adapt` was never called, or is off, nothing is fitted."""
    home = vistag.resolve_home()
    adapter = stored_home_adapter(home)
    if adapter is None:
        return dg.SkipReason("The home has no adapter: vistag adapt fits one")
    new = [event.seq or 0 for event in home.decisions.since(adapter.decisions)]
    if len(new) < ENOUGH:
        return dg.SkipReason(
            f"{len(new)} decisions since the adapter was fitted; it is fitted again at {ENOUGH}"
        )
    return dg.RunRequest(run_key=f"{adapter.version} {max(new)}", run_config=run_config(home))
