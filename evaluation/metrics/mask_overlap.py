"""Overlap of masks in place of boxes, for `matching.match_regions`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.region_tables import Rows

Rle = Mapping[str, Any]
"""COCO's compressed run lengths: size [height, width], counts."""


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


def areas(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """Pixels of each: float64 [masks]."""
    from pycocotools import mask as coco

    return np.asarray(coco.area(list(masks)), np.float64) if masks else np.empty(0)
