"""Monocular depth estimation: an image to a depth map.

A new family is one class with the methods of `DepthEstimator` and its rows in resources/models/registry/depth.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from resources.models.checkpoints import Device, require_device
from resources.models.depth.maps import DepthMap
from resources.models.depth.spec import DepthSpec
from resources.models.registry import registry

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["DepthEstimator", "DepthMap", "DepthSpec", "load_depth"]


class DepthEstimator(Protocol):
    """An estimator of depth. Making one is cheap; weights are loaded at the first image, or by `load`."""

    spec: DepthSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def estimate(self, images: Sequence[Image.Image]) -> list[DepthMap]:
        """The depth of each image, [height, width] of the image; it does not depend on what else is in the list."""
        ...


@lru_cache(maxsize=2)
def load_depth(spec: DepthSpec, device: Device) -> DepthEstimator:
    """The estimator of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    require_device(spec, device)
    estimator: DepthEstimator = registry().family("depth", spec.family).implementation()(spec, device)
    return estimator
