"""YOLO-seg and FastSAM as segmenters: masks of the things that they find themselves, matched to the boxes that are asked.

Neither takes a box. YOLO-seg is asked for the thing whose box is most like the one given, FastSAM (Zhao et al., Fast
Segment Anything, 2023) for the mask that overlaps it most. Where the box of that thing is another one, the answer is the
filled box and says so. Both are read as ultralytics exports them to ONNX; nothing of it runs here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resources.boxes import clip, iou, to_corners
from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device, ModelUnavailableError
from resources.models.segmenters.masks import FILLED_BOX, Mask, Masks, filled_box
from resources.models.segmenters.spec import SegmenterSpec
from resources.models.yolo_export import Seen, YoloExport

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
SAME_THING_IOU = 0.5
"""From which overlap of its own box with the one given a thing is the one that is meant."""
COMPARED_SIDE_PX = 256
"""Longer side of the image in which masks are compared with boxes: there may be 300 of them."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a family is asked, as its makers ask it."""

    min_score: float
    overlap: float
    """of two of its boxes, above which the weaker goes"""
    by_mask: bool
    """whether the mask is compared with the box given, and not the box"""


MANNERS = {"yolo-seg": Manner(0.25, 0.7, by_mask=False), "fastsam": Manner(0.4, 0.9, by_mask=True)}


class YoloSegmenter:
    """An .onnx file: see `YoloExport`, which raises ModelUnavailableError."""

    def __init__(self, spec: SegmenterSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._manner = MANNERS[spec.family]
        self._export = YoloExport(spec.model, spec.name, device, tasks=("segment",))
        with self._export.path.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        self.fingerprint = fingerprint(code=CODE_VERSION, family=spec.family, weights=weights)

    def load(self) -> None:
        self._export.load()

    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1); the filled box where it saw no such thing.

        The score is the model's own of the thing that it found, NaN where it found none.
        """
        manner = self._manner
        masks = np.zeros((len(boxes_xywh), image.height, image.width), dtype=np.bool_)
        if not len(boxes_xywh):
            return Masks(masks, np.zeros(0, np.float32), ())
        found = self._export.look([image], batch_size=1, min_score=manner.min_score, overlap=manner.overlap)
        ((_, seen),) = found
        if seen.prototypes is None or seen.prototypes.ndim != 3:
            raise ModelUnavailableError(
                f"{self._export.path} gives no prototypes of masks: export a -seg model"
            )
        places = _matches(seen, boxes_xywh, image.size, by_mask=manner.by_mask)
        scores, methods = np.full(len(boxes_xywh), np.nan, np.float32), []
        for number, place in enumerate(places):
            if place is None:
                masks[number] = filled_box(boxes_xywh[number], image.height, image.width)
            else:
                masks[number] = mask_of(seen, place, image.size)
                scores[number] = seen.scores[place]
            methods.append(FILLED_BOX if place is None else self.spec.family)
        return Masks(masks, scores, tuple(methods))


def _matches(
    seen: Seen, boxes_xywh: NDArray[np.float32], size: tuple[int, int], *, by_mask: bool
) -> list[int | None]:
    """For each box the thing that is meant by it; None where nothing that was seen is there."""
    if not len(seen.scores):
        return [None] * len(boxes_xywh)
    own = iou(clip(boxes_xywh)[0], clip(seen.boxes_xywh)[0])  # a detector's boxes end with the image
    likeness = _mask_iou(seen, boxes_xywh, size) if by_mask else own
    best = likeness.argmax(axis=1)
    return [int(place) if own[number, place] >= SAME_THING_IOU else None for number, place in enumerate(best)]


def _mask_iou(seen: Seen, boxes_xywh: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    """[boxes, things]: the area that a filled box and a mask share over what they cover together, in an image of `size`."""
    scale = min(1.0, COMPARED_SIDE_PX / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    masks = np.stack([mask_of(seen, place, (width, height)).ravel() for place in range(len(seen.scores))])
    filled = np.stack([filled_box(box, height, width).ravel() for box in boxes_xywh])
    masks, filled = masks.astype(np.float32), filled.astype(np.float32)
    shared = filled @ masks.T
    union = filled.sum(axis=1)[:, None] + masks.sum(axis=1) - shared
    return np.asarray(shared / union, np.float64)


def mask_of(seen: Seen, place: int, size: tuple[int, int]) -> Mask:
    """[height, width] of an image of `size` (width, height): where the thing's own logit is above 0, within its own box.

    The prototypes are sampled bilinearly at the centres of the image's pixels.
    """
    boxed, (_, rows, columns) = seen.letterbox, _prototypes(seen).shape
    width, height = size
    down = _sampling(height, boxed.top, boxed.image_height, boxed.height, rows)
    across = _sampling(width, boxed.left, boxed.image_width, boxed.width, columns)
    logits = down @ _logits(seen, place) @ across.T
    left, top, right, bottom = to_corners(seen.boxes_xywh[place : place + 1])[0] * np.array(
        [width, height, width, height]
    )
    inside = np.outer(
        (np.arange(height) >= top) & (np.arange(height) < bottom),
        (np.arange(width) >= left) & (np.arange(width) < right),
    )
    return np.asarray((logits > 0) & inside)


def _sampling(pixels: int, offset: int, length: int, outer: int, cells: int) -> NDArray[np.float64]:
    """[pixels, cells]: the share of each cell in each pixel of an image that lies from `offset` on over `length` of `outer`."""
    centres = (offset + (np.arange(pixels) + 0.5) * length / pixels) * cells / outer - 0.5
    at = np.clip(centres, 0, cells - 1)
    lower = np.minimum(at.astype(np.int64), max(cells - 2, 0))
    shares = np.zeros((pixels, cells))
    np.add.at(shares, (np.arange(pixels), lower), 1 - (at - lower))
    np.add.at(shares, (np.arange(pixels), np.minimum(lower + 1, cells - 1)), at - lower)
    return shares


def _prototypes(seen: Seen) -> NDArray[np.float32]:
    assert seen.prototypes is not None
    return seen.prototypes


def _logits(seen: Seen, place: int) -> NDArray[np.float64]:
    return np.tensordot(seen.coefficients[place].astype(np.float64), _prototypes(seen), axes=1)
