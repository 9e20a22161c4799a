"""What a tier holds on its card, added up before anything is loaded.

In one process the weights of all models stay, and one stage works at a time, so that of activations and KV cache only
the largest counts. A server of its own (vLLM) takes its share of the card and keeps it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from resources.checkpoints import ModelSpec
from resources.registry import Checkpoint, registry, weights_gib
from resources.vlms.spec import VlmSpec

CONTEXT_GIB = 0.6
"""What CUDA and its libraries take in each process that uses the card."""
USABLE = 0.97
"""Of the card: the display and the allocator's rounding take the rest."""
PROMPT_TOKENS = 768
"""A description's prompt with its regions and lines of text."""
_UNKNOWN_TOKENS = 1536
"""of an image, for a model that the registry does not know"""
_MIB_A_GIB = 1024
_SUGGESTIONS = 4


@dataclass(frozen=True, slots=True)
class Share:
    """What the model of one role holds, in GiB."""

    role: str
    model: str
    weights_gib: float
    activations_gib: float
    kv_gib: float
    known: bool
    """False where neither the registry nor a directory tells the size: then it counts as nothing"""

    @property
    def working_gib(self) -> float:
        return self.activations_gib + self.kv_gib

    @property
    def total_gib(self) -> float:
        return self.weights_gib + self.working_gib


@dataclass(frozen=True, slots=True)
class Plan:
    """A tier on a card of `vram_gib`."""

    shares: tuple[Share, ...]
    vram_gib: float

    @property
    def usable_gib(self) -> float:
        return self.vram_gib * USABLE

    @property
    def needed_gib(self) -> float:
        loaded = {share.model: share.weights_gib for share in self.shares}  # once, also for two roles
        return (
            CONTEXT_GIB
            + sum(loaded.values())
            + max((share.working_gib for share in self.shares), default=0.0)
        )

    @property
    def fits(self) -> bool:
        return self.needed_gib <= self.usable_gib


def plan(models: Mapping[str, ModelSpec], vram_gib: float) -> Plan:
    """The models of a tier (field -> spec) on a card."""
    return Plan(tuple(_share(role, spec) for role, spec in models.items()), vram_gib)


def misfit(models: Mapping[str, ModelSpec], vram_gib: float) -> str | None:
    """Why the models do not fit, and what to change; None where they do."""
    planned = plan(models, vram_gib)
    if planned.fits:
        return None
    held = "\n".join(
        f"  {share.role}: {share.model}: weights {share.weights_gib:.1f} GiB, "
        f"at work {share.working_gib:.1f} GiB"
        for share in sorted(planned.shares, key=lambda share: -share.total_gib)
    )
    changes = sorted(_changes(models, vram_gib), key=lambda change: change.needed_gib, reverse=True)
    enough = [change for change in changes if change.needed_gib <= planned.usable_gib]
    shown = (
        [f"  {change.sentence}: {change.needed_gib:.1f} GiB" for change in enough[:_SUGGESTIONS]]
        if enough
        else [
            "  no one change is enough; together: "
            + "; ".join(change.sentence for change in reversed(changes[-_SUGGESTIONS:]))
        ]
    )
    return (
        f"The models need {planned.needed_gib:.1f} GiB, and of {vram_gib:g} GiB "
        f"{planned.usable_gib:.1f} can be used:\n{held}\nWhat to change:\n" + "\n".join(shown)
    )


@dataclass(frozen=True, slots=True)
class _Change:
    sentence: str
    needed_gib: float


def _changes(models: Mapping[str, ModelSpec], vram_gib: float) -> Iterator[_Change]:
    """Single changes that make a tier smaller, and what it would need then."""
    for role, spec in models.items():
        others = {field: model for field, model in models.items() if field != role}
        now = _share(role, spec).total_gib
        for smaller in _smaller(spec, now):
            changed = spec.model_copy(
                update={"model": smaller.model, "batch_size": smaller.batch_size, "dtype": smaller.dtype}
            )
            needed = plan(others | {role: changed}, vram_gib).needed_gib
            yield _Change(f"{role}: {{model: {smaller.model}}}", needed)
        if spec.batch_size > 1:
            halved = spec.model_copy(update={"batch_size": max(1, spec.batch_size // 4)})
            if _share(role, halved).total_gib < now - 0.1:
                needed = plan(others | {role: halved}, vram_gib).needed_gib
                yield _Change(f"{role}: batch_size: {halved.batch_size}", needed)
        if role not in ("encoder",):
            yield _Change(f"leave {role} out", plan(others, vram_gib).needed_gib)


def _smaller(spec: ModelSpec, than_gib: float) -> list[Checkpoint]:
    """Checkpoints of the same family that hold less."""
    return [
        row
        for family in registry().families
        if family.role == spec.role and family.name == spec.family
        for row in family.checkpoints
        if row.weights_gib < than_gib and row.licence == spec.licence and row.model != spec.model
    ]


def alone_gib(row: Checkpoint) -> float:
    """What a checkpoint needs on a card by itself, at the precision and batch size of its row."""
    answer_tokens: int = VlmSpec.model_fields["description_tokens"].default
    return (
        CONTEXT_GIB
        + row.weights_gib
        + _activations_gib(row, row.batch_size)
        + _kv_gib(row, row.batch_size, answer_tokens)
    )


def _share(role: str, spec: ModelSpec) -> Share:
    known = registry().find(spec.role, spec.model)
    row = known[1] if known else None
    weights = _weights_gib(spec, row)
    kv = (
        _kv_gib(row, spec.batch_size * spec.beams, spec.description_tokens)
        if row and isinstance(spec, VlmSpec)
        else 0.0
    )
    activations = _activations_gib(row, spec.batch_size) if row else 0.0
    return Share(role, spec.name, weights or 0.0, activations, kv, weights is not None)


def _activations_gib(row: Checkpoint, batch_size: int) -> float:
    return row.activations_mib * batch_size / _MIB_A_GIB


def _weights_gib(spec: ModelSpec, row: Checkpoint | None) -> float | None:
    if row is not None:
        return weights_gib(row.parameters_m, row.quantisation or spec.dtype)
    if Path(spec.model).is_absolute():
        return weights_gib(_parameters(Path(spec.model)) / 1e6, spec.dtype)
    return None


def _parameters(directory: Path) -> int:
    """Numbers in the safetensors files of a checkpoint, by their headers."""
    return sum(_numbers(path) for path in directory.glob("*.safetensors"))


def _numbers(path: Path) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _kv_gib(row: Checkpoint, sequences: int, answer_tokens: int) -> float:
    if row.kv is None:
        return 0.0
    tokens = (row.image_tokens or _UNKNOWN_TOKENS) + PROMPT_TOKENS + answer_tokens
    return sequences * tokens * row.kv.bytes_a_token / 2**30
