"""Vision-language models: images and a prompt to text, with what the model itself thought of it.

A new engine is one class with the methods of `Vlm` and one line in `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from resources.checkpoints import Device, require_device
from resources.vlms.answers import ENTROPY_TOP, Answer
from resources.vlms.spec import VlmSpec
from resources.vlms.transformers_engine import TransformersVlm

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ENTROPY_TOP", "Answer", "Vlm", "VlmSpec", "load_vlm"]


class Vlm(Protocol):
    """A chat model that sees. Making one is cheap; weights are loaded at the first answer, or by `load`."""

    spec: VlmSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def answer(
        self,
        images: Sequence[Image.Image],
        prompts: Sequence[str],
        *,
        max_tokens: int,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Answer]:
        """One answer an image, greedy or by the beams of the spec. Batched inside, left-padded.

        An engine that can constrain its decoding holds the answers to `schema`, a JSON Schema; one that cannot
        takes no notice of it, so whoever asks validates the answers all the same.
        """
        ...


ENGINES: dict[str, Callable[[VlmSpec, Device], Vlm]] = {"transformers": TransformersVlm}


@lru_cache(maxsize=2)
def load_vlm(spec: VlmSpec, device: Device) -> Vlm:
    """The model of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    require_device(spec, device)
    return ENGINES[spec.family](spec, device)
