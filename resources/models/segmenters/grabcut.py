"""GrabCut, OpenCV's graph cut over two colour models (Rother, Kolmogorov and Blake, 2004): no weights, any CPU.

It knows nothing of things: it parts a box from what surrounds it by colour. It does well on a thing before a plain
background, and takes what shows through a handle, or a hard shadow, for the thing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device, ModelUnavailableError
from resources.models.segmenters.masks import FILLED_BOX, Mask, Masks, box_slices, filled_box, grown
from resources.models.segmenters.spec import SegmenterSpec

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
"""To be raised with any of the constants below."""
MARGIN = 0.25
"""Surroundings that the background's colours are learnt from, on each side, as a share of the box."""
SLACK = 0.05
"""The thing may reach this share of the box beyond its edges: boxes of a detector cut corners."""
WORKING_SIDE_PX = 256
ITERATIONS = 3
MIN_COMPONENT_SHARE = 0.05
"""Of the largest component; smaller ones are specks."""
MIN_BOX_SHARE = 0.02
"""A mask that covers less of its box is none."""
_THREADS = 2
_COLOUR_CLUSTERS = 5
"""OpenCV's; a colour model needs as many pixels."""


class GrabCut:
    """OpenCV's GrabCut behind the interface of a segmenter. It runs on the CPU, whatever the tier's device."""

    device: Device = "cpu"

    def __init__(self, spec: SegmenterSpec, device: Device) -> None:
        if spec.model != "opencv":
            raise ModelUnavailableError(
                f'The segmenter grabcut has no weights: write `model: opencv`, not "{spec.model}"'
            )
        import cv2

        self.spec = spec
        self.fingerprint = fingerprint(code=CODE_VERSION, opencv=cv2.__version__)

    def load(self) -> None:
        """There is nothing to load."""

    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1); the filled box where it finds nothing."""
        pixels = np.asarray(image.convert("RGB"))
        height, width = pixels.shape[:2]
        masks = np.zeros((len(boxes_xywh), height, width), dtype=np.bool_)
        methods = []
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="grabcut") as pool:  # OpenCV lets go of the GIL
            cut_outs = pool.map(lambda box: cut_out(pixels, box), boxes_xywh)
        for mask, box, found in zip(masks, boxes_xywh, cut_outs, strict=True):
            mask[:] = filled_box(box, height, width) if found is None else found
            methods.append(FILLED_BOX if found is None else self.spec.family)
        return Masks(masks, np.full(len(masks), np.nan, dtype=np.float32), tuple(methods))


def cut_out(pixels: NDArray[np.uint8], box_xywh: NDArray[np.floating]) -> Mask | None:
    """The mask [height, width] of the thing in a relative box of RGB pixels; None where GrabCut finds nothing."""
    import cv2

    rows, columns = box_slices(grown(box_xywh, MARGIN), *pixels.shape[:2])
    crop = pixels[rows, columns]
    scale = min(1.0, WORKING_SIDE_PX / max(crop.shape[:2]))
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    # Lab: distances between its colours are nearer to those that we see
    small = cv2.cvtColor(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)

    x, y, w, h = grown(box_xywh, SLACK) * np.tile(pixels.shape[1::-1], 2)
    inside = np.outer(_within(rows, size[1], y, y + h), _within(columns, size[0], x, x + w))
    if inside.all():  # the box is the whole image, and some pixels must be background
        inside[[0, -1], :] = inside[:, [0, -1]] = False
    if min(inside.sum(), (~inside).sum()) < _COLOUR_CLUSTERS:
        return None
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)  # its k-means starts at random; a mask is a function of its pixels
    models = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, *size)  # not read where the labels are given
    cv2.grabCut(small, labels, whole, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)

    kept = _without_specks(labels == cv2.GC_PR_FGD)
    if kept.sum() < MIN_BOX_SHARE * inside.sum():
        return None
    mask = np.zeros(pixels.shape[:2], dtype=np.bool_)
    full = cv2.resize(kept.astype(np.float32), crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    mask[rows, columns] = full > 0.5
    return mask


def _within(pixels: slice, count: int, start: float, stop: float) -> NDArray[np.bool_]:
    """Which of `count` equal steps through a range of pixels have their middle between `start` and `stop`."""
    middles = pixels.start + (np.arange(count) + 0.5) * (pixels.stop - pixels.start) / count
    return np.asarray((middles >= start) & (middles <= stop))


def _without_specks(mask: Mask) -> Mask:
    import cv2

    _, component, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the background
    return np.asarray((areas >= max(1, MIN_COMPONENT_SHARE * areas.max()))[component])
