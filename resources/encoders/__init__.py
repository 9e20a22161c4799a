"""Dual encoders: images and phrases into one space.

A new family is one class with the methods of `Encoder` and its rows in resources/registry/encoder.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import Device, DeviceUnavailableError, ModelUnavailableError, require_device
from resources.encoders.heads import Calibration, Platt, ScoreHead
from resources.encoders.prefetch import prefetch
from resources.encoders.spec import EncoderSpec
from resources.registry import registry

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Calibration",
    "Device",
    "DeviceUnavailableError",
    "Encoder",
    "EncoderSpec",
    "ModelUnavailableError",
    "Platt",
    "ScoreHead",
    "embed_in_batches",
    "load_encoder",
    "prefetch",
]

T = TypeVar("T")


class Encoder(Protocol):
    """A dual encoder. Making one is cheap; weights are loaded at the first embedding."""

    spec: EncoderSpec
    device: Device
    fingerprint: str

    @property
    def dimension(self) -> int: ...
    @property
    def score_head(self) -> ScoreHead: ...
    @property
    def calibration(self) -> Calibration | None: ...
    @property
    def is_loaded(self) -> bool: ...

    def load(self) -> None: ...
    def preprocess(self, image: Image.Image) -> NDArray[np.float32]: ...
    def embed_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]: ...
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@lru_cache(maxsize=2)
def load_encoder(spec: EncoderSpec, device: Device) -> Encoder:
    """The encoder of a spec, one for the process however many runs ask for it.

    Raises DeviceUnavailableError (it never falls back to the CPU) or ModelUnavailableError, before any work.
    """
    require_device(spec, device)
    encoder: Encoder = registry().family("encoder", spec.family).implementation()(spec, device)
    return encoder


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
    pixels: list[NDArray[np.float32]] = []
    for item, array in loaded:
        batch.append(item)
        pixels.append(array)
        if len(batch) == size:
            yield batch, encoder.embed_pixels(np.stack(pixels))
            batch, pixels = [], []
    if batch:
        yield batch, encoder.embed_pixels(np.stack(pixels))
