"""Masks: what a segmenter returns, how the lake stores one, and the pixels of a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""[height, width]"""


@dataclass(frozen=True, slots=True)
class Masks:
    """One mask a box of one image."""

    masks: NDArray[np.bool_]
    """[boxes, height, width] in pixels of the image that was given"""
    scores: NDArray[np.float32]
    """[boxes], the segmenter's own estimate of its IoU, 0..1; NaN where it has none"""
    methods: tuple[str, ...]
    """[boxes], the family that drew it, or FILLED_BOX where that found nothing"""


FILLED_BOX = "box"


def encode_rle(mask: Mask) -> str:
    """A mask as the `counts` of COCO's compressed run-length encoding; height and width are kept beside it."""
    from pycocotools import mask as coco

    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def decode_rle(counts: str, height: int, width: int) -> Mask:
    """The mask `[height, width]` of COCO's compressed `counts`. Raises ValueError where they do not fill it."""
    from pycocotools import mask as coco

    try:
        mask = coco.decode({"size": [height, width], "counts": counts.encode("ascii")})
    except (ValueError, TypeError) as error:
        raise ValueError(f"no run-length encoding of {height} x {width} pixels: {counts[:40]!r}") from error
    return np.asarray(mask, dtype=np.bool_)


def box_slices(box_xywh: NDArray[np.floating], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a relative box, to the nearest pixel: at least one of each, inside the image."""
    x, y, w, h = (float(value) for value in box_xywh)
    return _span(y, y + h, height), _span(x, x + w, width)


def _span(start: float, stop: float, pixels: int) -> slice:
    first = min(max(round(start * pixels), 0), pixels - 1)
    return slice(first, min(max(round(stop * pixels), first + 1), pixels))


def grown(box_xywh: NDArray[np.floating], share: float) -> NDArray[np.float64]:
    """A box with `share` of its width and height more on every side; it may leave the image."""
    x, y, w, h = (float(value) for value in box_xywh)
    return np.array([x - share * w, y - share * h, (1 + 2 * share) * w, (1 + 2 * share) * h])


def filled_box(box_xywh: NDArray[np.floating], height: int, width: int) -> Mask:
    """The mask `[height, width]` of everything in a box."""
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[box_slices(box_xywh, height, width)] = True
    return mask


def box_fill(mask: Mask, box_xywh: NDArray[np.floating]) -> float:
    """The share of a box's pixels that a mask covers, 0..1."""
    return float(mask[box_slices(box_xywh, *mask.shape)].mean())
