"""What a detector found in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Detections:
    """The boxes of one image for one chunk of phrases, n >= 0, before non-maximum suppression."""

    boxes_xywh: NDArray[np.float32]
    """[n, 4], relative to the image: x, y (top left), width, height, each 0..1"""
    phrase_index: NDArray[np.int64]
    """[n], which of the queried phrases"""
    scores: NDArray[np.float32]
    """[n], 0..1, the detector's own confidence in box and phrase"""
    text_scores: NDArray[np.float32]
    """[n], 0..1, of the phrase's tokens alone; equal to `scores` where a family has only one"""
    prompt: str
    """exactly what the text tower saw"""

    @classmethod
    def none(cls, prompt: str) -> Detections:
        """Nothing found."""
        scores = np.empty(0, np.float32)
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.int64), scores, scores, prompt)
