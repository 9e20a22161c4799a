"""The vectors of the lake that are indexed: those that the home's encoder made, told by their fingerprints."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.home import Home, UnknownFolder
from resources.lake import LakeError
from resources.lake.versions import glance
from resources.tables import TABLES
from resources.workspace import Workspace
from vistag_assets.folder_asset import declared
from vistag_assets.search.index import IDENTITY, Batch, MadeBy

_log = logging.getLogger(__name__)
_BOX = pa.list_(pa.float32(), 4)
_SCHEMA = pa.schema([*((name, pa.string()) for name in IDENTITY), ("bbox", _BOX)])
INDEXES = "indexes"
"""Where indexes lie in a home."""
PARTS: Mapping[str, Mapping[str, str]] = {
    "global_embeddings": {"image": "embedding"},
    "region_embeddings": {"box": "embedding", "mask": "masked_embedding"},
}
"""Table -> part of a picture that a vector is of -> its column."""
TABLE_OF: Mapping[str, str] = {"image_index": "global_embeddings", "region_index": "region_embeddings"}


def index_directory(home: Home, name: str) -> Path:
    return home.root / INDEXES / name


@dataclass(frozen=True)
class EmbeddingTable:
    """A table of embeddings as what an index is made of. Folders that are gone, and rows that another encoder made, are
    not in it.
    """

    workspace: Workspace
    table: str

    @property
    def made_by(self) -> MadeBy:
        encoder = self.workspace.encoder
        return MadeBy(encoder.spec.name, encoder.fingerprint, encoder.dimension)

    def states(self) -> dict[str, str]:
        lake = self.workspace.lake
        return {
            key: glance([lake.data_file(self.table, key)])
            for key in lake.folders(self.table)
            if _is_there(self.workspace.home, key)
        }

    def read(self, folder: str) -> Batch:
        """What cannot be read is left out, with a warning: the run of its folder makes it anew."""
        parts, vectors = list[pa.Table](), list[NDArray[np.float16]]()
        try:
            stored = self._current(folder)
        except LakeError as error:
            _log.warning("left out: %s", error)
            stored = self._nothing
        boxes = self._boxes(folder, stored)
        for part, column in PARTS[self.table].items():
            has = stored[column].is_valid()
            some = stored.filter(has)
            parts.append(_described(folder, some, part, boxes.filter(has)))
            vectors.append(_halves(some[column], self.made_by.dimension))
        return pa.concat_tables(parts), np.concatenate(vectors)

    def _current(self, folder: str) -> pa.Table:
        """The rows that the encoder of the home made of what the lake holds. Raises LakeError."""
        stored = self.workspace.lake.read(self.table, folder)
        vector = pa.list_(pa.float16(), self.made_by.dimension)
        if stored.schema.field("embedding").type != vector:  # of an encoder with other vectors
            return self._nothing
        asset = declared(self.table)
        assert asset is not None, self.table
        fingerprints = asset.wanted(self.workspace, folder)
        by_it = [
            fingerprints.get(id_) == stamp
            for id_, stamp in zip(stored["id"].to_pylist(), stored["fingerprint"].to_pylist(), strict=True)
        ]
        return stored.filter(pa.array(by_it, pa.bool_()))

    def _boxes(self, folder: str, stored: pa.Table) -> pa.ChunkedArray:
        """Where in its picture each row is; null for a whole one."""
        if "region_id" not in stored.column_names:
            return pa.chunked_array([pa.nulls(stored.num_rows, _BOX)])
        regions = self.workspace.lake.read("grounded_regions", folder, ["region_id", "bbox"])
        return regions["bbox"].cast(_BOX).take(pc.index_in(stored["region_id"], regions["region_id"]))

    @property
    def _nothing(self) -> pa.Table:
        return TABLES[self.table].sized(self.made_by.dimension).empty_table()


def _described(folder: str, stored: pa.Table, part: str, boxes: pa.ChunkedArray) -> pa.Table:
    count = stored.num_rows
    regions = stored["region_id"] if "region_id" in stored.column_names else pa.nulls(count, pa.string())
    columns = [_repeated(folder, count), stored["id"], regions, _repeated(part, count), stored["fingerprint"]]
    return pa.table([*columns, boxes], schema=_SCHEMA)


def _repeated(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def _halves(column: pa.ChunkedArray, dimension: int) -> NDArray[np.float16]:
    """The vectors of a column as they are stored [n, dimension]."""
    values = column.combine_chunks().flatten()
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float16).reshape(-1, dimension)


def _is_there(home: Home, key: str) -> bool:
    """Whether a folder is one that searches show: known, and not gone."""
    try:
        return not home.folder(key).gone_since
    except UnknownFolder:
        return False
