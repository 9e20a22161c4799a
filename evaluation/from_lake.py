"""Ground truth and predictions out of the lake, into the pure functions of `evaluation`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.figures import Figures, TagEvaluation, Throughput, compute_tag_figures
from evaluation.ground_truth import GroundTruth
from resources.home import Home
from resources.lake import Lake
from resources.workbench import Workbench

EXAMPLES_A_TAG = 3

_NAMES = """
select id, path as file_name from images where list_contains($folders, folder)
union all
select id, unnest(also_at) as file_name from images where list_contains($folders, folder)
"""


class EvaluationError(ValueError):
    """The ground truth and the lake do not fit together; the message says how."""


@dataclass(frozen=True, slots=True)
class MatchedTruth:
    """A ground truth by image ids. `images_not_in_lake` of its files are in no table and not evaluated."""

    images: pa.Table
    truth: pa.Table
    concepts: pa.Table
    images_not_in_lake: int


def match_ground_truth(truth: GroundTruth, names: pa.Table) -> MatchedTruth:
    """Join a ground truth, by file name, with `names` (id, file_name).

    Files of one content become one image, with the tags of all. Raises EvaluationError where no file matches.
    """
    with duckdb.connect() as sql:
        sql.register("annotated", truth.images)
        sql.register("true_tags", truth.truth)
        sql.register("names", names)
        images = sql.sql("select distinct id from annotated join names using (file_name) order by id")
        tags = sql.sql(
            "select distinct id, concept_id from true_tags join names using (file_name) order by all"
        )
        [(missing,)] = sql.sql("from annotated anti join names using (file_name) select count(*)").fetchall()
        matched = MatchedTruth(images.to_arrow_table(), tags.to_arrow_table(), truth.concepts, missing)
    if matched.images.num_rows == 0:
        shown = ", ".join(truth.images["file_name"].slice(0, 3).to_pylist())
        raise EvaluationError(
            f"None of the {truth.images.num_rows} images of the ground truth (such as {shown}) is in the "
            "lake. Its file names must be relative to the folder that was given to vistag run."
        )
    return matched


def image_names(home: Home, library: str | None) -> pa.Table:
    """(id, file_name) of every name of every image, of one library or of all."""
    folders = [folder.key for folder in home.folders() if library in (None, folder.library)]
    with home.lake.connect() as sql:
        return sql.sql(_NAMES, params={"folders": folders}).to_arrow_table()


def predictions(lake: Lake) -> pa.Table:
    """(id, concept_id, score) for the images of the ground truth; probability is what ranks."""
    with lake.connect() as sql:
        # the same content in two folders has rows in both
        return sql.sql(
            "select id, concept_id, max(probability)::double as score from tag_scores "
            "semi join ground_truth_images using (id) group by id, concept_id order by all"
        ).to_arrow_table()


def evaluate(bench: Workbench, throughput: Mapping[str, Throughput]) -> Figures:
    """All figures. Ranked among the ground truth's concepts; among the whole vocabulary apart."""
    lake = bench.lake
    concepts = lake.read("ground_truth_concepts")["concept_id"].to_pylist()
    images = lake.read("ground_truth_images")["id"].to_pylist()
    truth, scored = lake.read("ground_truth"), predictions(lake)
    _require_scores(images, scored)
    bands = lake.read("frequency_bands")

    def figures_of(ranked_among: list[str] | None) -> TagEvaluation:
        return compute_tag_figures(
            truth, scored, concepts, images=images, ranked_among=ranked_among, bands=bands
        )

    vocabulary = [concept.id for concept in bench.taxonomy.concepts]
    return Figures(
        tier=bench.tier.name,
        images=len(images),
        rejects=lake.read_all("rejects", ["path"]).num_rows,
        tags=figures_of(None),
        tags_whole_vocabulary=figures_of(vocabulary) if set(vocabulary) - set(concepts) else None,
        throughput=throughput,
    )


def example_images(lake: Lake, tags: TagEvaluation) -> dict[str, list[str]]:
    """Proxy paths of a few images for each tail tag that was found on none of its images."""
    lost = tags.tags.filter(pc.and_(pc.equal(tags.tags["band"], "tail"), pc.equal(tags.tags["found"], 0)))[
        "concept_id"
    ]
    with lake.connect() as sql:
        rows = sql.execute(
            "select concept_id, (list(distinct proxies.path order by proxies.path))[:$count] "
            "from ground_truth join proxies using (id) where list_contains($lost, concept_id) "
            "group by concept_id",
            {"count": EXAMPLES_A_TAG, "lost": lost.to_pylist()},
        ).fetchall()
    return dict(rows)


def _require_scores(images: list[str], scored: pa.Table) -> None:
    missing = len(set(images) - set(scored["id"].to_pylist()))
    if missing:
        raise EvaluationError(
            f"{missing} of the {len(images)} images of the ground truth have no tag scores yet. "
            "Materialise tag_scores for their folders, then evaluate."
        )
