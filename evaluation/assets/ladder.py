"""`ladder`: what each option of the graph would have found."""

import dagster as dg

from evaluation import compute
from evaluation.assets.declaration import declared
from evaluation.from_lake import TRUTH_TABLES
from evaluation.metrics.ablation import LADDER_SCHEMA, AblationRow, ladder_table
from evaluation.stored import with_figures
from evaluation.throughput import measured_throughput
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL
from vistag_assets.tags.evidence import TABLES_OF


@dg.asset(
    deps=[
        *(table for tables in TABLES_OF.values() for table in tables),
        "concept_embeddings",
        "grounding_recall",
        *TRUTH_TABLES,
    ],
    description="The same images by each option, from captions alone to the full graph: tag recall@10, recall "
    "of regions, seconds an image.",
    pool=EVALUATION_POOL,
    **declared("numpy", version="2", schema=LADDER_SCHEMA),
)
def ladder(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    rows = compute.option_ladder(workspace, measured_throughput(context.instance))
    workspace.lake.write("ladder", with_figures(ladder_table(rows), tuple[AblationRow, ...], rows))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "options": ", ".join(row.option for row in rows),
            **{f"tail_gain_{row.option}": row.tail_gain for row in rows if row.tail_gain is not None},
        }
    )
