"""`tag_recall`, and beside it `tag_figures`, `tag_ranks`, `tag_confusions`: tags against the true ones."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from evaluation import compute
from evaluation.assets.declaration import TAGS_OF_THE_BAND, declared
from evaluation.figures import TAG_FIGURES_SCHEMA, TagFigures
from evaluation.from_lake import TRUTH_TABLES
from evaluation.metrics.comparison import RANKS_SCHEMA
from evaluation.metrics.confusions import CONFUSIONS_SCHEMA
from evaluation.metrics.recall_at_k import HEADLINE_K, TAG_RECALL_SCHEMA
from evaluation.state import EVALUATED_STATE, evaluated_files
from evaluation.stored import with_figures
from resources.lake.versions import state
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL


def _spec(name: str, schema: pa.Schema, version: str, description: str, **columns: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=["tags", "tag_scores", *TRUTH_TABLES],
        description=description,
        **declared("numpy", version=version, schema=schema, **columns),
    )


@dg.multi_asset(
    name="measure_tags",
    pool=EVALUATION_POOL,
    specs=[
        _spec(
            "tag_recall",
            TAG_RECALL_SCHEMA,
            "3",
            "Recall@1/5/10/20 of head, body, tail and overall, with supports, ceilings and intervals: "
            "of the final tags, or of the embeddings alone where there are none.",
            tags=TAGS_OF_THE_BAND,
        ),
        _spec(
            "tag_figures",
            TAG_FIGURES_SCHEMA,
            "1",
            "How well each tag of the vocabulary was recovered.",
            images="that carry the tag",
            rank="1 = on the most images, ties by concept_id",
            found=f"images that carry it and have it among their first {HEADLINE_K} tags",
            recall="found / images; null without support",
            best_rank="on the images that carry it; null where it was never suggested there",
            average_precision="0..1; null without support",
        ),
        _spec(
            "tag_ranks",
            RANKS_SCHEMA,
            "1",
            "One row a true tag of an image: its rank among the suggestions there.",
            rank="1 = best; null where it was not suggested",
        ),
        _spec(
            "tag_confusions",
            CONFUSIONS_SCHEMA,
            "1",
            "Of each rare tag that is missed somewhere, the wrong tags of its facet that took its place.",
            images="that carry the tag",
            missed=f"of those, it is not among the first {HEADLINE_K}",
            instead="concept id; null where no wrong tag of its facet is among the first",
            times="missed images on which `instead` is",
        ),
    ],
)
def tag_recall(vistag: VistagResource) -> Iterator[dg.MaterializeResult[None]]:
    workspace = vistag.open()
    measured = compute.tags(workspace)
    figures, reported = measured.figures, measured.figures.reported
    tables = {
        "tag_figures": reported.tags,
        "tag_ranks": measured.ranks,
        "tag_confusions": measured.confusions,
        "tag_recall": with_figures(
            reported.recall_rows(), TagFigures, figures.with_tags(TAG_FIGURES_SCHEMA.empty_table())
        ),
    }
    metadata = {
        "images": reported.images,
        "ranked_concepts": reported.ranked_concepts,
        "tier": workspace.tier.name,
        "of": "tags" if figures.embeddings else "tag_scores",
        EVALUATED_STATE: state(evaluated_files(workspace.home, workspace.settings.ground_truth_library)),
        **{f"recall@10_{figure.band}": figure.micro for figure in reported.recall if figure.k == HEADLINE_K},
        **({"gap@10": reported.gap.value} if reported.gap else {}),
    }
    for table, rows in tables.items():
        workspace.lake.write(table, rows)
        own = metadata if table == "tag_recall" else {}
        yield dg.MaterializeResult(table, metadata={"dagster/row_count": rows.num_rows, **own})
