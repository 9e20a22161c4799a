"""Whether a picture is of the world that a tier was made for: drawn, or photographed.

A model answers whatever it is asked, also of pictures of a kind that it never saw, and its probabilities were calibrated
on others. Its own features tell them badly where it learned one world only: Mahalanobis' distance (Lee et al., 2018) of the
demo encoder's found 0.89 of photographs. So a line is drawn between numbers of the picture itself, how steep, how even
and how colourful it is at three sizes, of both worlds (outlier exposure: Hendrycks et al., 2019).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

World = Literal["drawn", "photographs"]
FILE = Path(__file__).parent / "familiarity.json"
"""Made by `python -m demo.training.fit_familiarity PHOTOGRAPHS`: numbers, no pictures."""
VERSION = 1
"""To be raised when other numbers are taken of a picture: the line is to be fitted again then."""
SIDE_PX = 256
"""Longer side of what is looked at."""
_STEEPNESS = (-10, -8, -7, -6, -5, -4, -3, -2, 1)
"""Bins of the base-two logarithm of the difference of neighbours, of a picture of 0..1."""
_FAINTEST = 1 / 512
_SIZES = (1, 2, 4)
_LEVELS = 6
_SHRINK = 0.25
"""Of the distance of a probability from the prior, what is left of it for an unfamiliar picture."""
REASONS = {"drawn": "unlike the drawings that the tier was made for", "photographs": "unlike a photograph"}
"""By what a tier was made for."""


@dataclass(frozen=True, slots=True)
class Line:
    """Between drawings and photographs: `texture @ weights + offset` is below 0 for drawings, above it for photographs."""

    weights: NDArray[np.float32]
    """[n]"""
    offset: float

    def strangeness(self, textures: NDArray[np.float32], made_for: World) -> NDArray[np.float32]:
        """How far pictures `[images, n]` lie beyond what a tier was made for; above 0 they are unfamiliar."""
        photographed = textures @ self.weights + self.offset
        return np.asarray(photographed if made_for == "drawn" else -photographed, np.float32)


@lru_cache(maxsize=1)
def the_line() -> Line:
    """Raises ValueError where the file is of another version."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    if content.pop("version") != VERSION:
        raise ValueError(
            f"{FILE} was made of other numbers: python -m demo.training.fit_familiarity makes it anew"
        )
    return Line(np.array(content.pop("weights"), np.float32), **content)


def tempered(probabilities: NDArray[np.floating], prior: float) -> NDArray[np.float32]:
    """Probabilities drawn towards the prior, in the same order: of an unfamiliar picture little is known."""
    return np.asarray(prior + _SHRINK * (probabilities - prior), np.float32)


def texture(image: Image.Image) -> NDArray[np.float32]:
    """Numbers of an RGB image of any size that say how it was made, whatever it shows: `[n]`, none of them large."""
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX))
    grey, pixels, hue_saturation_value = (
        np.asarray(small.convert(mode), np.float32) / np.float32(255) for mode in ("L", "RGB", "HSV")
    )
    numbers: list[float] = []
    for size in _SIZES:
        numbers += _relief(_shrunk(grey, size))
    for channel in (1, 2):
        numbers += _shares(hue_saturation_value[..., channel], np.linspace(0, 1, _LEVELS + 1))
    numbers += _colour_noise(pixels)
    return np.array(numbers, np.float32)


def _shrunk(grey: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Means of squares of `size` pixels; a picture that is smaller than four of them is made larger first."""
    least = 4 * size
    grey = np.pad(grey, [(0, max(0, least - length)) for length in grey.shape], mode="edge")
    rows, columns = (length // size for length in grey.shape)
    squares = grey[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return np.asarray(squares.mean((1, 3)), np.float32)


def _relief(grey: NDArray[np.floating]) -> list[float]:
    """How steep it is, as shares of its places, and how strong and how rare its edges and grain are."""
    across, down = np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1]
    steep = np.log2(np.hypot(across, down) + _FAINTEST)
    inner = grey[1:-1, 1:-1]
    bend = 4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    rarity = float(((bend - bend.mean()) ** 4).mean() / (bend.var() ** 2 + 1e-9))
    return [
        *_shares(steep, np.array(_STEEPNESS)),
        float(np.log(bend.std() + 1e-3)),
        float(np.log1p(min(rarity, 500))),
    ]


def _shares(values: NDArray[np.floating], edges: NDArray[np.floating]) -> list[float]:
    """Square roots of the shares of the values between edges: the variance of a share grows with it."""
    counts, _ = np.histogram(values, bins=edges)
    return [float(share) for share in np.sqrt(counts / values.size)]


def _colour_noise(pixels: NDArray[np.floating]) -> list[float]:
    """How much neighbours differ in colour alone."""
    if min(pixels.shape[:2]) < 2:
        return [float(np.log(1e-3))] * 3
    colour = pixels - pixels.mean(2, keepdims=True)
    return [float(value) for value in np.log((colour[1:, 1:] - colour[:-1, :-1]).std((0, 1)) + 1e-3)]
