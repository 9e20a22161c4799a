"""`tag_recall`, and beside it `tag_figures`, `tag_ranks`, `tag_confusions`: tags against the true ones."""

from evaluation import compute
from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.figures import TagFigures
from evaluation.from_lake import TRUTH_TABLES
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.state import EVALUATED_STATE, evaluated_files
from evaluation.stored import with_figures
from resources.lake.versions import state
from resources.tables import TAG_FIGURES
from resources.workspace import Workspace


@evaluation_asset(
    "tag_recall",
    "tag_figures",
    "tag_ranks",
    "tag_confusions",
    reads=["tags", "tag_scores", *TRUTH_TABLES],
    version=4,
    kinds={"numpy"},
)
def tag_recall(workspace: Workspace) -> Made:
    measured = compute.tags(workspace)
    figures, reported = measured.figures, measured.figures.reported
    alone = figures.with_tags(TAG_FIGURES.schema.empty_table())
    return Made(
        {
            "tag_figures": reported.tags,
            "tag_ranks": measured.ranks,
            "tag_confusions": measured.confusions,
            "tag_recall": with_figures(reported.recall_rows(), TagFigures, alone),
        },
        {
            "images": reported.images,
            "ranked_concepts": reported.ranked_concepts,
            "of": "tags" if figures.embeddings else "tag_scores",
            EVALUATED_STATE: state(evaluated_files(workspace.home, workspace.settings.ground_truth_library)),
            **{f"recall@10_{f.band}": f.micro for f in reported.recall if f.k == HEADLINE_K},
            **({"gap@10": reported.gap.value} if reported.gap else {}),
        },
    )
