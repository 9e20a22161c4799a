"""What the objects of the hard world are made of."""

import numpy as np

from demo.world.materials import Colour, Material, banded, grain, mix, mottled, speckled, veined, woven
from demo.world.noise import fractal_noise, smooth_noise, step


def _tartan(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
    span = max(shape)
    x = np.arange(shape[1], dtype=np.float32)[None, :] / span * 7 % 1.0
    y = np.arange(shape[0], dtype=np.float32)[:, None] / span * 7 % 1.0
    wide = 0.5 * (x < 0.45) + 0.5 * (y < 0.45)
    thin = np.broadcast_to((np.abs(x - 0.7) < 0.04) | (np.abs(y - 0.7) < 0.04), shape).astype(np.float32)
    return mix(mix((0.10, 0.22, 0.16), (0.58, 0.08, 0.10), wide), (0.95, 0.85, 0.30), thin)


def _nacre(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
    sheen = fractal_noise(rng, shape, 3, 2)
    green = mix((0.92, 0.86, 0.90), (0.72, 0.90, 0.86), step(sheen, 0.35, 0.5))
    return mix(green, (0.90, 0.74, 0.84), step(sheen, 0.5, 0.65))


def _pores(base: tuple[float, float, float], hole: tuple[float, float, float], cells: float) -> "Material":
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        field = smooth_noise(rng, shape, cells, cells * shape[0] / shape[1])
        return mix(base, hole, step(field, 0.68, 0.76))

    return Material(texture, 0.05, 8)


MATERIALS: dict[str, Material] = {
    "sandstone": Material(banded((0.72, 0.55, 0.36), (0.84, 0.70, 0.50), 3), 0.03, 6),
    "pewter": Material(mottled((0.36, 0.38, 0.40), (0.52, 0.54, 0.56), 6), 0.5, 14, 0.8),
    "birch": Material(grain((0.78, 0.68, 0.52), (0.92, 0.85, 0.72), 11), 0.15, 12),
    "bone": Material(speckled((0.90, 0.87, 0.76), (0.72, 0.65, 0.50), (0.97, 0.95, 0.90), 60), 0.25, 18),
    "blue-glass": Material(mottled((0.05, 0.12, 0.55), (0.14, 0.28, 0.78), 2), 1.0, 70, 0.0, 0.4),
    "slate": Material(grain((0.20, 0.22, 0.26), (0.30, 0.33, 0.37), 3), 0.12, 10),
    "brass": Material(mottled((0.62, 0.52, 0.16), (0.78, 0.68, 0.30), 9), 0.8, 24, 0.9),
    "felt": Material(mottled((0.36, 0.40, 0.46), (0.50, 0.54, 0.60), 40, 2), 0.0, 4),
    "white-marble": Material(veined((0.95, 0.95, 0.95), (0.78, 0.76, 0.80), 5, 0.02), 0.4, 26),
    "wicker": Material(woven((0.40, 0.26, 0.12), (0.80, 0.62, 0.36), 13), 0.05, 6),
    "coral": Material(mottled((0.80, 0.26, 0.20), (0.96, 0.46, 0.38), 18), 0.3, 20),
    "black-leather": Material(
        speckled((0.07, 0.06, 0.06), (0.03, 0.03, 0.03), (0.16, 0.15, 0.15), 30), 0.4, 14
    ),
    "basalt": _pores((0.18, 0.18, 0.19), (0.06, 0.06, 0.06), 30),
    "enamel": Material(veined((0.10, 0.42, 0.62), (0.90, 0.78, 0.32), 6, 0.03), 1.0, 60),
    "turquoise": Material(veined((0.22, 0.68, 0.68), (0.20, 0.16, 0.10), 4, 0.025), 0.5, 26),
    "cork": _pores((0.76, 0.56, 0.36), (0.42, 0.26, 0.14), 44),
    "green-lacquer": Material(mottled((0.02, 0.28, 0.14), (0.05, 0.40, 0.20), 3), 1.0, 80),
    "tartan": Material(_tartan, 0.0, 4),
    "rose-quartz": Material(mottled((0.86, 0.58, 0.62), (0.97, 0.78, 0.80), 3), 0.7, 40, 0.0, 0.2),
    "obsidian": Material(mottled((0.02, 0.02, 0.03), (0.08, 0.07, 0.09), 2), 1.0, 90),
    "mother-of-pearl": Material(_nacre, 0.9, 50),
    "steatite": Material(veined((0.42, 0.46, 0.38), (0.60, 0.62, 0.52), 2.5, 0.08), 0.25, 16),
}
"""Concept id to surface."""
