"""Sentence encoders of transformers with mean pooling: texts to unit vectors (Reimers and Gurevych, 2019)."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.models.checkpoints import (
    Device,
    ModelSpec,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
)
from resources.models.packaged import packaged, verified_file

_BATCH = 64
_LONGEST = 128
"""Tokens; labels of concepts are short."""


class SentenceEncoder:
    """A checkpoint by its package, its directory or its id on the hub; the weights are loaded at the first text.

    Raises ModelUnavailableError where it is not to be had.
    """

    def __init__(self, spec: ModelSpec[Any], device: Device) -> None:
        self._device = device
        self._package = packaged("sentence", spec.model)
        self._directory = None if self._package else checkpoint_directory(spec)

    @property
    def content(self) -> str:
        return self._package.sha256 if self._package else content_hash(self._here)

    @property
    def _here(self) -> Path:
        assert self._directory is not None
        return self._directory

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        if self._package is None:
            return self._load(self._here)
        with tempfile.TemporaryDirectory() as unpacked:
            with zipfile.ZipFile(verified_file(self._package)) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if "/" not in name])
            return self._load(Path(unpacked))

    def _load(self, directory: Path) -> tuple[Any, Any]:
        return (
            load_processor(directory, "AutoTokenizer"),
            load_model(directory, "AutoModel", "float32", self._device),
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `[n, width]`, `n > 0`; what a text gets does not depend on its batch-mates."""
        import torch

        tokenizer, model = self._loaded
        by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors: list[NDArray[np.float32]] = []
        with torch.inference_mode():
            for start in range(0, len(texts), _BATCH):
                tokens = tokenizer(
                    [texts[place] for place in by_length[start : start + _BATCH]],
                    padding=True,
                    truncation=True,
                    max_length=_LONGEST,
                    return_tensors="pt",
                ).to(self._device)
                states = model(**tokens).last_hidden_state
                mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
                means = torch.nn.functional.normalize((states * mask).sum(1), dim=-1)
                vectors.append(means.float().cpu().numpy())
        return np.asarray(np.concatenate(vectors)[np.argsort(by_length)])
