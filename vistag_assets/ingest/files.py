"""What `ingest` does for one folder: files to images, rejects and proxies, brought up to date in the lake."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from resources.home import FolderRef, holds_anything
from resources.images import ingest_folder, prune_proxies
from resources.lake import CorruptPartition, read_stored, same_rows
from resources.object_store import location
from resources.tables import TABLES
from resources.text import one_line
from resources.workspace import Workspace
from vistag_assets.ingest.carry import INGESTED, Elsewhere, carry
from vistag_assets.progress import Meter
from vistag_assets.tags.decided import import_states

_log = logging.getLogger(__name__)
_INGESTED = {name: TABLES[name].schema for name in INGESTED}


@dataclass(frozen=True, slots=True)
class IngestStats:
    """One folder, in numbers of images and of rejected files; `removed`: images that are no longer there, `carried`:
    new ones of which the lake held rows, in another folder or of other bytes with the same pixels.

    `quarantined`: by table, where its damaged file went. `gone`: why the rows were left as they were, if they were.
    """

    images: int
    rejects: int
    decoded: int
    kept: int
    removed: int
    quarantined: Mapping[str, Path]
    gone: str | None = None
    carried: int = 0


def ingest_files(
    workspace: Workspace,
    folder: FolderRef,
    meter: Meter,
    elsewhere: Elsewhere | None = None,
    *,
    read_again: bool = False,
) -> IngestStats:
    """Bring `images`, `rejects` and `proxies` of a folder up to date with its files, and take along what is known of
    those that came from `elsewhere`, which is the same for all folders of a run.

    What rows of people the tags hold goes to the log first: the image may be gone, for this run or for good.
    A folder that is marked as gone, or that vanishes, keeps its rows: its disk may come back. Raises CorruptPartition
    where those are damaged: there are no files to make them of; FileNotFoundError where all of the library vanished.
    """
    import_states(workspace.home, folder.key)
    if folder.gone_since:
        return _keep(workspace, folder.key, f"gone since {folder.gone_since}")
    known: dict[str, pa.Table | None] = {}
    quarantined: dict[str, Path] = {}
    for table, schema in _INGESTED.items():
        with workspace.lake.locked(table, folder.key):
            stored = read_stored(workspace.lake, table, folder.key, schema)
        known[table] = stored.rows
        if stored.quarantined:
            quarantined[table] = stored.quarantined
    try:
        with meter.timed():
            found = ingest_folder(
                folder.directory,
                location(folder.root),
                workspace.home.root,
                workspace.limits,
                known["images"],
                known["rejects"],
                known["proxies"],
                on_progress=meter.folder(),
                read_again=read_again,
                exclude=workspace.settings.excluded.get(folder.library, ()),
            )
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename != str(folder.directory) or not holds_anything(location(folder.root)):
            raise
        _log.warning("%s: %s; what the lake holds of it stays", one_line(folder.directory), error.strerror)
        kept = _keep(workspace, folder.key, "not there when the run came to it")
        return replace(kept, quarantined=quarantined)
    found, carried = carry(
        workspace, folder.key, known["images"], found, elsewhere or Elsewhere(workspace.lake)
    )
    # images last: whoever sees an image finds its proxy
    for table, rows in (("proxies", found.proxies), ("rejects", found.rejects), ("images", found.images)):
        if not same_rows(known[table], rows):
            workspace.lake.write(table, rows, folder.key)
    removed = _count_missing(known["images"], found.images)
    return IngestStats(
        found.images.num_rows,
        found.rejects.num_rows,
        found.decoded,
        found.kept,
        removed,
        quarantined,
        carried=carried,
    )


def _keep(workspace: Workspace, key: str, why: str) -> IngestStats:
    """Leave the rows of a folder as they are; empty tables where it went before there were any.

    Columns that came to a table since then are null: there are no files to fill them from.
    """
    rows = {}
    for table, schema in _INGESTED.items():
        stored = workspace.lake.read_or_none(table, key)
        if stored is None:
            workspace.lake.write(table, schema.empty_table(), key)
        elif missing := set(schema.names) - set(stored.column_names):
            for name in missing:
                stored = stored.append_column(name, pa.nulls(stored.num_rows, schema.field(name).type))
            workspace.lake.write(table, stored.select(schema.names), key)
        rows[table] = 0 if stored is None else stored.num_rows
    return IngestStats(rows["images"], rows["rejects"], 0, rows["images"], 0, {}, why)


def prune(workspace: Workspace) -> int:
    """Remove the proxies that no folder names any more; returns how many.

    None are removed while a folder's table of proxies is damaged: what it names is not known.
    """
    try:
        named = workspace.lake.read_all("proxies", ["path"])["path"].to_pylist()
    except CorruptPartition as error:
        _log.warning("no proxy is removed, because it is not known which are needed: %s", error.problem)
        return 0
    return prune_proxies(workspace.home.root, named)


def _count_missing(before: pa.Table | None, now: pa.Table) -> int:
    if before is None:
        return 0
    return len(set(before["id"].to_pylist()) - set(now["id"].to_pylist()))
