"""`vistag verify` as a job: green where nothing is wrong, red with what was found."""

from typing import Any

import dagster as dg

from resources.gpus import MODELS_POOL
from resources.markdown import markdown_table, plain_text
from resources.text import one_line
from resources.workspace import VistagResource
from vistag_assets.automation.verify import verify_home

VERIFY = "verify"
SHOWN_FINDINGS = 100


# Not a `dg.Config`: that also takes `{"env": VARIABLE}` for a value.
_CONFIG = {
    "deep": dg.Field(bool, False, description="Read every page of every file, and decode every proxy.")
}


# In the pool of the tagging runs: rows that a run has yet to write would be missing.
@dg.op(
    pool=MODELS_POOL,
    description="Looks for lost and doubled rows, damaged and half-written files.",
    config_schema=_CONFIG,
)
def look_through_the_home(context: dg.OpExecutionContext, vistag: VistagResource) -> None:
    found = verify_home(vistag.resolve_home(), deep=context.op_config["deep"])
    rows = [(finding.kind, plain_text(finding.sentence)) for finding in found.findings[:SHOWN_FINDINGS]]
    metadata: dict[str, Any] = {
        "partitions": found.partitions,
        "rows": found.rows,
        "faults": len(found.faults),
        "findings": dg.MetadataValue.md(markdown_table(["kind", "finding"], rows)),
    }
    context.add_output_metadata(metadata)
    if found.faults:
        raise dg.Failure(
            f"{len(found.faults):,} faults, the first: {one_line(found.faults[0].sentence)}",
            metadata=metadata,
            allow_retries=False,
        )


@dg.job(
    name=VERIFY,
    description="Looks through the home as vistag verify does, and fails where something is wrong.",
)
def verify() -> None:
    look_through_the_home()
