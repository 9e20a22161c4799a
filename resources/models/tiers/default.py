"""The tier that is taken when nobody names one: the best whose models can be had on this machine, now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resources.http_client import answers
from resources.models.checkpoints import ENOUGH_OF_A_CARD, ModelSpec, hub_answers, is_cached
from resources.models.packaged import is_packaged
from resources.models.tiers import Tier, load_tier, model_specs
from resources.models.vlms.spec import ServerSpec

BY_CARD_GIB = {96: "gpu-96gb", 24: "gpu-24gb", 16: "gpu-16gb"}


@dataclass(frozen=True, slots=True)
class DefaultTier:
    """What was chosen, and what is said of it."""

    name: str
    why: str
    """a sentence: why it, and what would be better"""


def default_tier() -> DefaultTier:
    """The tier of the card, else `cpu`, if their weights are here or the hub answers, else `offline`."""
    missing: list[str] = []
    for name in _candidates():
        lacks = what_it_lacks(load_tier(name))
        if lacks is None:
            return DefaultTier(name, f"Tier {name}, since none was named{_better(missing)}.")
        missing.append(f"--tier {name} knows more and {lacks}")
    return DefaultTier("offline", f"Tier offline, since none was named{_better(missing)}.")


def what_it_lacks(tier: Tier) -> str | None:
    """Why the models of a tier cannot be had now, as the end of a sentence; None where they can."""
    specs = model_specs(tier)
    silent = sorted(role for role, spec in specs.items() if spec.is_served and not answers(_url(spec)))
    if silent:
        return f"needs the server of its {' and '.join(silent)} (vistag serve --tier {tier.name})"
    absent = [spec for spec in specs.values() if not _is_here(spec)]
    if absent and not hub_answers():
        return "needs the Hugging Face hub once, which does not answer"
    return None


def _url(spec: ModelSpec[Any]) -> str:
    """Where its server lists its models."""
    server: ServerSpec = spec.server  # type: ignore[attr-defined]
    return f"{server.url}/models"


def _is_here(spec: ModelSpec[Any]) -> bool:
    return spec.is_served or spec.family == "grabcut" or is_packaged(spec.role, spec.model) or is_cached(spec)


def _candidates() -> Iterator[str]:
    import torch

    if torch.cuda.is_available():
        found_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
        fitting = (name for gib, name in BY_CARD_GIB.items() if found_gib >= gib * ENOUGH_OF_A_CARD)
        if (name := next(fitting, None)) is not None:
            yield name
    yield "cpu"


def _better(missing: list[str]) -> str:
    return "; " + "; ".join(missing) if missing else ""
