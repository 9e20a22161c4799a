"""What runs that were stopped left undone: folders that lack tables which the tier of the home makes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from resources.home import CorruptRegistration, FolderRef, Home, read_settings
from resources.models.tiers import Tier, load_tier
from resources.tables import PER_FOLDER_TABLES, TABLES
from vistag_assets.folder_asset import declared

INGEST = "ingest"
SHOWN_FOLDERS = 5


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Folders of one library that lack the same tables, in the order of the graph."""

    library: str
    root: str
    folders: tuple[str, ...]
    """keys"""
    tables: tuple[str, ...]
    command: str
    """that makes them"""
    is_at_work: bool

    @property
    def sentence(self) -> str:
        shown = ", ".join(self.folders[:SHOWN_FOLDERS])
        more = len(self.folders) - SHOWN_FOLDERS
        named = f"{shown} and {more:,} more" if more > 0 else shown
        what = "has" if len(self.folders) == 1 else "have"
        told = f"not finished: {named} {what} no {', '.join(self.tables)} yet"
        return f"{told}; a run is at work there." if self.is_at_work else f"{told}: {self.command}"


def unfinished(home: Home) -> list[Unfinished]:
    """What is left to do in the folders that are there, by library. Raises SettingsError, TierError."""
    expected = _expected(load_tier(read_settings(home).tier))
    made = {table: frozenset(home.lake.folders(table)) for table in expected}
    left: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = {}
    for folder in _there(home):
        tables = tuple(table for table in expected if folder.key not in made[table])
        if tables:
            what = (folder.library, folder.root, tables, home.is_worked_on(folder.key))
            left.setdefault(what, []).append(folder.key)
    return [
        Unfinished(library, root, tuple(keys), tables, _command(home, library, root), is_at_work)
        for (library, root, tables, is_at_work), keys in left.items()
    ]


def _expected(tier: Tier) -> list[str]:
    """The tables that a run under a tier makes of every folder."""
    assets = {table: declared(table) for table in PER_FOLDER_TABLES}
    return [
        table
        for table, asset in assets.items()
        if TABLES[table].group == INGEST or (asset is not None and not asset.lacks_model(tier))
    ]


def _there(home: Home) -> Iterator[FolderRef]:
    for file in sorted((home.root / "folders").glob("*.json")):
        try:
            folder = home.folder(file.stem)
        except CorruptRegistration:  # which verify_home tells
            continue
        if not (folder.gone_since or folder.is_missing):
            yield folder


def _command(home: Home, library: str, root: str) -> str:
    named = [] if PurePath(root).name == library else ["--library", library]
    return shlex.join(["vistag", "run", root, *named, "--home", str(home.root)])
