"""Seeded noise that looks the same at every resolution: it is drawn on a fixed grid and resized."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]
"""float32 [h, w]"""


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells_x: float, cells_y: float) -> Field:
    """Value noise in 0..1 with `cells_x` by `cells_y` cells over the whole field."""
    grid = rng.random((int(cells_y) + 3, int(cells_x) + 3), dtype=np.float32)
    field = cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(field, 0.0, 1.0)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: float, octaves: int = 3, stretch: float = 1.0
) -> Field:
    """Octaves of value noise summed with halving weight, in 0..1; `stretch` > 1 draws it out along x."""
    ratio = shape[0] / max(shape)
    total = np.zeros(shape, np.float32)
    weight, norm = 1.0, 0.0
    for octave in range(octaves):
        size = cells * 2**octave
        total += weight * smooth_noise(rng, shape, size / stretch * shape[1] / max(shape), size * ratio)
        norm += weight
        weight /= 2
    return total / norm


def step(field: Field, low: float, high: float) -> Field:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((field - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
