"""What a tier holds on its card, added up before anything is loaded.

In one process the weights of all models stay, and one stage works at a time, so that of activations and KV cache only
the largest counts. A server of its own (vLLM) takes its share of the card and keeps it, used or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from resources.models.checkpoints import ModelSpec, read_header
from resources.models.registry import Checkpoint, Quantisation, registry, weights_gib
from resources.models.vlms.spec import VlmSpec, WriterSpec

CONTEXT_GIB = 0.6
"""What CUDA and its libraries take in each process that uses the card."""
USABLE = 0.97
"""Of the card: the display and the allocator's rounding take the rest."""
PROMPT_TOKENS = 768
"""A description's prompt with its regions and lines of text."""
LONGEST_TOKENS = 32768
"""Of a server that may take as many as its model can."""
_MIB_A_GIB = 1024
_SUGGESTIONS = 4
_QUANTISED_ON_LOADING: dict[str, Quantisation] = {"fp8": "fp8", "bitsandbytes": "int4"}
"""what vLLM calls it -> what the weights are then"""


@dataclass(frozen=True, slots=True)
class Share:
    """What the model of one role holds, in GiB."""

    role: str
    model: str
    weights_gib: float
    activations_gib: float
    kv_gib: float
    reserved_gib: float | None
    """what its server takes of the card; None: it runs in vistag's own process"""
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
        own = [share for share in self.shares if share.reserved_gib is None]
        loaded = {share.model: share.weights_gib for share in own}  # once, also for two roles
        working = max((share.working_gib for share in own), default=0.0)
        servers = sum(
            max(share.reserved_gib, CONTEXT_GIB + share.total_gib)
            for share in self.shares
            if share.reserved_gib is not None
        )
        return (CONTEXT_GIB if own else 0.0) + sum(loaded.values()) + working + servers

    @property
    def cramped(self) -> tuple[Share, ...]:
        """Servers whose share does not hold their model."""
        return tuple(
            share
            for share in self.shares
            if share.reserved_gib is not None and CONTEXT_GIB + share.total_gib > share.reserved_gib
        )

    @property
    def fits(self) -> bool:
        return self.needed_gib <= self.usable_gib and not self.cramped


def plan(models: Mapping[str, ModelSpec[Any]], vram_gib: float) -> Plan:
    """The models of a tier (field -> spec) on a card."""
    shares = (_share(role, spec, vram_gib) for role, spec in models.items() if not _is_elsewhere(spec))
    return Plan(tuple(shares), vram_gib)


def misfit(models: Mapping[str, ModelSpec[Any]], vram_gib: float) -> str | None:
    """Why the models (field -> spec) do not fit, and what to change; None where they do."""
    planned = plan(models, vram_gib)
    if planned.fits:
        return next((problem for role, spec in models.items() if (problem := _too_short(role, spec))), None)
    held = [_held(share) for share in sorted(planned.shares, key=lambda share: -share.total_gib)]
    if planned.needed_gib <= planned.usable_gib:
        cramped = planned.cramped[0]
        enough = math.ceil((CONTEXT_GIB + cramped.total_gib) / vram_gib * 100) / 100
        reason = (
            f"The server of {cramped.role} gets {cramped.reserved_gib:.1f} GiB and needs "
            f"{CONTEXT_GIB + cramped.total_gib:.1f}"
        )
        changes = [f"  {cramped.role}: server: gpu_memory_share: {enough:.2f}", *_sentences(models, planned)]
    else:
        reason = (
            f"The models need {planned.needed_gib:.1f} GiB, and of {vram_gib:g} GiB "
            f"{planned.usable_gib:.1f} can be used"
        )
        changes = _sentences(models, planned)
    return "\n".join([f"{reason}:", *held, "What to change:", *changes])


def _too_short(role: str, spec: ModelSpec[Any]) -> str | None:
    """What is wrong with a server that takes fewer tokens than one image and its description are."""
    row = _row(spec)
    if not _served(spec) or row is None or row.image_tokens is None:
        return None
    needed = row.image_tokens + PROMPT_TOKENS + spec.description_tokens
    if spec.server.max_model_len is None or needed <= spec.server.max_model_len:
        return None
    return (
        f"{role}: {spec.model} makes {row.image_tokens} tokens of an image; with prompt and answer that is "
        f"{needed}, and server.max_model_len is {spec.server.max_model_len}. Raise it to {needed} or more."
    )


def _held(share: Share) -> str:
    if not share.known:
        return f"  {share.role}: {share.model}: of unknown size"
    told = (
        f"  {share.role}: {share.model}: weights {share.weights_gib:.1f} GiB, at work {share.working_gib:.1f}"
    )
    return told if share.reserved_gib is None else f"{told}, its server takes {share.reserved_gib:.1f}"


def _sentences(models: Mapping[str, ModelSpec[Any]], planned: Plan) -> list[str]:
    """The changes that are enough, the gentlest first; all of them where no one is."""
    changes = sorted(_changes(models, planned), key=lambda change: -change.needed_gib)
    enough = [change for change in changes if change.fits]
    if enough:
        return [f"  {change.sentence}: {change.needed_gib:.1f} GiB" for change in enough[:_SUGGESTIONS]]
    best = sorted(changes, key=lambda change: change.needed_gib)[:_SUGGESTIONS]
    return ["  no one change is enough; together: " + "; ".join(change.sentence for change in best)]


@dataclass(frozen=True, slots=True)
class _Change:
    sentence: str
    needed_gib: float
    fits: bool


def _changes(models: Mapping[str, ModelSpec[Any]], planned: Plan) -> Iterator[_Change]:
    """Single changes that make a tier smaller, and what it would need then."""
    for role, spec in models.items():
        others = {field: model for field, model in models.items() if field != role}
        for sentence, changed in _smaller(role, spec, planned):
            then = plan(others | ({role: changed} if changed else {}), planned.vram_gib)
            if then.needed_gib < planned.needed_gib - 0.05 or len(then.cramped) < len(planned.cramped):
                yield _Change(sentence, then.needed_gib, then.fits)


def _smaller(role: str, spec: ModelSpec[Any], planned: Plan) -> Iterator[tuple[str, ModelSpec[Any] | None]]:
    now = next((share for share in planned.shares if share.role == role), None)
    if now is None:
        return
    for row in _siblings(spec):
        if row.weights_gib < now.weights_gib:
            fields = {"model": row.model, "dtype": row.dtype}
            yield f"{role}: model: {row.model}", _with_room(spec.model_copy(update=fields), planned)
    if spec.batch_size > 1 and now.reserved_gib is None:
        batch_size = max(1, spec.batch_size // 4)
        yield f"{role}: batch_size: {batch_size}", spec.model_copy(update={"batch_size": batch_size})
    if role != "encoder":
        yield f"leave {role} out", None


def _with_room(spec: ModelSpec[Any], planned: Plan) -> ModelSpec[Any]:
    """A server's share shrunk to what its model needs."""
    if not _served(spec):
        return spec
    needed = CONTEXT_GIB + _share("", spec, planned.vram_gib).total_gib
    share = min(1.0, math.ceil(needed / planned.vram_gib * 100) / 100)
    return spec.model_copy(update={"server": spec.server.model_copy(update={"gpu_memory_share": share})})


def _siblings(spec: ModelSpec[Any]) -> list[Checkpoint]:
    """Other checkpoints of the same family and licence."""
    return [
        row
        for family in registry().families
        if family.role == spec.role and family.name == spec.family
        for row in family.checkpoints
        if row.licence == spec.licence and row.model != spec.model
    ]


def alone_gib(row: Checkpoint) -> float:
    """What a checkpoint needs on a card by itself, at the precision and batch size of its row."""
    answer_tokens: int = VlmSpec.model_fields["description_tokens"].default
    kv = _kv_gib(row, row.batch_size * ((row.image_tokens or 0) + PROMPT_TOKENS + answer_tokens))
    return CONTEXT_GIB + row.weights_gib + _activations_gib(row, row.batch_size) + kv


def _is_elsewhere(spec: ModelSpec[Any]) -> bool:
    """On a server that others start, whose card is not counted."""
    return _served(spec) and spec.server.base_url is not None


def _served(spec: ModelSpec[Any]) -> TypeGuard[VlmSpec]:
    return spec.is_served


def _row(spec: ModelSpec[Any]) -> Checkpoint | None:
    """What the registry knows of a model."""
    known = registry().find(spec.role, spec.model)
    return known[1] if known else None


def _share(role: str, spec: ModelSpec[Any], vram_gib: float) -> Share:
    row = _row(spec)
    weights = _weights_gib(spec, row)
    kv, items, reserved = 0.0, spec.batch_size, None
    if _served(spec):
        items, reserved = 1, spec.server.gpu_memory_share * vram_gib
        # of one longest sequence: with less a server does not start
        kv = _kv_gib(row, spec.server.max_model_len or LONGEST_TOKENS)
    elif isinstance(spec, WriterSpec):
        image_tokens = (row.image_tokens or 0) if row else 0
        kv = _kv_gib(
            row, spec.batch_size * spec.beams * (image_tokens + PROMPT_TOKENS + spec.description_tokens)
        )
    return Share(
        role, spec.name, weights or 0.0, _activations_gib(row, items), kv, reserved, weights is not None
    )


def _activations_gib(row: Checkpoint | None, items: int) -> float:
    return row.activations_mib * items / _MIB_A_GIB if row else 0.0


def _kv_gib(row: Checkpoint | None, tokens: int) -> float:
    return tokens * row.kv.bytes_a_token / 2**30 if row and row.kv else 0.0


def _weights_gib(spec: ModelSpec[Any], row: Checkpoint | None) -> float | None:
    if row is not None:
        stored = row.quantisation
        if isinstance(spec, VlmSpec) and spec.server.quantisation:
            stored = stored or _QUANTISED_ON_LOADING.get(spec.server.quantisation)
        return weights_gib(row.parameters_m, stored or spec.dtype)
    if Path(spec.model).is_absolute():
        return weights_gib(_parameters(Path(spec.model)) / 1e6, spec.dtype)
    return None


def _parameters(directory: Path) -> int:
    """Numbers in the safetensors files of a checkpoint, by their headers."""
    return sum(_numbers(path) for path in directory.glob("*.safetensors"))


def _numbers(path: Path) -> int:
    with path.open("rb") as file:
        return sum(math.prod(tensor["shape"]) for tensor in read_header(file).values())
