"""Near-duplicates: which pictures are copies of one another, and which one to keep. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resources.models.tiers import DuplicateThresholds

_TELLING_ONES = 16
"""Of the 64 bits of a hash half are 1; a picture of one colour has none, and is like any other."""
_UNKNOWN_BITS = 24
"""What two hashes are taken to differ in where one tells nothing."""


def are_copies(
    cosines: NDArray[np.float32], bits: NDArray[np.integer], thresholds: DuplicateThresholds
) -> NDArray[np.bool_]:
    """Of pairs, by the cosines of their vectors and by how many bits their hashes differ in. The hash sees a copy in grey,
    the vector one that was cropped or marked; the further the hashes are apart, the closer the vectors have to be.
    """
    needed = thresholds.min_cosine + thresholds.cosine_per_bit * bits.astype(np.float32)
    return np.asarray((bits <= thresholds.max_bits) | (cosines >= needed))


def hash_bits(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits perceptual hashes differ in, for arrays that broadcast."""
    bits = np.bitwise_count(one ^ other)
    telling = np.minimum(np.bitwise_count(one), np.bitwise_count(other)) >= _TELLING_ONES
    return np.where(telling, bits, np.maximum(bits, _UNKNOWN_BITS)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Picture:
    """What decides which copy is kept."""

    pixels: int
    bytes: int
    made_s: float
    """when it was taken, else when its file was changed, in seconds since 1970"""
    path: str

    @property
    def worth(self) -> tuple[int, int, float, str]:
        """The smallest is kept: most pixels, then most bytes, then the earliest, then by name."""
        return -self.pixels, -self.bytes, self.made_s, self.path


def groups(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """What is joined by pairs, over any number of them, each sorted, by their first member."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    members: dict[str, list[str]] = {}
    for name in sorted(parent):
        members.setdefault(root(name), []).append(name)
    return [members[name] for name in sorted(members)]
