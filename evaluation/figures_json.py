"""The figures of a run as the JSON object that scripts compare. A public interface: docs/metrics.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.evaluate import FileEvaluation
from evaluation.figures import HEADLINE_K, Figures, LaneFigures, Share, TagEvaluation
from evaluation.metrics.ablation import LADDER_K, Rung
from evaluation.metrics.bootstrap import Interval
from evaluation.metrics.captions import NamedObjects
from evaluation.metrics.grounding import HEADLINE_IOU, GroundingEvaluation
from evaluation.metrics.recall_at_k import RecallFigure


def figures_json(figures: Figures) -> dict[str, Any]:
    """The JSON object of a run. What was not measured is absent, never null or a made-up zero."""
    tags, grounding = figures.tags, figures.grounding
    parts: dict[str, Any] = {
        "tier": figures.tier,
        "images": figures.images,
        "rejects": figures.rejects,
        **(_tags(tags) if tags else {}),
        "tag_recall_embeddings": figures.tags_embeddings and _tag_recall(figures.tags_embeddings.recall),
        "tag_recall_whole_vocabulary": figures.tags_whole_vocabulary
        and _tag_recall(figures.tags_whole_vocabulary.recall),
        "grounding_recall": grounding and _grounding_recall(grounding),
        "grounding_map": grounding and _grounding_map(grounding),
        "gap": _gap(tags, grounding),
        "masks": figures.masks
        and {
            "mean_iou": figures.masks.mean_iou,
            "support": figures.masks.support,
            **_ci95(figures.masks.ci95),
        },
        "ocr": figures.ocr
        and {"recall": figures.ocr.value, "support": figures.ocr.support, **_ci95(figures.ocr.ci95)},
        "captions": _captions(figures.captions, figures.schema_valid),
        "routing": {lane: _lane(found) for lane, found in figures.lanes.items()},
        "ladder": [_rung(rung) for rung in figures.ladder],
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
        "grounding_recall": grounding and _grounding_recall(grounding),
        "grounding_map": grounding and _grounding_map(grounding),
        "gap": _gap(tags, grounding),
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
        "tag_map": dict(tags.mean_average_precision),
        "tag_f1": {
            f.band: {
                "micro": f.micro,
                "macro": f.macro,
                "support": f.support,
                "predicted": f.predicted,
                **_ci95(f.ci95),
            }
            for f in tags.f1
        },
        "tag_f1_cut": {"first": tags.f1_cut.first, "min_score": tags.f1_cut.min_score},
    }


def _tag_recall(recall: Sequence[RecallFigure]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for f in recall:
        nested.setdefault(f.band, {})[str(f.k)] = {
            "micro": f.micro,
            "macro": f.macro,
            "ceiling": f.ceiling,
            "support": f.support,
            **_ci95(f.ci95),
        }
    return nested


def _grounding_recall(grounding: GroundingEvaluation) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for f in grounding.recall:
        nested.setdefault(f.band, {})[f.iou] = {
            "micro": f.micro,
            "macro": f.macro,
            "support": f.support,
            **_ci95(f.ci95),
        }
    return nested


def _grounding_map(grounding: GroundingEvaluation) -> dict[str, dict[str, float | None]]:
    nested: dict[str, dict[str, float | None]] = {}
    for f in grounding.recall:
        nested.setdefault(f.band, {})[f.iou] = f.mean_average_precision
    return nested


def _captions(named: NamedObjects | None, schema_valid: Share | None) -> dict[str, Any]:
    support = {
        "objects": named.objects if named else 0,
        "mentions": named.mentions if named else 0,
        "descriptions": schema_valid.support if schema_valid else 0,
    }
    ci95 = {
        "object_recall": named and named.recall_ci95,
        "hallucination_rate": named and named.hallucination_ci95,
        "schema_valid": schema_valid and schema_valid.ci95,
    }
    figures = {
        "object_recall": named and named.object_recall,
        "hallucination_rate": named and named.hallucination_rate,
        "schema_valid": schema_valid and schema_valid.value,
    }
    if all(value is None for value in figures.values()):
        return {}
    return {
        **figures,
        "ci95": {name: [bounds.low, bounds.high] for name, bounds in ci95.items() if bounds},
        "support": {name: count for name, count in support.items() if count},
    }


def _lane(lane: LaneFigures) -> dict[str, Any]:
    return {
        "images": lane.images,
        "reasons": dict(lane.reasons),
        f"tag_recall@{HEADLINE_K}": lane.tag_recall,
        "caption_object_recall": lane.captions and lane.captions.object_recall,
        "description_object_recall": lane.descriptions and lane.descriptions.object_recall,
        "description_hallucination_rate": lane.descriptions and lane.descriptions.hallucination_rate,
    }


def _rung(rung: Rung) -> dict[str, Any]:
    return {
        "option": rung.option,
        f"tag_recall@{LADDER_K}": dict(rung.tag_recall),
        f"grounding_recall@{HEADLINE_IOU}": dict(rung.grounding_recall),
        "tail_gain": rung.tail_gain,
        "tail_gain_ci95": rung.tail_gain_ci95 and [rung.tail_gain_ci95.low, rung.tail_gain_ci95.high],
        "seconds_per_image": rung.seconds_per_image,
    }


def _ci95(bounds: Interval | None) -> dict[str, list[float]]:
    return {"ci95": [bounds.low, bounds.high]} if bounds else {}


def _without_absent(part: Any) -> Any:
    if isinstance(part, Mapping):
        found = {name: _without_absent(value) for name, value in part.items()}
        return {name: value for name, value in found.items() if value is not None and value not in ({}, [])}
    return [_without_absent(value) for value in part] if isinstance(part, list) else part
