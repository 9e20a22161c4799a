"""`ladder`: what each option of the graph would have found."""

import dagster as dg

from evaluation import compute
from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.from_lake import TRUTH_TABLES
from evaluation.metrics.ablation import AblationRow
from evaluation.metrics.rows import figure_table
from evaluation.stored import with_figures
from evaluation.throughput import measured_throughput
from resources.tables import LADDER
from resources.workspace import Workspace
from vistag_assets.tags.evidence import TABLES_OF


@evaluation_asset(
    "ladder",
    reads=[
        *(table for tables in TABLES_OF.values() for table in tables),
        *("concept_embeddings", "grounding_recall", *TRUTH_TABLES),
    ],
    version=3,
    kinds={"numpy"},
)
def ladder(workspace: Workspace, context: dg.AssetExecutionContext) -> Made:
    rows = compute.option_ladder(workspace, measured_throughput(context.instance))
    return Made(
        {"ladder": with_figures(figure_table(rows, LADDER.schema), tuple[AblationRow, ...], rows)},
        {
            "options": ", ".join(row.option for row in rows),
            **{f"tail_gain_{row.option}": row.tail_gain for row in rows if row.tail_gain is not None},
        },
    )
