"""What a tier says about a tagger, and what a tagger does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from resources.models.checkpoints import Loadable, ModelSpec
from resources.models.taggers.tag_list import TagList

if TYPE_CHECKING:
    from PIL import Image

OPEN_SET_FAMILIES = ("ram-plus", "ram")
OPEN_SET_THRESHOLD = 0.5
"""For things that it was not trained on, as its makers run it; without `threshold` in the tier."""
CLIP_B16 = "openai/clip-vit-base-patch16"


@dataclass(frozen=True, slots=True)
class AskedTag:
    """A thing that an open-set tagger is asked about."""

    labels: tuple[str, ...]
    """its names; descriptions of it are looked up by them"""
    phrases: tuple[str, ...]
    """the texts that say it, where there are no descriptions"""


class TaggerSpec(ModelSpec["Tagger"]):
    """One tagger."""

    role: ClassVar[str] = "tagger"
    batch_size: PositiveInt = 8
    min_score: float = Field(0.02, ge=0, le=1)
    """Scores below are not kept in the lake; 0 keeps the score of every tag for every image."""
    threshold: float | None = Field(None, gt=0, le=1)
    """From which score on a tag counts as seen; None: its makers' own, for each tag."""
    open_set: bool = False
    """Of RAM++ and RAM: asks the labels of your vocabulary in the place of its own tags."""
    text_model: str = CLIP_B16
    """Of open_set alone: the CLIP whose text tower the tagger was trained beside; an id of the hub or a directory."""

    @model_validator(mode="after")
    def _open_set_is_of_ram(self) -> Self:
        if self.open_set and self.family not in OPEN_SET_FAMILIES:
            raise ValueError(
                f"open_set is for {' and '.join(OPEN_SET_FAMILIES)}; {self.family} has tags of its own alone: leave it out"
            )
        if self.text_model != CLIP_B16 and not self.open_set:
            raise ValueError("text_model is read with `open_set: true` alone: add that, or leave it out")
        return self


class Tagger(Loadable, Protocol):
    """A tagger."""

    spec: TaggerSpec

    @property
    def tag_list(self) -> TagList:
        """Its own tags. Small files are read for it, and no weights."""
        ...

    def score(
        self, images: Sequence[Image.Image], asked: tuple[AskedTag, ...] | None = None
    ) -> NDArray[np.float32]:
        """float32 [images, tags], 0..1: every score, of its own tags or of what is asked (`spec.open_set`).

        What an image gets does not depend on its batch-mates.
        """
        ...
