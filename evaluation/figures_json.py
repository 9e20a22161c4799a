"""The figures of a run as the JSON object that scripts compare. A public interface: docs/metrics.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluation.evaluate import FileEvaluation
from evaluation.figures import Federated, Figures, LaneFigures, TagEvaluation, TextFigures
from evaluation.metrics.ablation import AblationRow
from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.f1 import F1Figure
from evaluation.metrics.grounding import HEADLINE_IOU, GroundingEvaluation
from evaluation.metrics.intervals import Interval
from evaluation.metrics.recall_at_k import HEADLINE_K, OVERALL, RecallFigure

_SUPPORT_OF = {"object_recall": "objects", "hallucination_rate": "mentions", "schema_valid": "descriptions"}


def figures_json(figures: Figures) -> dict[str, Any]:
    """The JSON object of a run. What was not measured is absent, never null or a made-up zero."""
    tags, grounding, masks = figures.tags, figures.regions.grounding, figures.regions.masks
    embeddings = tags and (tags.embeddings or tags.reported)
    ocr = figures.texts.ocr
    parts: dict[str, Any] = {
        "tier": figures.tier,
        "images": figures.images,
        "rejects": figures.rejects,
        **(_tags(tags.reported) if tags else {}),
        "tag_recall_embeddings": embeddings and _tag_recall(embeddings.recall),
        "tag_recall_whole_vocabulary": tags
        and tags.whole_vocabulary
        and _tag_recall(tags.whole_vocabulary.recall),
        **_regions(grounding),
        "phrase_grounding": {f.band: _figure(f, "micro", "macro", "support") for f in figures.phrases},
        "gap": _gap(tags.reported if tags else None, grounding),
        "masks": masks and _figure(masks, "mean_iou", "support"),
        "ocr": ocr and {"recall": ocr.value, **_figure(ocr, "support")},
        "captions": _captions(figures.texts),
        "routing": {lane: _lane(found) for lane, found in figures.texts.lanes.items()},
        "ladder": [_ablation_row(row) for row in figures.ladder],
        "throughput": {
            asset: {"images_per_second": speed.images_per_second, "device": speed.device}
            for asset, speed in figures.throughput.items()
        },
    }
    return _without_absent(parts)


def file_evaluation_json(evaluation: FileEvaluation) -> dict[str, Any]:
    """The JSON object of `vistag evaluate`: the same keys, as far as two files allow."""
    tags, grounding = evaluation.tags, evaluation.grounding
    parts = {
        "images": tags.images,
        "images_without_predictions": evaluation.images_without_predictions,
        "ignored": {
            "concept_rows": evaluation.unknown_concept_rows,
            "image_rows": evaluation.other_image_rows,
        },
        **_tags(tags),
        **_regions(grounding),
        "gap": _gap(tags, grounding),
        "grounding_by_area": {
            name: {"map": of.mean_average_precision, "recall": of.recall, "support": of.support}
            for name, of in evaluation.areas.items()
        },
        "classes": evaluation.classes.to_pylist(),
        "remarks": list(evaluation.remarks),
    }
    return _without_absent(parts)


def _gap(tags: TagEvaluation | None, grounding: GroundingEvaluation | None) -> dict[str, float]:
    gap: dict[str, float] = {}
    if tags is not None and tags.gap:
        gap[f"tag_recall@{HEADLINE_K}"] = tags.gap.value
    if grounding is not None and grounding.gap:
        gap[f"grounding_recall@{HEADLINE_IOU}"] = grounding.gap[0]
    return gap


def _tags(tags: TagEvaluation) -> dict[str, Any]:
    return {
        "bands": {
            name: {"tags": band.tags, "min_images": band.min_images, "max_images": band.max_images}
            for name, band in tags.bands.items()
        },
        "zero_support_tags": tags.zero_support_tags,
        "tag_recall": _tag_recall(tags.recall),
        **({"absent_is_unknown": True} if tags.absent_is_unknown else _precision(tags)),
    }


def _precision(tags: TagEvaluation) -> dict[str, Any]:
    """What takes the unnamed for absent."""
    return {
        "tag_map": dict(tags.mean_average_precision),
        "tag_map_floor": dict(tags.floor),
        "tag_f1": _tag_f1(tags.f1),
        **(_federated(tags.federated) if tags.federated else {}),
        "tag_f1_cut": {"first": tags.f1_cut.first, "min_score": tags.f1_cut.min_score},
    }


def _federated(found: Federated) -> dict[str, Any]:
    return {
        "federated": True,
        "tag_recall_looked_for": _tag_recall(found.recall),
        "tag_map_plain": dict(found.plain_mean_average_precision),
        "tag_f1_plain": _tag_f1(found.plain_f1),
    }


def _tag_f1(f1: Sequence[F1Figure]) -> dict[str, Any]:
    return {f.band: _figure(f, "micro", "macro", "support", "predicted") for f in f1}


def _tag_recall(recall: Sequence[RecallFigure]) -> dict[str, dict[str, Any]]:
    return _nested((f.band, str(f.k), _figure(f, "micro", "macro", "ceiling", "support")) for f in recall)


def _regions(grounding: GroundingEvaluation | None) -> dict[str, Any]:
    recall = grounding.recall if grounding else ()
    return {
        "grounding_recall": _nested((f.band, f.iou, _figure(f, "micro", "macro", "support")) for f in recall),
        "grounding_map": _nested((f.band, f.iou, f.mean_average_precision) for f in recall),
    }


def _nested(rows: Iterable[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for outer, inner, value in rows:
        nested.setdefault(outer, {})[inner] = value
    return nested


def _captions(texts: TextFigures) -> dict[str, Any]:
    shares = texts.captions.shares if texts.captions else {}
    if texts.schema_valid:
        shares["schema_valid"] = texts.schema_valid
    ci95 = {name: _bounds(share.ci95) for name, share in shares.items()}
    support = {_SUPPORT_OF[name]: share.support for name, share in shares.items()}
    return {**{name: share.value for name, share in shares.items()}, "ci95": ci95, "support": support}


def _lane(lane: LaneFigures) -> dict[str, Any]:
    return {
        "images": lane.images,
        "reasons": dict(lane.reasons),
        f"tag_recall@{HEADLINE_K}": lane.tag_recall,
        "caption_object_recall": lane.captions and lane.captions.object_recall,
        "description_object_recall": lane.descriptions and lane.descriptions.object_recall,
        "description_hallucination_rate": lane.descriptions and lane.descriptions.hallucination_rate,
    }


def _ablation_row(row: AblationRow) -> dict[str, Any]:
    return {
        "option": row.option,
        f"tag_recall@{HEADLINE_K}": {OVERALL: row.tag_recall_overall, RARE_BAND: row.tag_recall_tail},
        f"grounding_recall@{HEADLINE_IOU}": {
            OVERALL: row.grounding_recall_overall,
            RARE_BAND: row.grounding_recall_tail,
        },
        "tail_gain": row.tail_gain,
        "tail_gain_ci95": _bounds(row.tail_gain_ci95),
        "seconds_per_image": row.seconds_per_image,
    }


def _figure(figure: Any, *names: str) -> dict[str, Any]:
    return {**{name: getattr(figure, name) for name in names}, "ci95": _bounds(figure.ci95)}


def _bounds(ci95: Interval | None) -> list[float] | None:
    return [ci95.low, ci95.high] if ci95 else None


def _without_absent(part: Any) -> Any:
    if isinstance(part, Mapping):
        found = {name: _without_absent(value) for name, value in part.items()}
        return {name: value for name, value in found.items() if value is not None and value not in ({}, [])}
    return [_without_absent(value) for value in part] if isinstance(part, list) else part
