"""From a short-list to regions: pure functions around a detector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from resources.boxes import suppress
from resources.models.detectors.detections import Detections

Asked = Mapping[str, tuple[str | None, ...]]
"""Phrase -> the concepts it stands for, in one image; phrases sorted, None for a phrase of no concept."""


def asked_of(candidates: Iterable[Mapping[str, Any]]) -> dict[str, Asked]:
    """What is asked of each image (by id), of rows of `candidates`: concepts of equal label share one phrase."""
    concepts: dict[str, dict[str, set[str | None]]] = {}
    for row in candidates:
        concepts.setdefault(row["id"], {}).setdefault(row["phrase"], set()).add(row["concept_id"])
    return {
        id_: {phrase: tuple(sorted(of[phrase], key=lambda c: (c is None, c or ""))) for phrase in sorted(of)}
        for id_, of in concepts.items()
    }


def in_chunks(phrases: Iterable[str], size: int) -> list[list[str]]:
    """The phrases in alphabetical order, `size` at a time: what is asked together depends on nothing else."""
    ordered = sorted(phrases)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def to_regions(
    id_: str,
    asked: Asked,
    chunks: Sequence[Sequence[str]],
    detections: Sequence[Detections],
    nms_iou: float,
    max_regions: int,
) -> list[dict[str, Any]]:
    """Rows of `GROUNDED_REGIONS` (all but id and fingerprint) of one image, best first.

    `detections`: one a chunk. Of boxes of one phrase that overlap by more than `nms_iou` the best stays. A phrase that stands for
    several concepts gives a region for each.
    """
    if not detections:
        return []
    phrases = [phrase for chunk in chunks for phrase in chunk]
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    boxes = np.concatenate([found.boxes_xywh for found in detections])
    classes = np.concatenate(
        [found.phrase_index + start for found, start in zip(detections, starts, strict=False)]
    )
    scores = np.concatenate([found.scores for found in detections])
    text_scores = np.concatenate([found.text_scores for found in detections])
    kept = sorted(
        suppress(boxes, scores, classes, nms_iou),
        key=lambda place: (-scores[place], classes[place], boxes[place].tolist()),
    )
    rows: list[dict[str, Any]] = []
    for place in kept:
        chunk = int(np.searchsorted(starts, classes[place], side="right")) - 1
        for concept_id in asked[phrases[classes[place]]]:
            rows.append(
                {
                    "region_id": f"{id_[:12]}-r{len(rows) + 1}",
                    "concept_id": concept_id,
                    "phrase": phrases[classes[place]],
                    "bbox": boxes[place].tolist(),
                    "score": float(scores[place]),
                    "text_score": float(text_scores[place]),
                    "prompt": detections[chunk].prompt,
                    "chunk": chunk,
                }
            )
    return rows[:max_regions]
