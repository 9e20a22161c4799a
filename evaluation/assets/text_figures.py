"""`text_figures`: captions, descriptions and the text that was read, against what is there."""

from evaluation import compute
from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.figures import TextFigures
from evaluation.stored import with_figures
from resources.workspace import Workspace


@evaluation_asset(
    "text_figures",
    reads=[
        *("images", "captions", "descriptions", "ocr_text", "routing"),
        *("ground_truth", "ground_truth_images", "ground_truth_concepts", "tag_ranks"),
    ],
    version=2,
    kinds={"numpy"},
)
def text_figures(workspace: Workspace) -> Made:
    figures = compute.texts(workspace)
    rows = figures.rows()
    overall = {row["figure"]: row["value"] for row in rows.to_pylist() if row["lane"] is None}
    return Made({"text_figures": with_figures(rows, TextFigures, figures)}, overall)
