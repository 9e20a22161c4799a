"""`grounding_recall`: regions and masks against the true ones."""

from evaluation import compute
from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.figures import RegionFigures
from evaluation.metrics.rows import figure_table
from evaluation.stored import with_figures
from resources.tables import GROUNDING_RECALL
from resources.workspace import Workspace


@evaluation_asset(
    "grounding_recall",
    reads=[
        "grounded_regions",
        "region_masks",
        "ground_truth_regions",
        "ground_truth_images",
        "frequency_bands",
    ],
    version=4,
    kinds={"numpy"},
)
def grounding_recall(workspace: Workspace) -> Made:
    figures = compute.regions(workspace.lake)
    recall = figures.grounding.recall if figures.grounding else ()
    rows = figure_table(recall, GROUNDING_RECALL.schema)
    return Made(
        {"grounding_recall": with_figures(rows, RegionFigures, figures)},
        {
            **{f"recall@{figure.iou}_{figure.band}": figure.micro for figure in recall},
            **({"regions_over_the_cap": figures.grounding.over_the_cap} if figures.grounding else {}),
            **({"mean_mask_iou": figures.masks.mean_iou} if figures.masks else {}),
        },
    )
