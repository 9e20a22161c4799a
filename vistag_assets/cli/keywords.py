"""The keywords that people left in their files: which the vocabulary knows, and which it does not."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resources.text import one_line
from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, own_home, plain_errors

if TYPE_CHECKING:
    from resources.home import FolderRef, Home
    from resources.workspace import Workspace
    from taxonomy import Taxonomy
    from vistag_assets.ingest.keywords import Keyworded, Told

SHOWN = 20


def keywords(
    library: Annotated[str | None, typer.Option(help="Only of this library; else of all.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the whole list as CSV: keyword, pictures, meaning.")
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="Keep those that the vocabulary knows as decisions: the tags become human, with the file as their source.",
        ),
    ] = False,
    home: HomeOption = None,
) -> None:
    """List the keywords that people left in the files of a home: known, unknown with the nearest label, ambiguous."""
    with plain_errors(), own_home(home) as base:
        from resources.workspace import open_workspace

        workspace = open_workspace(base)
        pictures = list(pictures_with_keywords(workspace, library))
        found = told(pictures)
        show(found, workspace.taxonomy)
        if to:
            _write(to, found, workspace.taxonomy)
        if accept:
            _accept(workspace, pictures)


def pictures_with_keywords(workspace: Workspace, library: str | None) -> Iterable[Keyworded]:
    """Of the folders of a library, or of all, that are not gone. Raises UsageError where there are none."""
    from vistag_assets.ingest.keywords import keywords_in_lake

    folders = _folders(workspace.home, library)
    if not folders:
        raise UsageError(f"There are no images in {workspace.home.root}. Run vistag on a folder first.")
    return keywords_in_lake(workspace.lake, [folder.key for folder in folders], workspace.taxonomy)


def _folders(home: Home, library: str | None) -> list[FolderRef]:
    there = (home.folder(key) for key in home.lake.folders("images"))
    return [folder for folder in there if library in (None, folder.library) and not folder.gone_since]


def told(pictures: Iterable[Keyworded]) -> Told:
    from vistag_assets.ingest.keywords import Told

    found = Told()
    for picture in pictures:
        found.add(picture.meant)
    return found


def show(found: Told, taxonomy: Taxonomy) -> None:
    """How many pictures have keywords, and what these are, the most frequent first."""
    nearest = found.nearest(taxonomy)
    labels = taxonomy.shown_labels
    console.say(
        f"{found.described:,} of {found.pictures:,} pictures have keywords: {len(found.concepts):,} concepts of the "
        f"vocabulary, {len(found.unknown):,} keywords that are none, {len(found.ambiguous):,} that may be several."
    )
    _list("Known", found.concepts, {id_: labels[id_] for id_ in found.concepts})
    _list("Unknown", found.unknown, {name: f"{name} (nearest: {near})" for name, near in nearest.items()})
    of = {name: f"{name} ({' or '.join(ids)})" for name, ids in found.candidates.items()}
    _list("Ambiguous", found.ambiguous, of)


def _list(title: str, counted: Counter[str], shown: dict[str, str]) -> None:
    from vistag_assets.ingest.keywords import most_frequent

    if counted:
        first = most_frequent(counted)[:SHOWN]
        names = ", ".join(f"{one_line(shown.get(name, name))} {count:,}" for name, count in first)
        more = f" and {len(counted) - SHOWN:,} more" if len(counted) > SHOWN else ""
        console.say(f"{title}: {names}{more}.")


def _write(to: Path, found: Told, taxonomy: Taxonomy) -> None:
    from resources.lake.files import replace_file
    from vistag_assets.exports.csv_table import harmless
    from vistag_assets.ingest.keywords import most_frequent

    nearest = found.nearest(taxonomy)
    rows: list[Sequence[object]] = [("keyword", "pictures", "meaning", "concept_id", "nearest_label")]
    rows += [
        (taxonomy.pref_labels[id_], count, "known", id_, "") for id_, count in most_frequent(found.concepts)
    ]
    rows += [
        (name, count, "unknown", "", nearest.get(name, "")) for name, count in most_frequent(found.unknown)
    ]
    rows += [
        (name, count, "ambiguous", " ".join(found.candidates[name]), "")
        for name, count in most_frequent(found.ambiguous)
    ]
    text = io.StringIO()
    csv.writer(text).writerows([harmless(str(cell)) for cell in row] for row in rows)
    with replace_file(to) as file:
        file.write(text.getvalue().encode("utf-8-sig"))
    console.say(f"{to}: {len(rows) - 1:,} keywords.")


def _accept(workspace: Workspace, pictures: Iterable[Keyworded]) -> None:
    """Once each: what is there already is kept as it is, and what a person said stands."""
    from vistag_assets.ingest.keywords import accept as keep

    count = keep(workspace.decisions, pictures)
    console.say(f"{count:,} keywords of pictures are decisions. The tags show them after the next run.")
