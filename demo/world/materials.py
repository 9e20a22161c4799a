"""What the objects are made of: colour texture and how it takes the light."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.world.noise import Field, fractal_noise, smooth_noise, step

Colour = NDArray[Any]
"""float32 [h, w, 3], linear-ish RGB in 0..1"""
Texture = Callable[[np.random.Generator, tuple[int, int]], Colour]


@dataclass(frozen=True, slots=True)
class Material:
    """A surface: `gloss` 0..1 is the height of its highlight, `shininess` its exponent, `metal` 0..1 tints it."""

    texture: Texture
    gloss: float
    shininess: float
    metal: float = 0.0
    clear: float = 0.0
    """0..1, how much of the background shows through."""


def mix(a: Colour | tuple[float, ...], b: Colour | tuple[float, ...], t: Field) -> Colour:
    """a where t is 0, b where t is 1."""
    weight = t[..., None]
    return np.asarray(a, np.float32) * (1 - weight) + np.asarray(b, np.float32) * weight


def mottled(dark: tuple[float, ...], light: tuple[float, ...], cells: float = 6, octaves: int = 3) -> Texture:
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        return mix(dark, light, fractal_noise(rng, shape, cells, octaves))

    return texture


def veined(base: tuple[float, ...], vein: tuple[float, ...], cells: float, sharp: float) -> Texture:
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        field = fractal_noise(rng, shape, cells, 4)
        lines = 1.0 - step(np.abs(field - 0.5), 0.0, sharp)
        return mix(
            mix(base, tuple(0.9 * c for c in base), fractal_noise(rng, shape, 3, 2)), vein, 0.8 * lines
        )

    return texture


def speckled(
    base: tuple[float, ...], dark: tuple[float, ...], light: tuple[float, ...], cells: float
) -> Texture:
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        field = smooth_noise(rng, shape, cells, cells * shape[0] / shape[1])
        return mix(mix(base, dark, step(0.42 - field, 0.0, 0.1)), light, step(field, 0.62, 0.7))

    return texture


def grain(dark: tuple[float, ...], light: tuple[float, ...], rings: float) -> Texture:
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        x = np.linspace(0, 1, shape[1], dtype=np.float32)[None, :]
        bend = 0.5 * smooth_noise(rng, shape, 2, 3) + 0.05 * fractal_noise(rng, shape, 24, 2)
        return mix(dark, light, 0.5 + 0.5 * np.sin((x + bend) * rings * 2 * np.pi))

    return texture


def banded(dark: tuple[float, ...], light: tuple[float, ...], rings: float) -> Texture:
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        field = fractal_noise(rng, shape, 2.2, 3)
        return mix(dark, light, 0.5 + 0.5 * np.sin(field * rings * 2 * np.pi))

    return texture


def woven(dark: tuple[float, ...], light: tuple[float, ...], threads: int) -> Texture:
    def texture(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
        span = max(shape)
        y = np.arange(shape[0], dtype=np.float32)[:, None] / span * threads * 2 * np.pi
        x = np.arange(shape[1], dtype=np.float32)[None, :] / span * threads * 2 * np.pi
        weave = 0.5 + 0.25 * (np.sin(x) + np.sin(y)) + 0.3 * (fractal_noise(rng, shape, 10, 2) - 0.5)
        return mix(dark, light, np.clip(weave, 0, 1))

    return texture


def _blue_and_white(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
    sprays = smooth_noise(rng, shape, 7, 7 * shape[0] / shape[1])
    lines = 1.0 - step(np.abs(sprays - 0.5), 0.02, 0.07)
    return mix((0.95, 0.95, 0.96), (0.12, 0.22, 0.62), 0.9 * lines)


def _shell(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
    return mix((0.78, 0.48, 0.14), (0.16, 0.07, 0.03), step(fractal_noise(rng, shape, 4, 2), 0.42, 0.58))


def _lapis(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
    base = mix((0.05, 0.10, 0.42), (0.16, 0.28, 0.75), fractal_noise(rng, shape, 5, 3))
    flecks = step(smooth_noise(rng, shape, 36, 36 * shape[0] / shape[1]), 0.86, 0.93)
    return mix(base, (0.85, 0.70, 0.30), flecks)


MATERIALS: dict[str, Material] = {
    "bronze": Material(mottled((0.30, 0.20, 0.09), (0.50, 0.35, 0.17), 5), 0.7, 18, 0.8),
    "silver": Material(mottled((0.66, 0.68, 0.72), (0.80, 0.82, 0.86), 4), 1.0, 40, 1.0),
    "gold": Material(mottled((0.80, 0.58, 0.14), (0.95, 0.74, 0.26), 4), 1.0, 36, 1.0),
    "iron": Material(mottled((0.13, 0.13, 0.15), (0.27, 0.27, 0.29), 14), 0.35, 10, 0.5),
    "copper": Material(mottled((0.66, 0.30, 0.18), (0.86, 0.45, 0.29), 4), 0.9, 30, 1.0),
    "terracotta": Material(mottled((0.62, 0.30, 0.18), (0.76, 0.42, 0.26), 10), 0.04, 6),
    "porcelain": Material(_blue_and_white, 0.9, 60),
    "marble": Material(veined((0.90, 0.89, 0.87), (0.50, 0.50, 0.54), 3, 0.035), 0.35, 24),
    "granite": Material(speckled((0.55, 0.53, 0.53), (0.18, 0.17, 0.19), (0.86, 0.80, 0.78), 44), 0.15, 14),
    "oak": Material(grain((0.52, 0.34, 0.17), (0.74, 0.53, 0.31), 6), 0.18, 12),
    "ebony": Material(grain((0.06, 0.045, 0.04), (0.14, 0.10, 0.08), 9), 0.45, 24),
    "glass": Material(mottled((0.55, 0.78, 0.80), (0.68, 0.88, 0.88), 2), 1.0, 70, 0.0, 0.55),
    "leather": Material(speckled((0.36, 0.18, 0.09), (0.22, 0.10, 0.05), (0.45, 0.25, 0.13), 30), 0.25, 10),
    "jade": Material(mottled((0.20, 0.46, 0.30), (0.52, 0.74, 0.54), 3), 0.6, 30, 0.0, 0.08),
    "lapis-lazuli": Material(_lapis, 0.45, 26),
    "amber": Material(mottled((0.70, 0.30, 0.03), (0.98, 0.62, 0.12), 3), 0.8, 50, 0.0, 0.2),
    "linen": Material(woven((0.66, 0.60, 0.48), (0.90, 0.86, 0.76), 34), 0.0, 4),
    "lacquer": Material(mottled((0.62, 0.04, 0.04), (0.76, 0.08, 0.06), 3), 1.0, 80),
    "malachite": Material(banded((0.02, 0.26, 0.17), (0.22, 0.68, 0.46), 7), 0.5, 26),
    "tortoiseshell": Material(_shell, 0.8, 44),
}
"""Concept id to surface."""
