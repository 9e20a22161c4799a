"""The classes of a closed-set detector, and the phrases that name one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resources.boxes import clip, from_corners
from resources.models.detectors.detections import Detections
from resources.models.detectors.names import normalised, places_of
from resources.text import one_line

if TYPE_CHECKING:
    from PIL import Image

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Objects:
    """What a closed-set detector saw in one image, of all its classes, n >= 0."""

    corners: NDArray[np.float32]
    """[n, 4], relative to the image: left, top, right, bottom"""
    classes: NDArray[np.int64]
    """[n]"""
    scores: NDArray[np.float32]
    """[n], 0..1"""


class KnownClasses:
    """Class names as phrases ask for them: equal but for case, hyphens and underscores.

    A phrase that names no class gets nothing. That is said once in the log, with counts.
    """

    def __init__(self, names: Mapping[int, str], model: str) -> None:
        self._model = model
        self._classes: dict[str, list[int]] = {}
        for class_, name in names.items():
            self._classes.setdefault(normalised(name), []).append(class_)
        self._said = False

    def answer(
        self,
        images: Sequence[Image.Image],
        phrases: Sequence[Sequence[str]],
        look: Callable[[list[Image.Image]], Sequence[Objects]],
    ) -> list[Detections]:
        """One `Detections` an image, of what `look` sees in those of which a class is asked.

        An image that comes several times, with other phrases each time, is looked at once.
        """
        self._say_what_is_unknown(phrases)
        asked = [self._asked(chunk) for chunk in phrases]
        wanted = {id(image): image for image, places in zip(images, asked, strict=True) if places}
        seen = dict(zip(wanted, look(list(wanted.values())), strict=True)) if wanted else {}
        return [
            _select(seen[id(image)], places) if places else Detections.none("")
            for image, places in zip(images, asked, strict=True)
        ]

    def _asked(self, chunk: Sequence[str]) -> dict[int, list[int]]:
        """Class -> places in the chunk of the phrases that name it."""
        return {
            class_: places
            for name, places in places_of(chunk).items()
            for class_ in self._classes.get(name, [])
        }

    def _say_what_is_unknown(self, phrases: Sequence[Sequence[str]]) -> None:
        asked = {phrase for chunk in phrases for phrase in chunk}
        unknown = sorted(phrase for phrase in asked if normalised(phrase) not in self._classes)
        if unknown and not self._said:
            self._said = True
            _log.warning(
                "%s knows %d classes and reads no text: %d of the %d phrases of its first images name none of them "
                "and get no region from it, as do others later. The first: %s",
                self._model, len(self._classes), len(unknown), len(asked), one_line(", ".join(unknown[:5])),
            )  # fmt: skip


def _select(seen: Objects, asked: Mapping[int, Sequence[int]]) -> Detections:
    boxes, inside = clip(from_corners(seen.corners))
    rows = [(box, place) for box in np.flatnonzero(inside) for place in asked.get(int(seen.classes[box]), [])]
    chosen = np.array([box for box, _ in rows], np.int64)
    scores = seen.scores[chosen]
    return Detections(
        boxes[chosen], np.array([place for _, place in rows], np.int64), scores, scores, prompt=""
    )
