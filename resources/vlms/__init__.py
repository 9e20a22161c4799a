"""Vision-language models: images and a prompt to text, with what the model itself thought of it.

A new engine is one class with the methods of `Vlm` and one line in `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import Device, require_device
from resources.vlms.spec import VlmSpec

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Answer", "Vlm", "VlmSpec", "load_vlm"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one image and prompt; figures are over the answer's own tokens."""

    text: str
    tokens: tuple[str, ...]
    logprobs: NDArray[np.float32]
    """[tokens], natural logarithm, of the raw distribution (before masks, penalties and temperature)"""
    entropies: NDArray[np.float32]
    """[tokens], nats, truncated: over the most probable tokens only (`ENTROPY_TOP`), renormalised"""
    finished: bool
    """False where the answer was cut at the most tokens allowed"""


ENTROPY_TOP = 20


class Vlm(Protocol):
    """A chat model that sees. Making one is cheap; weights are loaded at the first answer, or by `load`."""

    spec: VlmSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def answer(
        self, images: Sequence[Image.Image], prompts: Sequence[str], *, max_tokens: int
    ) -> list[Answer]:
        """One answer an image, greedy or by the beams of the spec. Batched inside, left-padded."""
        ...


ENGINES: dict[str, Callable[[VlmSpec, Device], Vlm]] = {}


@lru_cache(maxsize=2)
def load_vlm(spec: VlmSpec, device: Device) -> Vlm:
    """The model of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    require_device(spec, device)
    return ENGINES[spec.family](spec, device)
