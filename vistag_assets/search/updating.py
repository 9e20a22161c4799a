"""What the assets of the two indexes have in common: one is brought up to date with its table, and Dagster is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from resources.home import Home
from resources.metadata import OWNERS, moved_away
from resources.workspace import VistagResource, Workspace
from vistag_assets.failures import told_first
from vistag_assets.search import near_duplicates
from vistag_assets.search.index import VERSION, Updated, remove_folders, update_index
from vistag_assets.search.sources import TABLE_OF, EmbeddingTable, index_directory

DESCRIPTIONS: Mapping[str, str] = {
    "image_index": "A FAISS index over the embeddings of whole images, for vistag search.",
    "region_index": "A FAISS index over the embeddings of regions, with their surroundings and without, for vistag search.",
}


def index_asset(name: str) -> dg.AssetsDefinition:
    """The asset of an index, of all folders together."""

    @dg.asset(
        name=name,
        deps=[TABLE_OF[name]],
        description=DESCRIPTIONS[name],
        group_name="search",
        kinds={"faiss"},
        owners=OWNERS,
        code_version=str(VERSION),
    )
    def made(vistag: VistagResource) -> dg.MaterializeResult[None]:
        with told_first():
            workspace = vistag.open()
            return dg.MaterializeResult(
                metadata=_told(update(workspace, name), index_directory(workspace.home, name))
            )

    return made


def update(workspace: Workspace, name: str) -> Updated:
    """Bring one index of a home up to date with the lake."""
    directory = index_directory(workspace.home, name)
    source = EmbeddingTable(workspace, TABLE_OF[name])
    return update_index(directory, source, workspace.lake.quarantine_root / name, workspace.home.locks)


def update_all(workspace: Workspace) -> list[Updated]:
    return [update(workspace, name) for name in TABLE_OF]


def forget(home: Home, folders: list[str]) -> None:
    """Take folders out of all indexes and groups of a home, so that nothing of them is left on the disk."""
    near_duplicates.forget(home.lake, folders)
    for name in TABLE_OF:
        if (directory := index_directory(home, name)).is_dir():
            remove_folders(directory, folders, home.locks)


def _told(updated: Updated, directory: Path) -> dict[str, Any]:
    index = updated.index
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {
        "dagster/row_count": index.count,
        "path": dg.MetadataValue.path(directory),
        "encoder": index.made_by.name,
        "dimension": index.made_by.dimension,
        "folders": len(index.folders),
        "kept": updated.kept,
        "added": updated.added,
        "dropped": updated.dropped,
        "rewritten": updated.rewritten,
        "segments": len(index.segments),
        "mib": round(sum(path.stat().st_size for path in files) / 2**20, 1),
        **moved_away(updated.quarantined),
    }
