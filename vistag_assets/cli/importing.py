"""What people decided in other programs."""

from __future__ import annotations

import getpass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, own_home, plain_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vistag_assets.imports.answers import Mark
    from vistag_assets.imports.into_log import Imported

SHOWN = 20


class Program(StrEnum):
    """Whose files are read."""

    label_studio = "label-studio"
    cvat = "cvat"
    coco = "coco"


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="Label Studio's JSON export, CVAT's 'CVAT for images 1.1' (.xml or .zip), or COCO's JSON."
        ),
    ],
    program: Annotated[
        Program | None, typer.Option("--format", help="Whose file it is; else what it looks like.")
    ] = None,
    shown: Annotated[
        Path | None,
        typer.Option(
            help="What people were given to begin with, as vistag export wrote it: what is gone of it is rejected. "
            "Label Studio's export has it as predictions."
        ),
    ] = None,
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed",
            help="Somebody was done with every picture of the file: what stands as a machine left it is accepted too. "
            "Label Studio says so itself of what was submitted.",
        ),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(help="Who decided, where the file does not say it; else the name of the user."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing, say what would be decided.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Take decisions made in Label Studio or CVAT into the decision log.

    Tags and boxes that people set are accepted, boxes that they moved are drawn again, labels that they changed are
    corrected, and what they took away of what vistag had proposed is rejected. A file that was imported adds nothing
    when it comes again. Pictures are found by library and path, as vistag export writes them; labels are those of the
    vocabulary.
    """
    with plain_errors(), own_home(home) as base:
        from resources.workspace import open_workspace
        from vistag_assets.imports.into_log import import_answers
        from vistag_assets.imports.programs import read_answers

        kind = program.value if program else None
        answers = read_answers(file, kind)
        if not base.lake.folders("images"):
            raise UsageError(f"There are no images in {base.root}. Run vistag on a folder first.")
        outcome = import_answers(
            open_workspace(base),
            answers,
            shown=_shown(shown, kind) if shown else None,
            reviewed=reviewed,
            by=by or getpass.getuser(),
            dry_run=dry_run,
        )
        _tell(outcome, dry_run=dry_run)
        if answers.answers and not outcome.answers:
            raise UsageError(f"{file}: none of its pictures is in {base.root}.")


def _shown(file: Path, kind: str | None) -> Mapping[str, Sequence[Mark]]:
    from vistag_assets.imports.programs import read_answers

    given = read_answers(file, kind)
    return given.offered or {answer.picture: answer.marks for answer in given.answers}


def _tell(outcome: Imported, *, dry_run: bool) -> None:
    would = "would be taken" if dry_run else "are taken"
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(outcome.verdicts.items()))
    console.say(
        f"{outcome.program}: {len(outcome.events):,} decisions on {outcome.answers:,} pictures {would} into the log"
        + (f" ({verdicts})." if verdicts else ".")
    )
    if outcome.known:
        console.say(f"{outcome.known:,} answers were imported before, or something later was.")
    if outcome.silent:
        console.say(
            f"{outcome.silent:,} answers decide nothing: what stands in them is as a machine left it (--reviewed accepts "
            "it), or nothing does."
        )
    for event in outcome.events[:SHOWN] if dry_run else ():
        to = f" -> {event.corrected_to}" if event.corrected_to else ""
        console.say(f"  {event.verdict} {event.phrase}{to}: {event.path} ({event.who})")
    _list([f"No such picture: {name}: {reason}" for name, reason in outcome.unknown_pictures])
    _list(
        [
            f"No such label: {label}" + (f" (nearest: {', '.join(near)})" if near else "")
            for label, near in outcome.unknown_labels.items()
        ]
    )
    if outcome.unknown_labels:
        console.say("Those that people set are kept as words: vistag taxonomy learn proposes them as labels.")
    if outcome.updated:
        console.say(f"The tags of {', '.join(outcome.updated)} show it.")
    if outcome.waiting:
        console.say(
            f"The tags of {', '.join(outcome.waiting)} show it after the next run: one is at work, or they are not made yet."
        )


def _list(lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        console.say(line, to=console.err)
    if len(lines) > SHOWN:
        console.say(f"and {len(lines) - SHOWN:,} more", to=console.err)
