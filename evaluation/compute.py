"""The figures of a run, part by part, each from the tables of the lake that it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation import from_lake
from evaluation.figures import (
    LaneFigures,
    RegionFigures,
    TagFigures,
    TextFigures,
    Throughput,
    evaluate_pairs,
    ranked_recall,
)
from evaluation.from_lake import StoredTruth, TruthOrigin
from evaluation.metrics.ablation import AblationRow, ladder
from evaluation.metrics.captions import Counts, NamedObjects, named_objects, object_counts
from evaluation.metrics.comparison import rank_table
from evaluation.metrics.grounding import grounding_recall
from evaluation.metrics.intervals import Share, ratio_interval
from evaluation.metrics.masks import MaskFigures, mask_figures
from evaluation.metrics.matching import Matching, match_regions
from evaluation.metrics.ocr import sign_recall
from evaluation.metrics.phrase_grounding import PhraseFigure, grounded_phrases, phrase_grounding
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.options import option_tables
from evaluation.readers.ground_truth import read_signs
from evaluation.stored import figures_of
from resources.lake import Lake
from resources.workspace import Workspace

_REGIONS = """
select distinct on (id, region_id) id, region_id, concept_id, bbox, score
from grounded_regions semi join ground_truth_images using (id) order by id, region_id
"""
# Files of one content are one image, with the signs of its first name.
_SIGNS = """
select id, text, bbox from signs
join (select id, min(file_name) as file_name from names semi join signs using (file_name) group by id)
using (file_name)
order by all
"""


@dataclass(frozen=True, slots=True)
class MeasuredTags:
    """The figures of tags, and what they are made of pair by pair."""

    figures: TagFigures
    ranks: pa.Table  # `tag_ranks`
    confusions: pa.Table  # `tag_confusions`


def tags(workspace: Workspace) -> MeasuredTags:
    """The final tags, or the embeddings where there are none, against the true ones. Raises EvaluationError."""
    lake, taxonomy, truth = workspace.lake, workspace.taxonomy, StoredTruth.read(workspace.lake)
    from_lake.require_answers(lake, "tag_scores", "tag scores")
    embeddings, final = from_lake.embedding_scores(lake), from_lake.final_tags(lake)
    scored = embeddings if final is None else final
    pairs = truth.pairs(scored)
    every = [concept.id for concept in taxonomy.concepts]
    whole = None if set(every) <= set(truth.concepts) else truth.pairs(scored, ranked_among=every)
    of_keywords = absent_is_unknown(lake)
    figures = TagFigures(
        evaluate_pairs(pairs, truth.bands, absent_is_unknown=of_keywords),
        embeddings=None if final is None else ranked_recall(truth.pairs(embeddings), truth.bands),
        whole_vocabulary=None if whole is None else ranked_recall(whole, truth.bands),
        calibration={} if of_keywords else from_lake.calibration(taxonomy, truth, scored),
    )
    wrong = from_lake.tail_confusions(taxonomy, truth, scored)
    return MeasuredTags(figures, rank_table(pairs, truth.bands), wrong.slice(0, 0) if of_keywords else wrong)


def absent_is_unknown(lake: Lake) -> bool:
    """Whether the ground truth in the lake is of keywords of files."""
    origin = figures_of(lake.read("ground_truth"), TruthOrigin)
    return origin is not None and origin.of_keywords


def regions(lake: Lake) -> RegionFigures:
    """Recall@IoU, and mask IoU where there are masks. Raises EvaluationError."""
    both = _regions_to_compare(lake)
    if both is None:
        return RegionFigures()
    truth, found = both
    matching = match_regions(truth, found)
    evaluation = grounding_recall(matching, lake.read("frequency_bands"))
    return RegionFigures(evaluation, _masks(lake, matching, truth, found))


def phrases(lake: Lake) -> tuple[PhraseFigure, ...]:
    """Top-1 accuracy of phrases by band; none where nobody drew a region or nothing was grounded."""
    both = _regions_to_compare(lake)
    return phrase_grounding(grounded_phrases(*both), lake.read("frequency_bands")) if both else ()


def texts(workspace: Workspace) -> TextFigures:
    """Captions, descriptions and text in the pictures, and what routing changed. Raises EvaluationError."""
    present: dict[str, set[str]] = {}
    for row in workspace.lake.read("ground_truth").to_pylist():
        present.setdefault(row["id"], set()).add(row["concept_id"])
    captions = _object_counts(workspace, present, "captions", "caption")
    descriptions = _object_counts(workspace, present, "descriptions", "description")
    return TextFigures(
        ocr=signs(workspace),
        captions=_named(captions),
        schema_valid=schema_valid(workspace.lake),
        lanes=_lanes(workspace.lake, captions, descriptions),
    )


def option_ladder(workspace: Workspace, throughput: Mapping[str, Throughput]) -> tuple[AblationRow, ...]:
    """A row an option, of what the lake holds. Raises MissingPartition."""
    truth = StoredTruth.read(workspace.lake)
    options = option_tables(workspace, throughput)
    return ladder(options, truth.tags, truth.bands, truth.concepts, truth.images)


def schema_valid(lake: Lake) -> Share | None:
    """Of the descriptions of evaluated images, those whose first answer fits the schema."""
    asked = pc.drop_null(_of_evaluated(lake, "descriptions", ["valid"])["valid"])  # null: not asked for JSON
    valid = pc.cast(asked, pa.float64()).to_numpy()
    if len(valid) == 0:
        return None
    interval = ratio_interval(np.stack([valid, np.ones(len(valid))], axis=1))
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


def _object_counts(
    workspace: Workspace, present: Mapping[str, set[str]], table: str, column: str
) -> dict[str, Counts]:
    """Of each text of a table; none where there is no such table, or no object is evaluated."""
    evaluated = workspace.lake.read("ground_truth_concepts")["concept_id"].to_pylist()
    objects = workspace.taxonomy.things.intersection(evaluated)
    rows = _of_evaluated(workspace.lake, table, ["id", column]).to_pylist() if objects else []
    texts = {row["id"]: row[column] or "" for row in rows}
    counts = object_counts(texts, present, objects, workspace.taxonomy)
    if absent_is_unknown(workspace.lake):  # nobody can say that a mention is wrong
        return {id_: (hits, there, 0, 0) for id_, (hits, there, _, _) in counts.items()}
    return counts


def _named(counts: Mapping[str, Counts], ids: Container[str] | None = None) -> NamedObjects | None:
    """Over all texts, or over those of some images; None where there is none."""
    chosen = [of for id_, of in counts.items() if ids is None or id_ in ids]
    return named_objects(chosen) if chosen else None


def _regions_to_compare(lake: Lake) -> tuple[pa.Table, pa.Table] | None:
    """The true regions and those that were found; None where nobody drew any or nothing was grounded."""
    truth = lake.read_or_none("ground_truth_regions")
    if truth is None or truth.num_rows == 0 or not lake.folders("grounded_regions"):
        return None
    from_lake.require_answers(lake, "grounded_regions", "grounded regions")
    with lake.connect() as sql:
        return truth, sql.sql(_REGIONS).to_arrow_table()


def _masks(lake: Lake, matching: Matching, truth: pa.Table, found: pa.Table) -> MaskFigures | None:
    if not lake.folders("region_masks"):
        return None
    masks = _of_evaluated(lake, "region_masks", ["region_id", "height", "width", "counts"])
    return mask_figures(matching, truth, found, masks)


def _lanes(
    lake: Lake, captions: Mapping[str, Counts], descriptions: Mapping[str, Counts]
) -> dict[str, LaneFigures]:
    """Figures of the images of each lane, the fast one first."""
    rows, ranks = _of_evaluated(lake, "routing", ["id", "lane", "reasons"]), lake.read("tag_ranks")
    lanes = {}
    for lane in sorted(set(rows["lane"].to_pylist())):
        own = rows.filter(pc.equal(rows["lane"], lane))
        true = ranks.filter(pc.is_in(ranks["id"], value_set=own["id"].combine_chunks()))
        found = pc.sum(pc.less_equal(true["rank"], HEADLINE_K)).as_py() or 0
        ids = set(own["id"].to_pylist())
        lanes[lane] = LaneFigures(
            images=len(ids),
            reasons=dict(Counter(reason for reasons in own["reasons"].to_pylist() for reason in reasons)),
            tag_recall=found / true.num_rows if true.num_rows else None,
            captions=_named(captions, ids),
            descriptions=_named(descriptions, ids),
        )
    return lanes


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
