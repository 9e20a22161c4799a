"""The review queue and what its decisions amount to."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resources.text import one_line
from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, home_of, own_home, plain_errors

if TYPE_CHECKING:
    from resources.workspace import Workspace
    from vistag_assets.review.desk import Item

SHOWN_PAIRS = 30
REPORT = "reviewed"
review_app = typer.Typer(
    help="What people are asked about, and what their answers say.", no_args_is_help=True
)
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, alone on standard output.")]


def queue(
    limit: Annotated[int, typer.Option(min=1, help="How many pairs to show.")] = SHOWN_PAIRS,
    concept: Annotated[str | None, typer.Option(help="Only those of one concept: its id or a label.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Make the queue anew first, of what was decided since.")
    ] = False,
    as_csv: Annotated[Path | None, typer.Option("--csv", help="Write the whole queue here, as CSV.")] = None,
    home: HomeOption = None,
) -> None:
    """Show the pairs of an image and a concept that are worth a look, the most worthy first.

    It is made by every run, and here where there is none yet. Pairs that somebody decided since are not shown.
    """
    with plain_errors(), own_home(home) as base:
        from resources.workspace import open_workspace
        from vistag_assets.review.desk import Desk
        from vistag_assets.review.queue import update_queue

        workspace = open_workspace(base)
        if again or not base.lake.exists("review_queue"):
            update_queue(workspace)
        taxonomy = workspace.taxonomy
        concept_id = taxonomy.labels.concept_of(concept) or concept if concept else None
        items = [item for item in Desk(workspace).open_items() if concept_id in (None, item.concept_id)]
        if as_csv:
            as_csv.write_text(_csv(items, workspace), encoding="utf-8")
            console.say(f"{len(items):,} pairs are in {as_csv}.")
            return
        _show(items[:limit], workspace)
        concepts = len({item.concept_id for item in items})
        console.say(f"{len(items):,} pairs of {concepts:,} concepts wait for a look.")


def agreement(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Tell how far people agree who decided the same pairs: Cohen's kappa."""
    with plain_errors():
        from resources.workspace import open_workspace
        from vistag_assets.review.agreement import agreements, disputed, opinions

        workspace = open_workspace(home_of(home))
        words = opinions(workspace.decisions.since(), workspace.taxonomy.replaced)
        found = agreements(words)
        if as_json:
            console.say_json(
                {
                    "disputed": len(disputed(words)),
                    "agreements": [
                        {
                            **{field.name: getattr(of, field.name) for field in fields(of)},
                            "observed": of.observed,
                            "kappa": of.kappa,
                            "ci95": of.ci95,
                        }
                        for of in found
                    ],
                }
            )
            return
        if not found:
            console.say("No pair was decided by two people yet: nothing says how far they agree.")
            return
        from rich.table import Table

        table = Table("first", "second", "pairs", "agree", "kappa", "95 %")
        for of in found:
            kappa = "–" if of.kappa is None else f"{of.kappa:.2f}"
            interval = "" if of.ci95 is None else f"{of.ci95[0]:.2f} to {of.ci95[1]:.2f}"
            people = one_line(of.first), one_line(of.second)
            table.add_row(*people, f"{of.pairs:,}", f"{of.observed:.1%}", kappa, interval)
        console.out.print(table)
        console.say(f"Pairs on which people disagree: {len(disputed(words)):,}; the last word stands.")


def truth(
    file: Annotated[Path, typer.Argument(help="Where to write it: JSON as LVIS has it.")],
    home: HomeOption = None,
) -> None:
    """Write what people decided as federated ground truth: what is there, what is verified to be absent, and no more."""
    with plain_errors():
        from evaluation.reviewed import as_lvis, reviewed_truth
        from resources.workspace import open_workspace
        from vistag_assets.review.pool import Library

        workspace = open_workspace(home_of(home))
        found = reviewed_truth(workspace, Library.read(workspace))
        file.write_text(json.dumps(as_lvis(found), indent=1, ensure_ascii=False), encoding="utf-8")
        absent = found.negatives.num_rows if found.negatives is not None else 0
        console.say(
            f"{found.tags.num_rows:,} true and {absent:,} absent tags of {found.images.num_rows:,} images are in {file}."
        )


def report(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Measure what the machine says against what people decided, where nobody ever annotated anything."""
    with plain_errors(), own_home(home) as base:
        from evaluation.report import render_html, render_markdown
        from evaluation.report.files import write_report
        from evaluation.reviewed import evaluate_reviewed, reviewed_json, reviewed_report
        from resources.workspace import open_workspace
        from vistag_assets.cli.evaluation_tables import show_evaluation

        workspace = open_workspace(base)
        found = evaluate_reviewed(workspace)
        shown = reviewed_report(workspace, found, datetime.now(UTC))
        page = base.reports_dir / f"{REPORT}.html"
        write_report(page, render_html(shown), render_markdown(shown), reviewed_json(found))
        if as_json:
            console.say_json(reviewed_json(found))
        else:
            show_evaluation(found.evaluation)
            console.say(f"{page}")


def _show(items: list[Item], workspace: Workspace) -> None:
    from rich import box
    from rich.table import Table

    labels, paths = workspace.taxonomy.shown_labels, _paths(items, workspace)
    table = Table("rank", "concept", "image", "p", "because", box=box.SIMPLE_HEAD)
    for item in items:
        table.add_row(
            f"{item.rank:,}",
            one_line(labels.get(item.concept_id, item.concept_id)),
            one_line(paths.get(item.id, item.id)),
            f"{item.probability or 0:.2f}",
            item.reason,
        )
    console.out.print(table)


def _csv(items: list[Item], workspace: Workspace) -> str:
    labels, paths, text = workspace.taxonomy.pref_labels, _paths(items, workspace), io.StringIO(newline="")
    names = [name for name in _fields() if name != "id"]
    writer = csv.writer(text)
    writer.writerow(["image_id", "path", "label", *names])
    for item in items:
        known = [item.id, paths.get(item.id, ""), labels.get(item.concept_id, "")]
        writer.writerow([*known, *(getattr(item, name) for name in names)])
    return text.getvalue()


def _fields() -> list[str]:
    from vistag_assets.review.desk import Item

    return [field.name for field in fields(Item)]


def _paths(items: list[Item], workspace: Workspace) -> dict[str, str]:
    """Image id -> its path."""
    of: dict[str, str] = {}
    for folder in {item.folder_key for item in items if item.folder_key}:
        rows = workspace.lake.read_or_none("images", folder, ["id", "path"])
        of |= dict(zip(rows["id"].to_pylist(), rows["path"].to_pylist(), strict=True)) if rows else {}
    return of


for command in (queue, agreement, truth, report):
    review_app.command()(command)
