"""What a detector found in one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """exactly what the text tower saw; a line each where it took several texts, empty where there is none"""

    @classmethod
    def none(cls, prompt: str) -> Detections:
        """Nothing found."""
        scores = np.empty(0, np.float32)
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.int64), scores, scores, prompt)

    @classmethod
    def joined(cls, parts: Sequence[Detections]) -> Detections:
        """One of several for the same image and chunk, whose text did not fit into one prompt."""
        if not parts:
            return cls.none("")
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.boxes_xywh for part in parts]),
            np.concatenate([part.phrase_index for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.text_scores for part in parts]),
            "\n".join(part.prompt for part in parts),
        )

    @classmethod
    def by_image(cls, images: int, parts: Iterable[tuple[int, Detections]]) -> list[Detections]:
        """One an image, of those of its questions: (image, what was found) each."""
        of: list[list[Detections]] = [[] for _ in range(images)]
        for image, found in parts:
            of[image].append(found)
        return [cls.joined(found) for found in of]
