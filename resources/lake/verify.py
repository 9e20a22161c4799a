"""Whether a lake holds what it should: whole files, every row once, and no row of something that is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.notes import empty_ids, failed_ids
from resources.lake.store import CorruptPartition, Lake, LakeError, MissingPartition
from resources.object_store import Location
from resources.tables import Table

SHOWN_IDS = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, with a sentence that says what to do; `count` in rows, images or files."""

    kind: str
    """a short stable word"""
    sentence: str
    table: str | None = None
    folder: str | None = None
    file: str | None = None
    count: int = 1
    is_fault: bool = True
    """False: information, such as batches that the next run takes up"""


@dataclass(frozen=True, slots=True)
class Partitions:
    """What could be read of the partitions of one folder, and the tables whose files are damaged."""

    rows: Mapping[str, pa.Table]
    damaged: frozenset[str]


@dataclass(frozen=True, slots=True)
class Inspection:
    """How the tables of a lake are looked at: what each should be, and what to do about one of a folder that is not."""

    lake: Lake
    tables: Mapping[str, Table]
    remedy: Callable[[str, str | None], str]

    def read(
        self, folder: str | None, tables: Sequence[str], *, deep: bool
    ) -> tuple[Partitions, list[Finding]]:
        """The key columns (all of them, if `deep`) of one folder's partitions, and a finding for each that fails.

        Every page that is read has its checksum verified.
        """
        rows: dict[str, pa.Table] = {}
        findings: list[Finding] = []
        for table in tables:
            file = str(self.lake.data_file(table, folder))
            try:
                read = self.lake.read(table, folder, None if deep else self._key(table))
                rows[table] = _of_columns(read, self._key(table), file) if deep else read
            except MissingPartition:  # removed since it was listed
                continue
            except CorruptPartition as error:
                findings.append(self._finding("damaged_file", error.problem, table, folder, file))
            except LakeError as error:
                findings.append(self._finding("other_columns", str(error), table, folder, file))
        return Partitions(rows, frozenset(str(finding.table) for finding in findings)), findings

    def doubled_rows(self, partitions: Partitions, folder: str | None) -> Iterator[Finding]:
        """Rows that are there twice."""
        for table, rows in partitions.rows.items():
            if not (key := self._key(table)):
                continue
            counts = rows.group_by(list(key)).aggregate([([], "count_all")])
            twice = counts.filter(pc.greater(counts["count_all"], 1))
            if twice.num_rows:
                first = ", ".join(
                    str(value) for value in twice.select(key).slice(0, 1).to_pylist()[0].values()
                )
                sentence = (
                    f"{_named(table, folder)} holds {twice.num_rows:,} keys ({', '.join(key)}) more than once, "
                    f"such as {first}: delete that partition, then {self.remedy(table, folder)}."
                )
                yield Finding("doubled_rows", sentence, table, folder, count=twice.num_rows)

    def lost_and_stray_rows(self, partitions: Partitions, folder: str, root: str) -> Iterator[Finding]:
        """Rows that are lost and rows of ids that are gone; `root` is the table that says which ids there are."""
        if root in partitions.damaged:
            return
        if root not in partitions.rows:
            yield self._missing_partition(root, folder, sorted(partitions.rows))
            return
        there = partitions.rows.keys() | partitions.damaged
        always = {name for name, table in self.tables.items() if table.always}
        for table in sorted(always - there):
            yield self._missing_partition(table, folder, [root])
        known = set(partitions.rows[root]["id"].to_pylist())
        present = {
            table: set(pc.unique(rows["id"]).to_pylist()) | empty_ids(rows).keys()
            for table, rows in partitions.rows.items()
            if "id" in self._key(table)
        }
        for table in sorted(present.keys() - {root}):
            sources = self.tables[table].parents
            for source in sources:
                if source not in there | always:
                    yield self._missing_partition(source, folder, [table])
            if strays := present[table] - known:
                gone = f"{len(strays):,} images that {root} no longer holds, {_some(strays)}"
                told = f"{_named(table, folder)} has rows of {gone}"
                yield self._finding("stray_rows", told, table, folder, count=len(strays))
            if not all(source in present for source in sources):
                continue
            expected = known.intersection(*(present[source] for source in sources))
            if missing := expected - present[table] - failed_ids(partitions.rows[table]).keys():
                lost = f"{len(missing):,} of {len(known):,} images, {_some(missing)}"
                yield self._finding(
                    "missing_rows", f"{_named(table, folder)} lacks {lost}", table, folder, count=len(missing)
                )

    def _key(self, table: str) -> tuple[str, ...]:
        """The columns that tell its rows apart; none of a table that nobody knows."""
        return self.tables[table].key if table in self.tables else ()

    def _missing_partition(self, table: str, folder: str, needed_by: Sequence[str]) -> Finding:
        told = f"{_named(table, folder)} has no file, though there is one of {', '.join(needed_by)}"
        return self._finding("missing_partition", told, table, folder)

    def _finding(
        self, kind: str, told: str, table: str, folder: str | None, file: str | None = None, count: int = 1
    ) -> Finding:
        return Finding(kind, f"{told}: {self.remedy(table, folder)}.", table, folder, file, count)


def check_files(lake: Lake) -> Iterator[Finding]:
    """Files that have no place in the lake, those of killed writers among them, and batches of unfinished runs."""
    for file in lake.files():
        parts = file.parts[len(lake.root.parts) :]
        folder = parts[1].removeprefix("folder=") if len(parts) == 3 else None
        if parts[-1] == "data.parquet" and file == _expected(lake, parts[0], folder):
            continue
        if isinstance(file, Path) and _is_temporary(file):
            yield _left_over(lake, file, parts[0], folder)
        else:
            sentence = f"{file} is no file of the lake, and other readers may take it for rows: move it away."
            yield Finding("unknown_file", sentence, parts[0], folder, str(file))
    for directory in sorted(path for path in lake.pending_root.glob("*/*") if path.is_dir()):
        table = directory.parent.name
        folder = None if directory.name == ".data" else directory.name
        for file in sorted(filter(_is_temporary, directory.iterdir())):
            yield _left_over(lake, file, table, folder)
        if batches := len(list(directory.glob("*.parquet"))):
            sentence = (
                f"{_named(table, folder)} has {batches:,} batches of a run that has not ended: "
                "the next run takes them up."
            )
            yield Finding("pending_batches", sentence, table, folder, str(directory), batches, is_fault=False)


def _left_over(lake: Lake, file: Path, table: str, folder: str | None) -> Finding:
    if lake.locks.is_held(lake.lock_file(table, folder)):
        sentence = f"{file} is being written at this moment."
        return Finding("being_written", sentence, table, folder, str(file), is_fault=False)
    sentence = (
        f"{file} was left by a run that was killed: the next run that writes there removes it, or you do."
    )
    return Finding("temporary_file", sentence, table, folder, str(file))


def _of_columns(rows: pa.Table, columns: Sequence[str], file: str) -> pa.Table:
    if missing := [name for name in columns if name not in rows.column_names]:
        raise LakeError(f"{file} has no column {', '.join(missing)}")
    return rows.select(columns)


def _expected(lake: Lake, table: str, folder: str | None) -> Location | None:
    try:
        return lake.data_file(table, folder)
    except ValueError:
        return None


def _is_temporary(file: Path) -> bool:
    return file.name.startswith(".") and file.suffix == ".tmp"


def _named(table: str, folder: str | None) -> str:
    return table if folder is None else f"{table} of folder {folder}"


def _some(ids: set[str]) -> str:
    return "such as " + ", ".join(sorted(ids)[:SHOWN_IDS])
