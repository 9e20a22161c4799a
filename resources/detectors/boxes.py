"""Boxes as arrays: overlap, suppression of duplicates, clipping. xywh (x, y: top left) relative to the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""[n, 4]"""
MIN_SIDE = 1e-3
"""Share of the image: about a pixel of a proxy. A thinner box marks nothing."""


def from_corners(corners: NDArray[np.floating]) -> Boxes:
    """xywh of boxes [n, 4] given as left, top, right, bottom."""
    corners = np.asarray(corners, dtype=np.float32).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def from_centres(centred: NDArray[np.floating]) -> Boxes:
    """xywh of boxes [n, 4] given as centre x, centre y, width, height."""
    centred = np.asarray(centred, dtype=np.float32).reshape(-1, 4)
    return np.concatenate([centred[:, :2] - centred[:, 2:] / 2, centred[:, 2:]], axis=1)


def clip(boxes: NDArray[np.floating]) -> tuple[Boxes, NDArray[np.bool_]]:
    """The boxes [n, 4] cut at the edges of the image, and which of them [n] are not thinner than `MIN_SIDE` then."""
    corners = np.clip(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), 0.0, 1.0)
    clipped = from_corners(corners)
    return clipped, clipped[:, 2:].min(axis=1) >= MIN_SIDE


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union [n, m] of boxes [n, 4] and [m, 4]; 0 where both are empty.

    The same for relative boxes as for their pixels: both sides scale alike.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = np.prod(np.clip(bottom_right - top_left, 0.0, None), axis=2)
    union = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(
    boxes: Boxes, scores: NDArray[np.float32], classes: NDArray[np.int64], above: float
) -> list[int]:
    """Non-maximum suppression within each class: which of the boxes [n, 4] to keep, best first.

    Greedy: a box goes if it overlaps a better one of its class that stays by an IoU greater than `above`.
    Equal scores: the one that comes first is the better. Boxes of other classes are never touched, so an
    object and its material may share a box.
    """
    kept: list[int] = []
    for which in np.unique(classes):
        waiting = np.flatnonzero(classes == which)
        waiting = waiting[np.argsort(-scores[waiting], kind="stable")]
        while waiting.size:
            best, waiting = waiting[0], waiting[1:]
            kept.append(int(best))
            waiting = waiting[iou(boxes[[best]], boxes[waiting])[0] <= above]
    return sorted(kept, key=lambda place: (-scores[place], place))
