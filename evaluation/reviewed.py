"""What people decided, as ground truth: figures for a library that nobody ever annotated.

A decision says of one pair of a picture and a concept whether it is there, and nothing of any other: the truth is federated
(Gupta, Dollar, Girshick, LVIS, 2019), with pairs that were verified to be there and others verified to be absent. What the
machine says is measured, before any decision changed it.

People are asked about chosen pairs, so what is found by all decisions leans to what was chosen. The decisions of the
uniform slice do not: `UniformSlice` tells them apart, and a second figure is of them alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.evaluate import FileEvaluation, evaluate_aligned
from evaluation.figures import Figures, TagFigures
from evaluation.figures_json import file_evaluation_json
from evaluation.file_report import missed_images
from evaluation.from_lake import EvaluationError
from evaluation.metrics.bands import BANDS, RARE_BAND
from evaluation.metrics.intervals import Share, ratio_interval
from evaluation.metrics.recall_at_k import HEADLINE_K, OVERALL
from evaluation.readers import Aligned, Truth
from evaluation.readers.tables import CONCEPTS, IMAGES, PAIRS, TRUE_BOXES, table_of
from evaluation.report.view import LongTailReport
from evaluation.stored_report import EXAMPLES_A_TAG
from resources.decisions import Pair
from resources.images import open_proxy
from resources.previews import thumbnail
from resources.workspace import Workspace
from vistag_assets.review.pool import Library, read_pool
from vistag_assets.review.uniform_slice import STRATA, UniformSlice

_SURE = 0.5
_SCORES = """
select id, concept_id, max(probability)::double as score from tags
where concept_id is not null and probability > 0 and list_contains($ids, id) group by all order by all
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """How many decisions stand behind the figures of a band."""

    decisions: int
    accepted: int
    rejected: int
    concepts: int
    images: int
    people: int


@dataclass(frozen=True, slots=True)
class Unbiased:
    """What the uniform slice says: as if every pair of the library had been looked at, as far as so few can tell."""

    decisions: int
    named_share: float
    """of the pairs that the machine names, those in the slice; of all other pairs `silent_share`"""
    silent_share: float
    recall: Mapping[str, Share]
    """band -> recall@HEADLINE_K"""
    precision: Share | None
    """of the tags that are given a probability of 0.5 or more, those that are right"""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Figures that stand on decisions."""

    evaluation: FileEvaluation
    behind: Mapping[str, Behind]
    unbiased: Unbiased | None
    """None where nothing of the uniform slice was decided"""


def evaluate_reviewed(workspace: Workspace) -> Reviewed:
    """What the machine says against what people decided. Raises EvaluationError where they confirmed nothing yet."""
    library, concepts = Library.read(workspace), sorted(workspace.taxonomy.by_id)
    pool = read_pool(workspace, library, 0)
    truth = replace(reviewed_truth(workspace, library), frequency=_frequency(pool))
    if truth.tags.num_rows == 0:
        raise EvaluationError(
            f"nobody has confirmed a tag in {workspace.home.root} yet, so there is nothing to find: work on the queue "
            "(vistag review queue), or decide by vistag decide"
        )
    if not workspace.lake.folders("tags"):
        raise EvaluationError(f"{workspace.home.root} holds no tags to measure: run vistag run FOLDER first")
    with workspace.lake.connect(skip_damaged=True) as sql:
        scores = sql.sql(_SCORES, params={"ids": truth.images["id"].to_pylist()}).to_arrow_table()
    known = pc.is_in(scores["concept_id"], value_set=pa.array(concepts, pa.string()))
    own = scores.filter(known)
    found = evaluate_aligned(
        Aligned(workspace.home.root, truth, own, None, scores.num_rows - own.num_rows, 0, truth.remarks)
    )
    bands = {row["concept_id"]: row["band"] for row in found.tags.tags.to_pylist()}
    behind = dict(_behind(library, bands.get))
    unbiased = _unbiased(workspace, library, pool, own, bands.get)
    return Reviewed(replace(found, remarks=(*_sentences(behind, unbiased), *found.remarks)), behind, unbiased)


def reviewed_truth(workspace: Workspace, library: Library) -> Truth:
    """The decisions as a federated ground truth, its images by content id and path.

    The evaluated vocabulary is the whole one. Boxes are those that people drew; no image is known to have all of them.
    """
    sides = _sides(workspace, {id_ for id_, _ in library.decided})
    pairs = {
        accepted: sorted(p for p, (a, _) in library.decided.items() if a == accepted)
        for accepted in (True, False)
    }
    boxes = [
        (id_, concept, [x * width, y * height, w * width, h * height], False)
        for (id_, concept), (accepted, event) in sorted(library.decided.items())
        if accepted and event.box
        for (_, width, height), (x, y, w, h) in [(sides[id_], event.box)]
    ]
    return Truth(
        workspace.home.root,
        table_of([(id_, *of) for id_, of in sides.items()], IMAGES),
        table_of([(concept, concept, None) for concept in sorted(workspace.taxonomy.by_id)], CONCEPTS),
        table_of(pairs[True], PAIRS),
        table_of(boxes, TRUE_BOXES) if boxes else None,
        negatives=table_of(pairs[False], PAIRS),
        not_exhaustive=table_of(pairs[True], PAIRS),
    )


def as_lvis(truth: Truth) -> dict[str, Any]:
    """The document of a federated truth as LVIS writes it, which `vistag evaluate` and lvis-api read.

    What is there without a box stands in `image_tags`, as in vistag's own ground truth.
    """
    number = {row["id"]: n for n, row in enumerate(truth.images.to_pylist(), start=1)}
    category = {row["concept_id"]: n for n, row in enumerate(truth.concepts.to_pylist(), start=1)}
    boxes = truth.boxes.to_pylist() if truth.boxes else []
    boxed = {(row["id"], row["concept_id"]) for row in boxes}

    def listed(pairs: pa.Table | None) -> dict[str, list[int]]:
        of: dict[str, list[int]] = {}
        for row in pairs.to_pylist() if pairs else ():
            of.setdefault(row["id"], []).append(category[row["concept_id"]])
        return of

    absent, not_exhaustive = listed(truth.negatives), listed(truth.not_exhaustive)
    return {
        "info": {"description": "decisions of people about tags: federated, not exhaustive"},
        "images": [
            {
                "id": number[row["id"]],
                "file_name": row["name"],
                "width": row["width"],
                "height": row["height"],
                "neg_category_ids": absent.get(row["id"], []),
                "not_exhaustive_category_ids": not_exhaustive.get(row["id"], []),
            }
            for row in truth.images.to_pylist()
        ],
        "categories": [{"id": n, "name": concept} for concept, n in category.items()],
        "annotations": [
            {
                "id": n,
                "image_id": number[row["id"]],
                "category_id": category[row["concept_id"]],
                "bbox": row["bbox"],
                "area": row["bbox"][2] * row["bbox"][3],
                "iscrowd": 0,
            }
            for n, row in enumerate(boxes, start=1)
        ],
        "image_tags": [
            {"image_id": number[row["id"]], "category_id": category[row["concept_id"]]}
            for row in truth.tags.to_pylist()
            if (row["id"], row["concept_id"]) not in boxed
        ],
    }


def reviewed_json(found: Reviewed) -> dict[str, Any]:
    """The figures as `vistag evaluate --json` has them, and what stands behind them."""
    return {
        **file_evaluation_json(found.evaluation),
        "decisions": {band: asdict(behind) for band, behind in found.behind.items()},
        **({"uniform_slice": asdict(found.unbiased)} if found.unbiased else {}),
    }


def reviewed_report(workspace: Workspace, found: Reviewed, created_at: datetime) -> LongTailReport:
    """The long-tail report that stands on decisions."""
    taxonomy, tags = workspace.taxonomy, found.evaluation.tags
    return LongTailReport(
        Figures(tier=workspace.tier.name, images=tags.images, rejects=0, tags=TagFigures(tags)),
        created_at=created_at,
        model=workspace.tier.encoder.name,
        taxonomy_fingerprint=taxonomy.fingerprint,
        labels=taxonomy.pref_labels,
        examples=dict(_examples(workspace, found.evaluation)),
        remarks=found.evaluation.remarks,
    )


def _frequency(pool: pa.Table) -> dict[str, float]:
    """Concept id -> how many images are expected to carry it: those that do, and the probabilities of all others.

    By decisions alone a concept would seem as common as it was asked about.
    """
    known = pc.cast(pool["accepted"], pa.float64())
    expected = pc.if_else(pool["named"], pool["probability"], 0.0)
    images = pa.table({"concept_id": pool["concept_id"], "images": pc.coalesce(known, expected)})
    sums = images.group_by("concept_id").aggregate([("images", "sum")])
    return dict(zip(sums["concept_id"].to_pylist(), sums["images_sum"].to_pylist(), strict=True))


def _sides(workspace: Workspace, ids: Collection[str]) -> dict[str, tuple[str, float, float]]:
    """Image id -> path, width and height in pixels."""
    sides: dict[str, tuple[str, float, float]] = {}
    for folder in workspace.lake.folders("images"):
        for row in workspace.lake.read("images", folder, ["id", "path", "width", "height"]).to_pylist():
            if row["id"] in ids:
                sides.setdefault(row["id"], (row["path"], row["width"], row["height"]))
    return dict(sorted(sides.items()))


def _behind(library: Library, band_of: Callable[[str], str | None]) -> Iterator[tuple[str, Behind]]:
    for band in (RARE_BAND, *(b for b in reversed(BANDS) if b != RARE_BAND), OVERALL):
        own = {pair: word for pair, word in library.decided.items() if band in (OVERALL, band_of(pair[1]))}
        if own:
            accepted = sum(accepted for accepted, _ in own.values())
            yield (
                band,
                Behind(
                    len(own),
                    accepted,
                    len(own) - accepted,
                    len({concept for _, concept in own}),
                    len({id_ for id_, _ in own}),
                    len({event.who for _, event in own.values()}),
                ),
            )


def _unbiased(
    workspace: Workspace,
    library: Library,
    pool: pa.Table,
    scores: pa.Table,
    band_of: Callable[[str], str | None],
) -> Unbiased | None:
    named = pool.filter(pool["named"])
    whole = UniformSlice.of(library, named, workspace.taxonomy.by_id)
    weight_of: dict[Pair, float] = {}
    bounds = {}
    for stratum in STRATA:
        own, bounds[stratum] = whole.complete(stratum)
        weight_of |= dict.fromkeys(own, 1 / bounds[stratum])
    if not weight_of:
        return None
    ranks = scores.sort_by(
        [("id", "ascending"), ("score", "descending"), ("concept_id", "ascending")]
    ).to_pylist()
    seen: Counter[str] = Counter()
    placed: dict[Pair, tuple[int, float]] = {}
    for row in ranks:
        seen[row["id"]] += 1
        placed[row["id"], row["concept_id"]] = seen[row["id"]], row["score"]
    true = [pair for pair in weight_of if library.decided[pair][0]]
    first = {pair for pair in true if pair in placed and placed[pair][0] <= HEADLINE_K}
    recall = {
        band: share
        for band in (*reversed(BANDS), OVERALL)
        if (share := _weighted([p for p in true if band in (OVERALL, band_of(p[1]))], first, weight_of))
    }
    sure = [pair for pair in weight_of if pair in placed and placed[pair][1] >= _SURE]
    precision = _weighted(sure, {pair for pair in sure if library.decided[pair][0]}, weight_of)
    return Unbiased(len(weight_of), bounds["named"], bounds["silent"], recall, precision)


def _weighted(
    pairs: Collection[Pair], good: Collection[Pair], weight_of: Mapping[Pair, float]
) -> Share | None:
    """The share of the weight of some pairs that the good ones among them have; its interval is over images.

    Weights are scaled to the number of pairs of one weight that say as much (Kish, 1965): an interval is not narrower for
    a few pairs that stand for many.
    """
    if not pairs:
        return None
    weights = np.array([weight_of[pair] for pair in pairs])
    scale = weights.sum() / (weights**2).sum()
    counts: dict[str, list[float]] = {}
    for pair, weight in zip(pairs, weights * scale, strict=True):
        own = counts.setdefault(pair[0], [0.0, 0.0])
        own[0] += weight * (pair in good)
        own[1] += weight
    rows = np.array([*counts.values()])
    return Share(float(rows[:, 0].sum() / rows[:, 1].sum()), len(pairs), ratio_interval(rows))


def _sentences(behind: Mapping[str, Behind], unbiased: Unbiased | None) -> Iterator[str]:
    """What stands behind the figures, in words."""
    for band, of in behind.items():
        yield (
            f"{band.capitalize()}: {of.decisions:,} decisions ({of.accepted:,} accepted, {of.rejected:,} rejected) by "
            f"{of.people:,} people, on {of.concepts:,} concepts in {of.images:,} images."
        )
    yield (
        "People were asked about chosen pairs, and what nobody looked at is not known: recall is of the true tags that "
        "were found so. Compare such figures only on the same decisions."
    )
    if unbiased is None:
        yield "Nothing of the uniform slice is decided yet: there are no figures without that bias."
        return
    figures = [f"recall@{HEADLINE_K} of {band} {_told(share)}" for band, share in unbiased.recall.items()]
    if unbiased.precision:
        figures.append(f"of tags with a probability of {_SURE} or more {_told(unbiased.precision)} are right")
    told = "; ".join(figures) or "no true tag is among them"
    yield (
        f"By chance alone (the uniform slice: {unbiased.decisions:,} decisions, {unbiased.named_share:.2%} of the tags that "
        f"the machine gives and {unbiased.silent_share:.3%} of all other pairs): {told}."
    )


def _told(share: Share) -> str:
    interval = f", 95 % {share.ci95.low:.2f} to {share.ci95.high:.2f}" if share.ci95 else ""
    return f"{share.value:.3f} ({share.support:,} tags{interval})"


def _examples(workspace: Workspace, found: FileEvaluation) -> Iterator[tuple[str, list[str]]]:
    """Rare tag -> small pictures of images on which it was confirmed and is not among the first HEADLINE_K."""
    missed = missed_images(found)
    wanted = {id_ for ids in missed.values() for id_ in ids[:EXAMPLES_A_TAG]}
    proxies = {
        row["id"]: row["path"]
        for folder in workspace.lake.folders("proxies")
        for row in workspace.lake.read("proxies", folder, ["id", "path"]).to_pylist()
        if row["id"] in wanted
    }
    for concept, ids in missed.items():
        paths = [proxies[id_] for id_ in ids[:EXAMPLES_A_TAG] if id_ in proxies]
        yield concept, [thumbnail(open_proxy(workspace.home.root, path)) for path in paths]
