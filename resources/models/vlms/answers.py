"""What a vision-language model says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

ENTROPY_TOP = 20
Pictures = Sequence["Image.Image"]
Schema = Mapping[str, Any]
"""a JSON Schema"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one image and prompt; figures are over the answer's own tokens, without the end token."""

    text: str
    """without white space around it"""
    tokens: tuple[str, ...]
    """the text of each token; joined and stripped they are `text`. One, without figures, where an engine tells none"""
    logprobs: NDArray[np.float32]
    """[tokens], natural logarithm, of the raw distribution (before masks, penalties and temperature)"""
    entropies: NDArray[np.float32]
    """[tokens], nats, truncated: over the most probable tokens only (`ENTROPY_TOP`), renormalised"""
    finished: bool
    """False where the answer was cut at the most tokens allowed"""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """That an engine got no answer to one image and prompt, though it answers others."""

    reason: str
