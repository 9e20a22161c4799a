"""What all peers are compared by."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Recall = dict[str, float]
"""`0.5`, `rare 0.5:0.95` and so on -> 0..1."""


def mean_recall(recall: NDArray[np.float64], categories: list[dict[str, Any]]) -> Recall:
    """Mean over the categories of recall [thresholds, categories], -1 for none: of all and of each LVIS band."""
    from evaluation.metrics.bands import LVIS_BANDS
    from evaluation.metrics.grounding import IOU_NAMES

    frequency = np.array([category["frequency"] for category in categories])
    chosen = {"": frequency != "", **{f"{band} ": frequency == band[0] for band in LVIS_BANDS}}
    known = recall[0] > -1
    return {
        name + iou: float(recall[list(rows)][:, known & of].mean())
        for name, of in chosen.items()
        if (known & of).any()
        for iou, rows in IOU_NAMES.items()
    }
