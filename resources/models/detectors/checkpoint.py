"""What all detectors share: a checkpoint directory, its processor and its weights, loaded when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from resources.fingerprint import fingerprint
from resources.models.checkpoints import (
    Device,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
)
from resources.models.detectors.spec import DetectorSpec


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
        return load_processor(self.directory)

    @cached_property
    def model(self) -> Any:
        return load_model(self.directory, self._auto, self.spec.dtype, self.device)

    def load(self) -> None:
        _ = self.processor, self.model
