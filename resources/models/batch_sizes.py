"""How many images a model takes at a time where the tier's number did not fit the memory: halved, and remembered.

A model gives an image the same whatever its batch-mates are, so a smaller batch changes no row.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.lake.files import replace_file
from resources.models.checkpoints import ModelSpec

FILE = "batch_sizes.json"
_SIGNS = ("out of memory", "can't allocate memory")

_log = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of a card or of the machine was too small for what a model was asked."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def free_memory() -> None:
    """Let go of what a failed batch holds on the card, so that half of it may fit."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()  # takes as long as the process is large: not where there is no card
        torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """What is remembered in a file of the home: card -> model as the tier names it -> images at a time."""

    path: Path

    def apply(self, asked: ModelSpec[Any], model: Any) -> None:
        """Have a model take no more at a time than fitted before. `asked`: as the tier names it."""
        known = self._read().get(_card(model), {}).get(_key(asked))
        if known is not None and known < model.spec.batch_size:
            _set(model, known)

    def halve(self, asked: ModelSpec[Any], model: Any) -> bool:
        """Have a model take half as many from now on, and remember it; False where it takes one already."""
        size, card, known = model.spec.batch_size // 2, _card(model), self._read()
        if size < 1:
            return False
        _set(model, size)
        known.setdefault(card, {})[_key(asked)] = size
        with replace_file(self.path) as file:
            file.write(json.dumps(known, indent=1).encode())
        _log.warning(
            "%s: %d at a time do not fit the memory of %s; from now on it is asked for %d (%s remembers that)",
            asked.name, 2 * size, card, size, self.path,
        )  # fmt: skip
        return True

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            found: dict[str, dict[str, int]] = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):  # only a help: what does not fit is found out again
            return {}
        return found


def _key(asked: ModelSpec[Any]) -> str:
    """Another number, precision or model in the tier is another try."""
    return f"{asked.role} {asked.name} {asked.dtype} {asked.batch_size}"


def _set(model: Any, size: int) -> None:
    model.spec = model.spec.model_copy(update={"batch_size": size})


def _card(model: Any) -> str:
    device = str(getattr(model, "device", "cpu"))
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return "this machine"
    name: str = torch.cuda.get_device_name(device)
    return name
