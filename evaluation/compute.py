"""The figures of a run, part by part, each from the tables of the lake that it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from evaluation import from_lake
from evaluation.figures import HEADLINE_K, Figures, LaneFigures, Share, Throughput
from evaluation.metrics.ablation import Rung, ladder
from evaluation.metrics.bootstrap import interval95, resampled_sums
from evaluation.metrics.captions import NamedObjects, named_objects
from evaluation.metrics.grounding import GroundingEvaluation, Matching, grounding_recall, match_regions
from evaluation.metrics.masks import MaskFigures, mask_figures
from evaluation.metrics.ocr import read_signs, sign_recall
from evaluation.metrics.phrase_grounding import PhraseFigure, grounded_phrases, phrase_grounding
from evaluation.metrics.recall_at_k import pair_up, recall_at_k, true_ranks
from evaluation.options import found_regions, option_tables
from resources.lake import Lake
from resources.workspace import Workspace

# Files of one content are one image, with the signs of its first name.
_SIGNS = """
select id, text, bbox from signs
join (select id, min(file_name) as file_name from names semi join signs using (file_name) group by id)
using (file_name)
order by all
"""


def evaluate(workspace: Workspace, throughput: Mapping[str, Throughput]) -> Figures:
    """All figures that the tables of the lake allow."""
    lake = workspace.lake
    from_lake.require_answers(lake, "tag_scores", "tag scores")
    embeddings, final = from_lake.embedding_scores(lake), from_lake.final_tags(lake)
    tags = embeddings if final is None else final
    concepts = set(lake.read("ground_truth_concepts")["concept_id"].to_pylist())
    wider = {concept.id for concept in workspace.taxonomy.concepts} - concepts
    of_embeddings = from_lake.evaluate_tags(workspace, embeddings)
    grounding, masks = regions(lake)
    texts = _Texts(workspace)
    return Figures(
        tier=workspace.tier.name,
        images=lake.read("ground_truth_images").num_rows,
        rejects=lake.read_all("rejects", ["path"]).num_rows,
        tags=of_embeddings if final is None else from_lake.evaluate_tags(workspace, final),
        tags_whole_vocabulary=from_lake.evaluate_tags(workspace, tags, whole_vocabulary=True)
        if wider
        else None,
        tags_embeddings=of_embeddings,
        grounding=grounding,
        masks=masks,
        ocr=signs(workspace),
        captions=texts.named("captions", "caption"),
        schema_valid=schema_valid(lake),
        lanes=_lanes(lake, tags, texts),
        ladder=option_ladder(workspace, throughput),
        throughput=throughput,
    )


def regions(lake: Lake) -> tuple[GroundingEvaluation | None, MaskFigures | None]:
    """Recall@IoU, and mask IoU where there are masks."""
    both = _regions_to_compare(lake)
    if both is None:
        return None, None
    truth, found = both
    matching = match_regions(truth, found)
    evaluation = grounding_recall(matching, lake.read("frequency_bands"))
    return evaluation, _masks(lake, matching, truth, found)


def phrases(lake: Lake) -> tuple[PhraseFigure, ...]:
    """Top-1 accuracy of phrases by band; none where nobody drew a region or nothing was grounded."""
    both = _regions_to_compare(lake)
    return phrase_grounding(grounded_phrases(*both), lake.read("frequency_bands")) if both else ()


def true_regions(lake: Lake) -> pa.Table | None:
    """`ground_truth_regions`, None where nobody drew any."""
    truth = lake.read_or_none("ground_truth_regions")
    return truth if truth is not None and truth.num_rows else None


def option_ladder(workspace: Workspace, throughput: Mapping[str, Throughput]) -> tuple[Rung, ...]:
    lake = workspace.lake
    return ladder(
        option_tables(workspace, throughput),
        lake.read("ground_truth"),
        true_regions(lake),
        lake.read("frequency_bands"),
        lake.read("ground_truth_concepts")["concept_id"].to_pylist(),
        lake.read("ground_truth_images")["id"].to_pylist(),
    )


def schema_valid(lake: Lake) -> Share | None:
    """Of the descriptions of evaluated images, those whose first answer fits the schema."""
    asked = pc.drop_null(_of_evaluated(lake, "descriptions", ["valid"])["valid"])  # null: not asked for JSON
    valid = pc.cast(asked, pa.float64()).to_numpy()
    if len(valid) == 0:
        return None
    interval = interval95(resampled_sums(valid[:, None])[:, 0] / len(valid)) if len(valid) > 1 else None
    return Share(float(valid.mean()), len(valid), interval)


def signs(workspace: Workspace) -> Share | None:
    """Of the signs in the evaluated images, those whose text was read."""
    if not workspace.lake.folders("ocr_text"):
        return None
    from_lake.require_answers(workspace.lake, "ocr_text", "text lines")
    names = from_lake.image_names(workspace.home, workspace.settings.ground_truth_library)
    with duckdb.connect() as sql:
        sql.register("signs", read_signs(workspace.home.ground_truth_path))
        sql.register("names", names)
        there = sql.sql(_SIGNS).to_arrow_table()
    lines = _of_evaluated(workspace.lake, "ocr_text", ["id", "line", "text", "bbox"])
    recall = sign_recall(there, lines)
    return None if recall.recall is None else Share(recall.recall, recall.support, recall.ci95)


class _Texts:
    """The captions and descriptions of the evaluated images against the objects that are there."""

    def __init__(self, workspace: Workspace) -> None:
        self._lake, self._taxonomy = workspace.lake, workspace.taxonomy
        evaluated = workspace.lake.read("ground_truth_concepts")["concept_id"].to_pylist()
        self._objects = self._taxonomy.things.intersection(evaluated)
        self._present: dict[str, set[str]] = {}
        for row in workspace.lake.read("ground_truth").to_pylist():
            self._present.setdefault(row["id"], set()).add(row["concept_id"])

    def named(self, table: str, column: str, ids: set[str] | None = None) -> NamedObjects | None:
        rows = _of_evaluated(self._lake, table, ["id", column])
        texts = {row["id"]: row[column] or "" for row in rows.to_pylist() if ids is None or row["id"] in ids}
        if not texts or not self._objects:
            return None
        return named_objects(texts, self._present, self._objects, self._taxonomy)


def _regions_to_compare(lake: Lake) -> tuple[pa.Table, pa.Table] | None:
    """The true regions and those that were found; None where nobody drew any or nothing was grounded."""
    truth = true_regions(lake)
    if truth is None or not lake.folders("grounded_regions"):
        return None
    from_lake.require_answers(lake, "grounded_regions", "grounded regions")
    return truth, found_regions(lake)


def _masks(lake: Lake, matching: Matching, truth: pa.Table, found: pa.Table) -> MaskFigures | None:
    if not lake.folders("region_masks"):
        return None
    masks = _of_evaluated(lake, "region_masks", ["region_id", "height", "width", "counts"])
    return mask_figures(matching, truth, found, masks)


def _lanes(lake: Lake, tags: pa.Table, texts: _Texts) -> dict[str, LaneFigures]:
    """Figures of the images of each lane, the fast one first."""
    rows = _of_evaluated(lake, "routing", ["id", "lane", "reasons"]).to_pylist()
    truth = lake.read("ground_truth")
    concepts = lake.read("ground_truth_concepts")["concept_id"].to_pylist()
    lanes = {}
    for lane in sorted({row["lane"] for row in rows}):
        ids = {row["id"] for row in rows if row["lane"] == lane}
        lanes[lane] = LaneFigures(
            images=len(ids),
            reasons=dict(Counter(reason for row in rows if row["lane"] == lane for reason in row["reasons"])),
            tag_recall=_recall(truth, tags, concepts, ids),
            captions=texts.named("captions", "caption", ids),
            descriptions=texts.named("descriptions", "description", ids),
        )
    return lanes


def _recall(truth: pa.Table, tags: pa.Table, concepts: list[str], ids: set[str]) -> float | None:
    chosen = pa.array(sorted(ids), pa.string())
    of_lane = truth.filter(pc.is_in(truth["id"], value_set=chosen))
    if of_lane.num_rows == 0:
        return None
    pairs = pair_up(of_lane, tags.filter(pc.is_in(tags["id"], value_set=chosen)), concepts, sorted(ids))
    every = {"all": pc.is_valid(pairs.concepts).to_numpy(zero_copy_only=False)}
    return recall_at_k(pairs, true_ranks(pairs), every, (HEADLINE_K,), resamples=1).figures[0].micro


def _of_evaluated(lake: Lake, table: str, columns: list[str]) -> pa.Table:
    """Rows of the images of the ground truth, each row once; none where there is no such table."""
    if not lake.folders(table):
        return pa.table({column: pa.array([], pa.string()) for column in columns})
    names = ", ".join(columns)
    with lake.connect() as sql:
        # the same content in two folders has rows in both
        return sql.sql(
            f"select {names} from {table} semi join ground_truth_images using (id) "
            "qualify folder = min(folder) over (partition by id)"
        ).to_arrow_table()
