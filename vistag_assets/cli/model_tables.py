"""What `vistag models` and `vistag doctor` show in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from resources.models.listing import WORKS, ModelRow, card_text, parameters_text, vram_text
from resources.models.roles import ROLES
from resources.models.tiers.planner import CONTEXT_GIB, Plan
from vistag_assets.cli import console
from vistag_assets.cli.doctor import Examined

_COLUMNS: tuple[tuple[int, JustifyMethod], ...] = (
    (38, "left"), (12, "left"), (6, "right"), (4, "right"), (5, "right"), (4, "right"),
)  # fmt: skip
_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def models_listing(rows: Sequence[ModelRow], here: frozenset[str]) -> Iterator[RenderableType]:
    """The registry by role and system; `here`: models whose files are on this machine."""
    yield Text(
        "checkpoint, licence, parameters, precision, GiB alone on a card, smallest card of 16, 24, 96 GB",
        "bold",
    )
    for role, of_role in groupby(rows, lambda row: row.role):
        yield Text(f"\n{ROLES[role].title}", "bold")
        for (systems, remark), of_family in groupby(of_role, lambda row: (row.systems, row.remark)):
            family = list(of_family)
            colour = "green" if family[0].state == WORKS else "yellow"
            more = f"; {remark}" if remark else ""
            yield Padding(Text.assemble(f"{systems}: ", (family[0].state, colour), more), (0, 0, 0, 2))
            table = Table.grid(padding=(0, 1, 0, 0))
            for width, justify in _COLUMNS:
                table.add_column(width=width, justify=justify, overflow="fold")
            for row in family:
                if row.model:
                    mark = " here" if row.model in here else ""
                    table.add_row(
                        Text.assemble(row.model, (mark, "green")), row.licence, parameters_text(row),
                        _SHORT.get(row.precision, row.precision), vram_text(row), card_text(row),
                    )  # fmt: skip
            if table.rows:
                yield Padding(table, (0, 0, 0, 4))


def models_on_this_machine() -> frozenset[str]:
    """Ids of the hub's models that are in its cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = Path(HF_HUB_CACHE).glob("models--*/snapshots/*/")
    return frozenset(
        folder.parents[1].name.removeprefix("models--").replace("--", "/", 1) for folder in folders
    )


def plan_table(plan: Plan) -> Table:
    """What a tier holds on its card, in GiB."""
    table = Table("role", "model", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("weights", "activations", "KV cache"):
        table.add_column(f"{heading} GiB", justify="right")
    for share in plan.shares:
        figures = (share.weights_gib, share.activations_gib, share.kv_gib)
        shown = [f"{figure:.1f}" for figure in figures] if share.known else ["?", "?", "?"]
        table.add_row(share.role, share.model, *shown)
    table.caption = (
        f"{plan.needed_gib:.1f} of {plan.usable_gib:.1f} GiB: all weights, the largest working set, "
        f"{CONTEXT_GIB} for CUDA"
    )
    return table


def show_examined(found: Examined) -> None:
    mark = ("failed", "bold red") if found.error else ("ok", "green")
    where = found.device + (f", {found.peak_gib:.1f} GiB so far" if found.peak_gib is not None else "")
    times = "" if found.error else f"; loaded in {found.load_s:.1f} s, looked for {found.run_s:.2f} s"
    model = f" {console.printable(found.model)} ({where}{times})"
    console.out.print(Text.assemble(mark, " ", (found.role, "bold"), model), soft_wrap=True)
    console.say(f"   {found.error or found.saw}")
