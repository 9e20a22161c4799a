"""Boxes as arrays: overlap, suppression of duplicates, clipping. xywh (x, y: top left) relative to the image.

Overlaps are the same for relative boxes as for their pixels: both sides scale alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def to_corners(boxes: NDArray[np.floating]) -> NDArray[Any]:
    """Left, top, right, bottom of boxes [n, 4] given as xywh."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def clip(boxes: NDArray[np.floating]) -> tuple[Boxes, NDArray[np.bool_]]:
    """The boxes [n, 4] cut at the edges of the image, and which of them [n] are not thinner than `MIN_SIDE` then."""
    clipped = from_corners(np.clip(to_corners(boxes), 0.0, 1.0))
    return clipped, clipped[:, 2:].min(axis=1) >= MIN_SIDE


def iou(a: ArrayLike, b: ArrayLike, *, of_empty: float = 0.0) -> NDArray[np.float64]:
    """Intersection over union [n, m] of each of the boxes [n, 4] with each of [m, 4]: `paired_iou` has the conventions."""
    first, second = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    return paired_iou(first[:, None], second[None], of_empty=of_empty)


def paired_iou(
    a: NDArray[np.float64], b: NDArray[np.float64], *, of_empty: float = 0.0
) -> NDArray[np.float64]:
    """Intersection over union of each box of `a` with its partner in `b`: [..., 4] and [..., 4] to [...].

    0 where one of two boxes has no area, `of_empty` where both have none. Rounding may take it a little above 1: of
    a box thinner than the rounding of its far side more than all of it is shared.
    """
    shared = shared_area(a, b)
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - shared
    return np.divide(shared, union, out=np.full_like(shared, of_empty), where=union > 0)


def shared_area(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area that each box of `a` shares with its partner in `b`: [..., 4] and [..., 4] to [...]."""
    across, down = (
        np.minimum(a[..., near] + a[..., side], b[..., near] + b[..., side])
        - np.maximum(a[..., near], b[..., near])
        for near, side in ((0, 2), (1, 3))
    )
    return across.clip(min=0) * down.clip(min=0)


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
