"""`vistag adapt` as a job: the home's adapter, fitted again to what people have said since."""

import dagster as dg

from resources.workspace import VistagResource
from vistag_assets.tags.adapting import refit_home_adapter

ADAPT = "adapt"


@dg.op(description="Fits the home's adapter again to the accepted tags of the folders that it knows.")
def fit_to_decisions(context: dg.OpExecutionContext, vistag: VistagResource) -> None:
    fitted = refit_home_adapter(vistag.open())
    context.add_output_metadata(
        {
            "fitted_to": fitted.name,
            "decisions": fitted.decisions,
            "folders": len(fitted.folders),
            **fitted.policy,
        }
    )


@dg.job(name=ADAPT, description="Fits the scores of tags to what people accepted, as vistag adapt does.")
def adapt() -> None:
    fit_to_decisions()
