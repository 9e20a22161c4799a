"""Vectors that lie as embeddings of pictures do: in a narrow cone, in clusters of many sizes, along few directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIMENSION = 768
CLUSTERS = 4000
_BATCH = 50_000
_CONE, _APART = 0.9, 0.8
_TOGETHER = (0.4, 0.9)
"""How far the vectors of a cluster are spread, of the tightest and of the widest."""
_SIZES = 0.7
"""Of the power law of the sizes of clusters."""


class World:
    """A seeded distribution of unit vectors. Any two have a cosine of 0.44 in the mean, a vector and the tenth nearest of a
    million 0.75; their covariance has as much in it as 36 directions of equal variance.
    """

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        spectrum = np.arange(1, DIMENSION + 1) ** -0.5
        self._spectrum = (spectrum / np.linalg.norm(spectrum)).astype(np.float32)
        cone = random.standard_normal(DIMENSION).astype(np.float32)
        self._cone = _CONE * cone / np.linalg.norm(cone)
        self._centres = (
            _APART * random.standard_normal((CLUSTERS, DIMENSION)).astype(np.float32) * self._spectrum
        )
        sizes = np.arange(1, CLUSTERS + 1) ** -_SIZES
        self._shares = sizes / sizes.sum()
        self._widths = random.uniform(*_TOGETHER, CLUSTERS).astype(np.float32)
        self._turn = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0].astype(np.float32)

    def draw(self, count: int, seed: int) -> NDArray[np.float16]:
        """[count, DIMENSION]"""
        random = np.random.default_rng(seed)
        cluster = random.choice(CLUSTERS, count, p=self._shares)
        spread = random.standard_normal((count, DIMENSION), dtype=np.float32) * self._spectrum
        vectors = (self._cone + self._centres[cluster] + spread * self._widths[cluster, None]) @ self._turn
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)

    def write(self, path: Path, count: int, seed: int) -> None:
        """To a file of half floats, some at a time."""
        with path.open("wb") as file:
            for number, start in enumerate(range(0, count, _BATCH)):
                file.write(self.draw(min(_BATCH, count - start), seed + number).data)


def mapped(path: Path) -> NDArray[np.float16]:
    return np.memmap(path, np.float16, "r").reshape(-1, DIMENSION)
