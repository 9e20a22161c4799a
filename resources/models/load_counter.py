"""How often this process loaded a model: once each in a run, however many folders it takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_LOADS: Counter[str] = Counter()


def count_load(model: Path | str) -> None:
    """Called by whatever reads weights, each time. `model`: the directory of a checkpoint, or the name of a package."""
    _LOADS[_name(model)] += 1


def model_loads() -> Counter[str]:
    """Model -> how often it was loaded so far. Two such counts may be subtracted."""
    return Counter(_LOADS)


def _name(model: Path | str) -> str:
    """The name without the path of this machine; of the hub's cache, that of the repository."""
    path = Path(model)
    repository = next((parent for parent in path.parents if parent.name.startswith("models--")), None)
    if repository is None:
        return path.name
    return repository.name.removeprefix("models--").replace("--", "/")
