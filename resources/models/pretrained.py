"""A checkpoint of transformers that runs in this process: its files, its processor and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from resources.fingerprint import fingerprint
from resources.models.checkpoints import (
    TRANSFORMERS,
    Device,
    Layout,
    ModelSpec,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
)


class Pretrained:
    """What a family of models builds upon.

    Making one reads small files only. Raises ModelUnavailableError where there is no checkpoint, and at the first use of
    `model` where weights are missing in it.
    """

    model_class: str
    """of transformers, as is `processor_class`"""
    processor_class: str = "AutoProcessor"

    def __init__(
        self, spec: ModelSpec[Any], device: Device, code: str, layout: Layout = TRANSFORMERS, **parts: object
    ) -> None:
        """`code`: its version; `parts`: what else of a spec a result depends on."""
        self.spec: Any = spec
        self.device = device
        self.directory = checkpoint_directory(spec, layout)
        self.fingerprint = fingerprint(
            code=code, weights=content_hash(self.directory, layout), dtype=spec.dtype, **parts
        )

    @cached_property
    def processor(self) -> Any:
        return load_processor(self.directory, self.processor_class)

    @cached_property
    def model(self) -> Any:
        return load_model(self.directory, self.model_class, self.spec.dtype, self.device)

    def on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors where the model is, those of floats in its precision."""
        dtype = self.model.dtype
        return {
            name: values.to(self.device, dtype if values.is_floating_point() else None)
            for name, values in inputs.items()
        }

    def load(self) -> None:
        """Load the weights now rather than at the first image."""
        _ = self.processor, self.model
