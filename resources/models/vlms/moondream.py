"""Moondream, by the code that comes with its checkpoint: a tier has to allow that with `remote_code: true`.

That code was written for transformers 4. `from_pretrained` of version 5 builds a model without memory first, and what
Moondream computes when it is made (its rotary table, its mask) would stay empty; it also lacks a hook that version 5
asks for. So the class is made as it makes itself, and its weights are put into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.models.checkpoints import (
    WITH_CODE,
    Device,
    ModelUnavailableError,
    read_config,
    read_weights,
    refuse_missing,
    shared_model,
)
from resources.models.pretrained import Pretrained
from resources.models.vlms.answers import Answer, Pictures, Schema
from resources.models.vlms.spec import VlmSpec

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
_AUTO = "AutoModelForCausalLM"
_LENGTHS = frozenset({"short", "normal", "long"})
"""Of a caption; any other prompt is a question."""
_UNTOLD = np.empty(0, np.float32)


class MoondreamVlm(Pretrained):
    """Moondream 2 through its own `caption` and `query`, one picture at a time, at temperature 0.

    They tell no probabilities: an answer is one token without figures, and is taken for finished.
    """

    def __init__(self, spec: VlmSpec, device: Device) -> None:
        super().__init__(spec, device, f"moondream {CODE_VERSION}", WITH_CODE)

    @cached_property
    def processor(self) -> None:
        """Its code prepares pictures itself."""

    @cached_property
    def model(self) -> Any:
        return shared_model(self.directory, _AUTO, self.spec.dtype, self.device, self._made)

    def answer(
        self, images: Pictures, prompts: Sequence[str], *, max_tokens: int, schema: Schema | None = None
    ) -> list[Answer]:
        """One answer an image. Takes no notice of `schema`: its code has no place for one."""
        return [
            self._one(image.convert("RGB"), prompt, max_tokens)
            for image, prompt in zip(images, prompts, strict=True)
        ]

    def _one(self, image: Image.Image, prompt: str, max_tokens: int) -> Answer:
        settings = {"temperature": 0.0, "max_tokens": max_tokens}
        if prompt in _LENGTHS:
            told = self.model.caption(image, length=prompt, settings=settings)["caption"]
        else:
            told = self.model.query(image, prompt, settings=settings)["answer"]
        text = told.strip()
        return Answer(text, (text,) if text else (), _UNTOLD, _UNTOLD, finished=True)

    def _made(self) -> Any:
        import torch

        weights = read_weights(self.directory)
        kind = self._kind()
        model = kind(kind.config_class(**read_config(self.directory)))
        missing, _ = model.load_state_dict(weights, strict=False)
        refuse_missing(self.directory, sorted(missing))
        return model.to(self.device, getattr(torch, self.spec.dtype)).eval()

    def _kind(self) -> Any:
        """The class of the checkpoint. This runs its code."""
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        reference = read_config(self.directory).get("auto_map", {}).get(_AUTO, "")
        module = Path(f"{reference.partition('.')[0]}.py")
        if not (self.directory / module).is_file():
            raise ModelUnavailableError(
                f"{self.directory}/config.json names no code beside it (auto_map, {_AUTO}: {reference!r}); code of "
                "another repository is not run."
            )
        return get_class_from_dynamic_module(reference, str(self.directory), local_files_only=True)
