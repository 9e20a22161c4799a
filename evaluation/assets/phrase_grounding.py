"""`phrase_grounding`: the best region of each concept against the true ones."""

from evaluation import compute
from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.metrics.phrase_grounding import PhraseFigure
from evaluation.metrics.rows import figure_table
from evaluation.stored import with_figures
from resources.tables import PHRASE_GROUNDING
from resources.workspace import Workspace


@evaluation_asset(
    "phrase_grounding",
    reads=["grounded_regions", "ground_truth_regions", "ground_truth_images", "frequency_bands"],
    version=3,
    kinds={"numpy"},
)
def phrase_grounding(workspace: Workspace) -> Made:
    figures = compute.phrases(workspace.lake)
    rows = figure_table(figures, PHRASE_GROUNDING.schema)
    return Made(
        {"phrase_grounding": with_figures(rows, tuple[PhraseFigure, ...], figures)},
        {f"accuracy_{figure.band}": figure.micro for figure in figures},
    )
