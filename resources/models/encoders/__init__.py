"""Dual encoders: images and phrases into one space.

A new family is its rows in resources/models/registry/encoder.yaml, and where no library here runs it a class with the
methods of `Towers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from resources.models.encoders.encoder import Encoder
from resources.models.encoders.heads import Calibration, Platt, ScoreHead
from resources.models.encoders.prefetch import prefetch
from resources.models.encoders.spec import EncoderSpec
from resources.models.encoders.towers import Pixels

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Calibration",
    "Encoder",
    "EncoderSpec",
    "Pixels",
    "Platt",
    "ScoreHead",
    "embed_in_batches",
    "prefetch",
]

T = TypeVar("T")


def embed_in_batches(
    encoder: Encoder, items: Iterable[T], open_image: Callable[[T], Image.Image], *, workers: int = 2
) -> Iterator[tuple[list[T], NDArray[np.float32]]]:
    """Yield `(items, unit-length embeddings [n, dimension])` by batches of the encoder's batch size.

    Opening and preprocessing run in `workers` threads, up to two batches ahead of the model.
    """
    size = encoder.spec.batch_size
    loaded = prefetch(
        items, lambda item: encoder.preprocess(open_image(item)), workers=workers, depth=2 * size
    )
    batch: list[T] = []
    pixels: list[Pixels] = []
    for item, one in loaded:
        batch.append(item)
        pixels.append(one)
        if len(batch) == size:
            yield batch, encoder.embed_pixels(pixels)
            batch, pixels = [], []
    if batch:
        yield batch, encoder.embed_pixels(pixels)
