"""Exports that a home follows: what is remembered of them, and the jobs that write them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resources.home import ExportSettings, FolderRef, Home, Settings
from resources.workspace import Workspace
from vistag_assets.exports.formats import FORMATS, Format
from vistag_assets.exports.job import EXPORTS, ExportError, Job, Outcome
from vistag_assets.exports.records import Selection


def followed(settings: Settings) -> list[Format]:
    """The formats that a home asks for, in their order here. Raises ExportError where one is none."""
    if unknown := settings.exports.keys() - FORMATS.keys():
        raise ExportError(
            f"settings.json names exports that are none: {', '.join(sorted(unknown))}. Known are {', '.join(FORMATS)}"
        )
    return [format_ for name, format_ in FORMATS.items() if name in settings.exports]


def export_again(
    workspace: Workspace, format_: Format, folders: Sequence[FolderRef] | None = None
) -> list[tuple[Path, Outcome]]:
    """Write an export as the home remembers it, or as it is by default; where to, and what it came to.

    `folders`: only these, of a format that is written a folder at a time. Raises ExportError, OSError.
    """
    asked = workspace.settings.exports.get(format_.name, ExportSettings())
    try:
        options = format_.options(**asked.options)
    except TypeError as error:
        raise ExportError(f"settings.json, exports, {format_.name}: {error}") from error
    selection = Selection(
        frozenset(asked.state), asked.min_probability, dict(asked.thresholds), asked.flagged, asked.ancestors
    )
    to = Path(asked.to) if asked.to else workspace.home.root / EXPORTS / format_.name
    return [
        (place, Job(workspace, format_, place, selection=selection, folders=those, options=options).run())
        for place, those in places(workspace.home, to, folders, beside=getattr(options, "beside", False))
    ]


def places(
    home: Home, to: Path, folders: Sequence[FolderRef] | None, *, beside: bool
) -> list[tuple[Path, list[FolderRef] | None]]:
    """Where to write, and which folders: `beside` the pictures there is a place for each library. Raises ExportError."""
    if not beside:
        return [(to, None if folders is None else list(folders))]
    every = [home.folder(key) for key in home.lake.folders("images")] if folders is None else folders
    roots: dict[str, list[FolderRef]] = {}
    for folder in every:
        if "://" in folder.root:
            raise ExportError(
                f"{folder.root} is on an object store: nothing is written there. Give --to, for a mirror"
            )
        if not folder.gone_since:
            roots.setdefault(folder.root, []).append(folder)
    return [(Path(root), those) for root, those in roots.items()]
