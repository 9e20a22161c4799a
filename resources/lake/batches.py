"""The batches of an update that has not ended: on the disk, so that a killed run loses none, and read again range by range."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.notes import empty_ids
from resources.lake.ranges import IdRange
from resources.lake.store import CorruptPartition, read_parquet, write_parquet
from resources.lake.stored import WANTED, answered_ids, cast, current, fits

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    path: Path
    taken: pa.Table
    """(id, fingerprint) of the ids whose rows are taken from it"""
    first: str
    last: str
    rows: pa.Table | None
    """its rows of these, where they are held"""


@dataclass
class Batches:
    """What was computed for one partition and is not in it yet.

    hold: keep the rows, which are few, instead of reading them again.
    """

    directory: Path
    schema: pa.Schema
    hold: bool
    empty: dict[str, str] = field(default_factory=dict)
    """id -> fingerprint of the ids that are said to have no rows"""
    answered: list[pa.Array] = field(default_factory=list)
    """the ids that have rows in it, or none, a batch each"""
    _taken: list[_Batch] = field(default_factory=list)
    _number: int = 0
    """of the last file"""

    def resume(self, wanted: pa.Table) -> int:
        """Takes what an earlier run left of `wanted` (id, fingerprint); returns of how many ids. Batches of no use are removed."""
        for path in sorted(self.directory.glob("*.parquet")):
            try:
                batch = read_parquet(path)
            except CorruptPartition as error:
                _log.warning("a pending batch is discarded: %s", error.problem)
                path.unlink()
                continue
            if not fits(batch, self.schema):
                path.unlink()
                continue
            wanted = without(wanted, self._take(path, current(cast(batch, self.schema), wanted)))
        return sum(map(len, self.answered))

    def write(self, rows: pa.Table) -> None:
        """Keeps a batch that was computed now, all of it."""
        if not self._number:
            self._number = max((int(path.stem) for path in self.directory.glob("*.parquet")), default=0)
        self._number += 1
        path = self.directory / f"{self._number:06d}.parquet"
        write_parquet(path, rows)
        self._take(path, rows)

    def rows(self, ids: IdRange) -> Iterator[pa.Table]:
        """The rows of some ids, batch by batch, without notes."""
        for batch in self._taken:
            if not ids.meets(batch.first, batch.last):
                continue
            if batch.rows is not None:
                yield ids.of(batch.rows)
            else:
                rows = ids.of(cast(_read_again(batch.path), self.schema))
                yield current(rows, batch.taken).replace_schema_metadata(None)

    def _take(self, path: Path, rows: pa.Table) -> pa.Array:
        self.empty |= empty_ids(rows)
        keys = rows.select(WANTED.names).group_by(WANTED.names).aggregate([])
        if keys.num_rows:
            ends = pc.min_max(keys["id"]).as_py()
            held = rows.replace_schema_metadata(None) if self.hold else None
            self._taken.append(_Batch(path, keys, ends["min"], ends["max"], held))
        ids = answered_ids(rows)
        if len(ids):
            self.answered.append(ids)
        return ids


def _read_again(path: Path) -> pa.Table:
    """A batch that was whole when it was written or resumed. Raises OSError."""
    try:
        return read_parquet(path)
    except CorruptPartition as error:
        raise OSError(errno.EIO, f"{error.problem}, and was one in this run: look after its disk") from error


def without(wanted: pa.Table, *ids: pa.Array) -> pa.Table:
    """`wanted` but for some ids."""
    for done in ids:
        wanted = wanted.filter(pc.invert(pc.is_in(wanted["id"], done)))
    return wanted
