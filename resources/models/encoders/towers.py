"""What a library gives: the two towers of a checkpoint, and how it prepares what they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.models.encoders.heads import ScoreHead

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Pixels = Mapping[str, NDArray[Any]]
"""What the image tower reads of one image, by the name of its input: `pixel_values` float32 and what goes with it."""


class Towers(Protocol):
    """A checkpoint by the library that runs it, made with (spec, device). Making one reads small files only."""

    directory: Path

    @property
    def content(self) -> str:
        """Hash of the files that decide what it computes."""
        ...

    @property
    def dimension(self) -> int: ...
    @property
    def score_head(self) -> ScoreHead: ...

    @property
    def model(self) -> Any:
        """The weights, loaded when first asked for."""
        ...

    @property
    def preprocess(self) -> Callable[[Image.Image], Pixels]:
        """The checkpoint's own resizing and normalisation; safe to call from several threads."""
        ...

    def image_features(self, batch: Mapping[str, Tensor]) -> Tensor:
        """`[n, dimension]` of `Pixels` stacked to a batch, of any length."""
        ...

    def sent(self, text: str) -> str:
        """What the tower reads of a text: the whole, or what its length holds. No weights are needed for it."""
        ...

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """`[n, dimension]`, of any length, of texts treated as the tower was trained."""
        ...


def stack(pixels: Sequence[Pixels]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([one[name] for one in pixels]) for name in pixels[0]}
