"""What all detectors share: a checkpoint directory, its processor and its weights, loaded when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from resources.checkpoints import (
    Device,
    checkpoint_directory,
    content_hash,
    quieten_transformers,
    refuse_missing_weights,
)
from resources.detectors.spec import DetectorSpec
from resources.fingerprint import fingerprint


class DetectorCheckpoint:
    """The files of a detector, and what `transformers` makes of them.

    Making one reads files only. Raises ModelUnavailableError where there is no checkpoint, and at the first
    use of `model` where weights are missing in it.
    """

    def __init__(
        self, spec: DetectorSpec, device: Device, code: str, auto: str = "AutoModelForZeroShotObjectDetection"
    ) -> None:
        self.spec = spec
        self.device = device
        self.directory = checkpoint_directory(spec)
        self.fingerprint = fingerprint(
            code=code,
            family=spec.family,
            weights=content_hash(self.directory),
            dtype=spec.dtype,
            min_score=spec.min_score,
        )
        self._auto = auto

    @cached_property
    def processor(self) -> Any:
        from transformers import AutoProcessor

        quieten_transformers()
        return AutoProcessor.from_pretrained(self.directory, local_files_only=True)

    @cached_property
    def model(self) -> Any:
        import torch
        import transformers

        quieten_transformers()
        model, loading = getattr(transformers, self._auto).from_pretrained(
            self.directory,
            local_files_only=True,
            dtype=getattr(torch, self.spec.dtype),
            output_loading_info=True,
        )
        refuse_missing_weights(self.directory, loading["missing_keys"])
        return model.to(self.device).eval()

    def load(self) -> None:
        _ = self.processor, self.model
