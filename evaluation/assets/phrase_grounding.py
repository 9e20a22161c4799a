"""`phrase_grounding`: the best region of each concept against the true ones."""

import dagster as dg

from evaluation import compute
from evaluation.assets.declaration import TAGS_OF_THE_BAND, declared
from evaluation.metrics.phrase_grounding import PHRASE_GROUNDING_SCHEMA, PhraseFigure
from evaluation.metrics.rows import figure_table
from evaluation.stored import with_figures
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL


@dg.asset(
    deps=["grounded_regions", "ground_truth_regions", "ground_truth_images", "frequency_bands"],
    description="Of the concepts that have true regions in an image, those whose best region is on one, by band.",
    pool=EVALUATION_POOL,
    **declared(
        "numpy",
        version="2",
        schema=PHRASE_GROUNDING_SCHEMA,
        micro="share of the phrases whose best region is on a true one",
        macro="mean of that over tags",
        support="phrases: an image and a concept that has true regions in it",
        tags=TAGS_OF_THE_BAND,
    ),
)
def phrase_grounding(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    figures = compute.phrases(workspace.lake)
    rows = figure_table(figures, PHRASE_GROUNDING_SCHEMA)
    workspace.lake.write("phrase_grounding", with_figures(rows, tuple[PhraseFigure, ...], figures))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.num_rows,
            "tier": workspace.tier.name,
            **{f"accuracy_{figure.band}": figure.micro for figure in figures},
        }
    )
