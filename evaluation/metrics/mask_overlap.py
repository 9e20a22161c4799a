"""Overlap of masks in place of boxes, for `matching.match_regions`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.region_tables import Rows

Rle = Mapping[str, Any]
"""COCO's compressed run lengths: size [height, width], counts."""


BOUNDARY_DILATION = 0.02
"""Width of a boundary as a share of the image's diagonal, as in the paper."""


@dataclass(frozen=True, slots=True)
class MaskOverlap:
    """Mask IoU by pycocotools, pair by pair; the masks by the rows of the two tables."""

    found: Sequence[Rle]
    true: Sequence[Rle]

    def __call__(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        return self._iou(rows, true_rows, 0)

    def in_crowd(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        return self._iou(rows, true_rows, 1)

    def _iou(self, rows: Rows, true_rows: Rows, crowd: int) -> NDArray[np.float64]:
        from pycocotools import mask as coco

        pairs = zip(rows.tolist(), true_rows.tolist(), strict=True)
        return np.array(
            [coco.iou([self.found[i]], [self.true[j]], [crowd])[0, 0] for i, j in pairs], np.float64
        )


@dataclass(frozen=True, slots=True)
class BoundaryOverlap:
    """The smaller of mask IoU and boundary IoU: Cheng et al., Boundary IoU (CVPR 2021), equations 1 and 2 and section 5.

    Large masks that agree inside hide wrong edges; within `BOUNDARY_DILATION` of the diagonal from the edge they do not.
    """

    masks: MaskOverlap
    boundaries: MaskOverlap

    @classmethod
    def of(cls, masks: MaskOverlap) -> "BoundaryOverlap":
        found, true = (list(map(boundary_of, side)) for side in (masks.found, masks.true))
        return cls(masks, MaskOverlap(found, true))

    def __call__(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        return np.minimum(self.masks(rows, true_rows), self.boundaries(rows, true_rows))

    def in_crowd(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        return np.minimum(self.masks.in_crowd(rows, true_rows), self.boundaries.in_crowd(rows, true_rows))


def boundary_of(mask: Rle) -> Rle:
    """The pixels of a mask within `BOUNDARY_DILATION` of the image's diagonal (at least one pixel) from its contour, which
    runs along the image's edges too.
    """
    import cv2
    from pycocotools import mask as coco

    inside = coco.decode(mask)
    height, width = inside.shape
    distance_px = max(1, round(BOUNDARY_DILATION * float(np.hypot(height, width))))
    framed = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=distance_px)[1:-1, 1:-1]
    return dict(coco.encode(np.asfortranarray(inside - eroded)))


def areas(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """Pixels of each: float64 [masks]."""
    from pycocotools import mask as coco

    return np.asarray(coco.area(list(masks)), np.float64) if masks else np.empty(0)
