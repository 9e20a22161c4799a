"""What people say of tags."""

from __future__ import annotations

import getpass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, own_home, plain_errors

if TYPE_CHECKING:
    from vistag_assets.tags.decide import Decided


class Word(StrEnum):
    """What can be said."""

    accept = "accept"
    reject = "reject"


def decide(
    image: Annotated[str, typer.Argument(help="The path of a file in a library, or the id of an image.")],
    concept: Annotated[
        str, typer.Argument(help="Id or label of a concept, or the words that were proposed.")
    ],
    word: Annotated[
        Word | None, typer.Argument(metavar="[accept|reject]", help="Not needed with --undo.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; else the name of the user.")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back what was last said of this tag of this image.")
    ] = False,
    words: Annotated[
        bool,
        typer.Option(
            "--words",
            help="Keep words that are no label of the vocabulary: vistag taxonomy learn proposes them.",
        ),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Say that a tag is right or wrong. It is kept for good, whatever becomes of the file."""
    with plain_errors(), own_home(home) as base:
        if (word is None) != undo:
            raise UsageError("Say accept or reject, or --undo to take back what was last said.")
        from resources.workspace import open_workspace
        from vistag_assets.tags.decide import decide

        verdict = "undo" if word is None else word.value
        workspace = open_workspace(base)
        who = by or getpass.getuser()
        decided = decide(workspace, image, concept, verdict, who, words=words)  # type: ignore[arg-type]
        for sentence in _told(decided):
            console.say(sentence)


def _told(decided: Decided) -> list[str]:

    label = f"{decided.label!r} of {console.printable(decided.pictures[0].path)}"
    if decided.event is None:
        return [f"Nothing was said of {label}: there is nothing to take back."]
    now = decided.now
    stands = "is what the machine says" if now is None else "stands" if now.accepted else "is rejected"
    took_back = f"decision {decided.event.undoes} is taken back, " if decided.event.undoes else ""
    told = [f"{took_back}{label} {stands} (decision {decided.event.seq} by {decided.event.who})."]
    others = len(decided.pictures) - 1
    if others:
        told.append(f"The same picture lies in {others:,} other places: it holds there too.")
    if decided.updated:
        told.append(
            f"The tags of {', '.join(decided.updated)} show it; the contact sheet does after the next run."
        )
    if decided.waiting:
        told.append(
            f"The tags of {', '.join(decided.waiting)} show it after the next run: one is at work, or they are not made yet."
        )
    return told
