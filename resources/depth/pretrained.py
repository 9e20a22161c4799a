"""Depth Anything V2 and ZoeDepth through transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resources.checkpoints import (
    Device,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
    read_config,
)
from resources.depth.maps import DepthMap, Unit
from resources.depth.spec import DepthSpec
from resources.fingerprint import fingerprint

if TYPE_CHECKING:
    import torch

CODE_VERSION = "1"
THINNEST = 16
"""Sides of an image may be 1 to this at most: processors round a side that is thinner down to no pixel at all."""
FEWEST_PX = 8
"""ZoeDepth mirrors an image at its edges by three times the root of half a side; a smaller one has not that many."""


class PretrainedDepth:
    """A checkpoint of a depth model. Making one reads small files; the weights are loaded at the first image."""

    def __init__(self, spec: DepthSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.directory = checkpoint_directory(spec)
        self.fingerprint = fingerprint(
            code=CODE_VERSION, weights=content_hash(self.directory), dtype=spec.dtype
        )
        config = read_config(self.directory)
        metric = spec.family == "zoedepth" or config.get("depth_estimation_type") == "metric"
        self.unit: Unit = "metres" if metric else "relative_inverse"
        # Of its heads for indoors and outdoors ZoeDepth takes one for the whole batch, by a vote of the images in it.
        votes = len(config.get("bin_configurations") or ()) > 1
        self._batch_size = 1 if votes else spec.batch_size

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self.directory, "AutoImageProcessor")

    @cached_property
    def _model(self) -> Any:
        return load_model(self.directory, "AutoModelForDepthEstimation", self.spec.dtype, self.device)

    def load(self) -> None:
        """Load the weights now rather than at the first image."""
        _ = self._processor, self._model

    def estimate(self, images: Sequence[Image.Image]) -> list[DepthMap]:
        """The depth of each image, [height, width] of the image; `batch_size` images of one shape at a time."""
        import torch

        seen = [_thickened(image.convert("RGB")) for image in images]
        pixels = [self._processor(images=image, return_tensors="pt")["pixel_values"][0] for image in seen]
        places_of: dict[tuple[int, ...], list[int]] = {}
        for place, one in enumerate(pixels):
            places_of.setdefault(tuple(one.shape), []).append(place)
        found: dict[int, NDArray[np.float32]] = {}
        for places in places_of.values():
            for start in range(0, len(places), self._batch_size):
                batch = places[start : start + self._batch_size]
                sizes = [(seen[place].height, seen[place].width) for place in batch]
                found |= zip(
                    batch, self._forward(torch.stack([pixels[place] for place in batch]), sizes), strict=True
                )
        return [DepthMap(_resized(found[place], image.size), self.unit) for place, image in enumerate(images)]

    def _forward(self, pixels: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.float32]]:
        """Depth [height, width] by `sizes` of images that are [n, 3, h, w] to the model."""
        import torch

        model = self._model
        with torch.inference_mode():
            answer = model(pixel_values=pixels.to(device=self.device, dtype=model.dtype))
            answer.predicted_depth = answer.predicted_depth.float()
            maps = self._processor.post_process_depth_estimation(answer, sizes)
        return [one["predicted_depth"].cpu().numpy() for one in maps]


def _thickened(image: Image.Image) -> Image.Image:
    """The image; stretched across where it is thinner than a processor takes."""
    least = max(FEWEST_PX, math.ceil(max(image.size) / THINNEST))
    return (
        image
        if min(image.size) >= least
        else image.resize((max(image.width, least), max(image.height, least)))
    )


def _resized(depth: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if depth.shape == size[::-1]:
        return depth
    return np.asarray(Image.fromarray(depth).resize(size, Image.Resampling.BILINEAR))
