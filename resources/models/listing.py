"""The table of models for people: `vistag models`, and docs/models.md, which is made from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from resources.models.registry import Family, Registry
from resources.models.roles import ROLES
from resources.models.tiers.planner import USABLE, alone_gib

CARDS_GIB = (16, 24, 96)
_SHOWN_DIGITS = 8
WORKS = "works"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the listing: a checkpoint, a family without one, or a system that is not carried."""

    role: str
    systems: str
    family: str = ""
    model: str = ""
    licence: str = ""
    parameters_m: float | None = None
    precision: str = ""
    batch_size: int | None = None
    revision: str | None = None
    """commit on the hub"""
    vram_gib: float | None = None
    """alone on a card, at the row's batch size"""
    card_gib: int | None = None
    """the smallest usual card that holds it; None: none does, or it needs no card"""
    state: str = ""
    """works, not proven or not carried"""
    remark: str = ""
    """what it needs, why it is not carried, what to take instead"""
    library: str = ""
    proof: str = ""


def model_rows(registry: Registry, role: str | None = None) -> list[ModelRow]:
    """All systems, by role in the order of the graph; those that are not carried last in theirs."""
    rows: list[ModelRow] = []
    for each in [role] if role else ROLES:
        for family in registry.families:
            if family.role == each:
                rows += _rows_of(family)
        rows += [
            ModelRow(each, gone.system, state=gone.state, remark=f"{gone.reason} Instead: {gone.substitute}")
            for gone in registry.not_carried
            if gone.role == each
        ]
    return rows


def _rows_of(family: Family) -> Iterator[ModelRow]:
    needs = [
        f"`backend: {family.library}` of the family `{family.backend_of}`" if family.backend_of else "",
        f"`engine: openai`, served by {family.served_by}" if family.served_by else "",
        f"needs the extra `{family.extra}`" if family.extra else "",
        family.off_by_default,
    ]
    of_family = ModelRow(
        family.role,
        ", ".join(family.systems),
        family.name,
        state=family.state,
        remark="; ".join(filter(None, needs)),
        library=family.library,
        proof=family.proof,
    )
    if not family.checkpoints:
        yield of_family
    for row in family.checkpoints:
        needed = alone_gib(row) if row.parameters_m else None
        yield replace(
            of_family,
            **row.model_dump(include={"model", "licence", "batch_size", "revision"}),
            parameters_m=row.parameters_m or None,
            precision=row.quantisation or row.dtype,
            vram_gib=round(needed, 1) if needed else None,
            card_gib=_smallest_card(needed) if needed else None,
            remark="; ".join(filter(None, [*needs, row.note])),
        )


def _smallest_card(needed_gib: float) -> int | None:
    return next((card for card in CARDS_GIB if needed_gib <= card * USABLE), None)


def as_markdown(rows: Sequence[ModelRow]) -> str:
    """docs/models.md."""
    return "\n".join(
        [_HEAD, *(_section(role, list(group)) for role, group in groupby(rows, lambda r: r.role))]
    )


_HEAD = """\
# Models

Made by `make docs` from `resources/models/registry/*.yaml`; do not edit by hand. `vistag models` prints the same, and \
`vistag doctor --tier T` loads the models of a tier and shows what each sees.

But for those that a Python package ships, no weights can be had where vistag is tested. \
*Works* means: a small random checkpoint of the real architecture is saved, \
loaded by the code that loads the large one, and held to the output of the library itself by the test that the row names; \
where no library has it, to a forward of the published state dict's names that is written out in that test. \
*Not proven*: the real thing could not be had to test against. *Not carried*: it does not run here.

VRAM is what a checkpoint needs alone on a card at the batch size of its row: weights, activations, KV cache, CUDA. It is \
reckoned, not measured. *Card* is the smallest of 16, 24 and 96 GB that holds it. Weights whose licence restricts their use \
have to be accepted by name in the tier (`accept_licence`); no tier of ours needs that. Weights that are published as a pickle \
are turned into safetensors once: `vistag convert` ([taggers.md](taggers.md#weights-that-are-published-as-pickles)).
"""


def _section(role: str, rows: list[ModelRow]) -> str:
    lines = [
        f"## {ROLES[role].title}",
        "",
        "| system | state | family | runs through | remark | proof |",
        _rule(6),
    ]
    for (systems, family), of_family in groupby(rows, lambda row: (row.systems, row.family)):
        first, *others = of_family
        parts = [part for row in (first, *others) for part in row.remark.split("; ") if part]
        remarks = "; ".join(dict.fromkeys(parts))
        told = f"`{family}`" if family else ""
        lines.append(
            f"| {systems} | {first.state} | {told} | {first.library} | {remarks} | {_link(first.proof)} |"
        )
    checkpoints = [row for row in rows if row.model]
    if checkpoints:
        lines += [
            "",
            "| checkpoint | revision | family | licence | parameters | precision | batch | VRAM, GiB | card, GB |",
        ]
        lines += ["|---|---|---|---|---:|---|---:|---:|---:|"]
        lines += [
            f"| `{row.model}` | {(row.revision or '')[:_SHOWN_DIGITS]} | `{row.family}` | {row.licence} "
            f"| {parameters_text(row)} | {row.precision} | {row.batch_size} | {vram_text(row)} | {card_text(row)} |"
            for row in checkpoints
        ]
    return "\n".join([*lines, ""])


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _link(proof: str) -> str:
    file, _, name = proof.partition("::")
    return f"[{name}](../{file})" if name else ""


def parameters_text(row: ModelRow) -> str:
    if row.parameters_m is None:
        return ""
    return f"{row.parameters_m / 1000:.1f} B" if row.parameters_m >= 1000 else f"{row.parameters_m:.0f} M"


def vram_text(row: ModelRow) -> str:
    return f"{row.vram_gib:.1f}" if row.vram_gib else ""


def card_text(row: ModelRow) -> str:
    if row.vram_gib is None:
        return ""
    return str(row.card_gib) if row.card_gib else "none"
