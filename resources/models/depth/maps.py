"""Depth maps: what an estimator returns, and how the lake stores one."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Unit = Literal["metres", "relative", "relative_inverse"]
"""metres: distance from the camera. relative: the distance up to a scale and a shift that nobody knows, so that maps of
two images cannot be compared. relative_inverse: its inverse (large is near), again up to a scale and a shift."""

LEVELS = 2**16 - 1
THINNEST = 16
"""Sides of an image may be 1 to this at most: models round a side that is thinner down to no pixel at all."""
FEWEST_PX = 8
"""ZoeDepth mirrors an image at its edges by three times the root of half a side; a smaller one has not that many."""


@dataclass(frozen=True, slots=True)
class DepthMap:
    """Depth of each pixel of one image."""

    depth: NDArray[np.float32]
    """[height, width], finite"""
    unit: Unit


@dataclass(frozen=True, slots=True)
class StoredDepth:
    """A depth map as the lake keeps it; a value comes back to within (depth_max - depth_min) / 131070."""

    png: bytes
    """one channel of 16 bits: 0 is depth_min, 65535 depth_max"""
    depth_min: float
    depth_max: float


def bounded(depth: NDArray[np.float32], max_side_px: int) -> NDArray[np.float32]:
    """The map, averaged down so that its longer side is at most `max_side_px`; one that is small enough as it is."""
    height, width = depth.shape
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return depth
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(depth).resize(size, Image.Resampling.BOX))


def encode_depth(depth: NDArray[np.float32]) -> StoredDepth:
    """A map [height, width] of finite values. Raises ValueError where one is not finite."""
    if not np.isfinite(depth).all():
        raise ValueError(
            "the estimator gave depths that are no numbers; give it `dtype: float32` in the tier"
        )
    low, high = float(depth.min()), float(depth.max())
    levels = np.zeros(depth.shape) if low == high else (depth.astype(np.float64) - low) / (high - low)
    file = io.BytesIO()
    Image.fromarray(np.round(levels * LEVELS).astype(np.uint16)).save(file, "PNG")
    return StoredDepth(file.getvalue(), low, high)


def decode_depth(stored: StoredDepth) -> NDArray[np.float32]:
    """The map [height, width] that was stored."""
    with Image.open(io.BytesIO(stored.png)) as picture:
        levels = np.asarray(picture, dtype=np.float64) / LEVELS
    return (stored.depth_min + levels * (stored.depth_max - stored.depth_min)).astype(np.float32)


def depth_picture(stored: StoredDepth, unit: Unit) -> Image.Image:
    """The map in grey for people: the nearest is white, the farthest black."""
    with Image.open(io.BytesIO(stored.png)) as picture:
        grey = np.asarray(picture) >> 8
    return Image.fromarray((grey if unit == "relative_inverse" else 255 - grey).astype(np.uint8))


def thickened(image: Image.Image) -> Image.Image:
    """The image; stretched across where it is thinner than a model takes."""
    least = max(FEWEST_PX, math.ceil(max(image.size) / THINNEST))
    if min(image.size) >= least:
        return image
    return image.resize((max(image.width, least), max(image.height, least)))


def resized(depth: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """The map at `size` (width, height), as it is where it has that size already."""
    if depth.shape == size[::-1]:
        return depth
    return np.asarray(Image.fromarray(depth).resize(size, Image.Resampling.BILINEAR))
