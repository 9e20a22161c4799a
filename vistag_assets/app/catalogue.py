"""What the lake holds, as pages ask for it: files by their ids. It is only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from resources.lake import CorruptPartition, MissingPartition
from resources.lake.versions import glance
from resources.workspace import Workspace
from vistag_assets.lineage import pixel_hashes

_FOLDERS_KNOWN = 64


@dataclass(frozen=True, slots=True)
class File:
    """An image of a folder."""

    path: str
    """relative to its library"""
    pixel_hash: str | None


class Catalogue:
    """The images of a home."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._read = lru_cache(_FOLDERS_KNOWN)(self._files)

    def file_of(self, folder: str, image_id: str) -> File | None:
        """None where this home does not know the folder, or no such image in it."""
        try:
            version = glance([self.workspace.lake.data_file("images", folder)])
            return self._read(folder, version).get(image_id)
        except (ValueError, FileNotFoundError, MissingPartition, CorruptPartition):
            return None

    def _files(self, folder: str, version: str) -> Mapping[str, File]:
        """`version` tells a partition from the one that it replaces."""
        rows = self.workspace.lake.read("images", folder)
        pixels = pixel_hashes(rows)
        paths = zip(rows["id"].to_pylist(), rows["path"].to_pylist(), strict=True)
        return {id_: File(path, pixels[id_]) for id_, path in paths}
