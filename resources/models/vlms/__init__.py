"""Vision-language models: images and a prompt to text, with what the model itself thought of it.

A new family is one class with the methods of `Vlm` and its rows in resources/models/registry/vlm.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from resources.models.checkpoints import Device, require_device
from resources.models.registry import registry
from resources.models.vlms.answers import ENTROPY_TOP, Answer, Unanswered
from resources.models.vlms.spec import Engine, VlmSpec

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ENTROPY_TOP", "Answer", "Unanswered", "Vlm", "VlmSpec", "load_vlm"]


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
    ) -> Sequence[Answer | Unanswered]:
        """One answer an image, greedy or by the beams of the spec. Batched inside, left-padded.

        A server may fail at one image and answer the others; an engine in this process answers all or raises.

        An engine that can constrain its decoding holds the answers to `schema`, a JSON Schema; one that cannot
        takes no notice of it, so whoever asks validates the answers all the same.
        """
        ...


@lru_cache(maxsize=2)
def load_vlm(spec: VlmSpec, device: Device) -> Vlm:
    """The model of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    return _ENGINES[spec.engine](spec, device)


def _in_process(spec: VlmSpec, device: Device) -> Vlm:
    require_device(spec, device)
    vlm: Vlm = registry().family("vlm", spec.family).implementation()(spec, device)
    return vlm


def _served(spec: VlmSpec, device: Device) -> Vlm:
    from resources.models.vlms.openai_client import OpenAiVlm

    return OpenAiVlm(spec, device)


_ENGINES: Mapping[Engine, Callable[[VlmSpec, Device], Vlm]] = {"transformers": _in_process, "openai": _served}
