"""`text_figures`: captions, descriptions and the text that was read, against what is there."""

import dagster as dg

from evaluation import compute
from evaluation.assets.declaration import declared
from evaluation.figures import TEXT_FIGURES_SCHEMA, TextFigures
from evaluation.stored import with_figures
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL


@dg.asset(
    deps=[
        "images",
        "captions",
        "descriptions",
        "ocr_text",
        "routing",
        "ground_truth",
        "ground_truth_images",
        "ground_truth_concepts",
        "tag_ranks",
    ],
    description="What captions and descriptions name of what is there, whether descriptions fit their schema, and "
    "which signs were read; of all images, and of those of each lane.",
    pool=EVALUATION_POOL,
    **declared(
        "numpy",
        version="1",
        schema=TEXT_FIGURES_SCHEMA,
        figure="what was measured",
        lane="of the images; null for all",
        value="0..1",
        support="things that the share is of",
    ),
)
def text_figures(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    figures = compute.texts(workspace)
    rows = figures.rows()
    workspace.lake.write("text_figures", with_figures(rows, TextFigures, figures))
    overall = {row["figure"]: row["value"] for row in rows.to_pylist() if row["lane"] is None}
    return dg.MaterializeResult(metadata={"dagster/row_count": rows.num_rows, **overall})
