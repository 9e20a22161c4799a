"""Text-only models that mend the form of a description: the last resort, where the rules of form find nothing.

A new family is one class with the methods of `TextModel` and its rows in resources/models/registry/repair.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from resources.models.checkpoints import Device, require_device
from resources.models.registry import registry
from resources.models.repair.spec import RepairSpec
from resources.models.vlms.answers import Answer

__all__ = ["RepairSpec", "TextModel", "load_text_model"]


class TextModel(Protocol):
    """A chat model without eyes. Making one is cheap; weights are loaded at the first answer, or by `load`."""

    spec: RepairSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def rewrite(self, texts: Sequence[str], schema: Mapping[str, Any]) -> list[Answer]:
        """The texts as JSON of the schema, greedy. Batched inside."""
        ...


@lru_cache(maxsize=2)
def load_text_model(spec: RepairSpec, device: Device) -> TextModel:
    """The model of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    require_device(spec, device)
    model: TextModel = registry().family("repair", spec.family).implementation()(spec, device)
    return model
