"""The tags that a tagger knows, and from which score on each counts as seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.models.checkpoints import ModelUnavailableError


@dataclass(frozen=True, slots=True)
class TagList:
    """What a tagger's scores are of, in their order."""

    names: tuple[str, ...]
    thresholds: NDArray[np.float32]
    """[tags], 0..1: from which score on its makers, or the tier, take a tag for seen"""
    categories: tuple[str, ...]
    """[tags], as its makers sort them; empty where they do not"""


def read_tag_list(
    names: Path, thresholds: Path | None, default: float, exceptions: Mapping[str, float]
) -> TagList:
    """Files of a tag, and of a threshold, a line, as RAM and Tag2Text are published with.

    thresholds: may be absent; then `default`, and `exceptions` by tag, hold. Raises ModelUnavailableError where the two
    do not have as many lines, or a threshold is none.
    """
    tags = tuple(names.read_text(encoding="utf-8").splitlines())
    if thresholds is None or not thresholds.is_file():
        values = [exceptions.get(tag, default) for tag in tags]
    else:
        lines = thresholds.read_text(encoding="utf-8").split()
        try:
            values = [float(line) for line in lines]
        except ValueError as error:
            raise ModelUnavailableError(f"{thresholds}: a threshold a line is wanted ({error})") from error
        if len(values) != len(tags):
            raise ModelUnavailableError(
                f"{thresholds} has {len(values)} thresholds, and {names.name} {len(tags)} tags: take both from one release"
            )
    return TagList(tags, np.array(values, np.float32), ("",) * len(tags))
