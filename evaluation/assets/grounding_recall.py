"""`grounding_recall`: regions and masks against the true ones."""

import dagster as dg

from evaluation import compute
from evaluation.assets.declaration import TAGS_OF_THE_BAND, declared
from evaluation.figures import RegionFigures
from evaluation.metrics.grounding import GROUNDING_RECALL_SCHEMA
from evaluation.metrics.rows import figure_table
from evaluation.stored import with_figures
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL


@dg.asset(
    deps=[
        "grounded_regions",
        "region_masks",
        "ground_truth_regions",
        "ground_truth_images",
        "frequency_bands",
    ],
    description="Recall and precision of the true regions at IoU 0.5, 0.75 and 0.5:0.95, by band, as LVIS counts.",
    pool=EVALUATION_POOL,
    **declared(
        "numpy",
        version="3",
        schema=GROUNDING_RECALL_SCHEMA,
        micro="recall over all true regions",
        support="true regions",
        tags=TAGS_OF_THE_BAND,
    ),
)
def grounding_recall(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    figures = compute.regions(workspace.lake)
    recall = figures.grounding.recall if figures.grounding else ()
    rows = figure_table(recall, GROUNDING_RECALL_SCHEMA)
    workspace.lake.write("grounding_recall", with_figures(rows, RegionFigures, figures))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.num_rows,
            "tier": workspace.tier.name,
            **{f"recall@{figure.iou}_{figure.band}": figure.micro for figure in recall},
            **({"regions_over_the_cap": figures.grounding.over_the_cap} if figures.grounding else {}),
            **({"mean_mask_iou": figures.masks.mean_iou} if figures.masks else {}),
        }
    )
