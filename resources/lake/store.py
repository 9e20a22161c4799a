"""The layout of the lake on disk: reading, replacing and listing partitions, and SQL over all of them."""

import contextlib
import glob
import logging
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.files import make_directory, move_file, remove_temporaries, replace_file
from resources.lake.leases import require_held
from resources.lake.locks import FILE_LOCKS, Locks
from resources.lake.notes import notes_in
from resources.lake.object_store import BESIDE, MARKER, StoreFiles, claim
from resources.lake.ranges import EVERY_ID, Ids, IdSet
from resources.object_store import Location, ObjectPath, ObjectReplaced
from resources.tables import TABLES

_log = logging.getLogger(__name__)

_DATA_FILE = "data.parquet"
_PARTITION_PREFIX = "folder="
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ROWS_AT_A_TIME = 131_072
"""Of a row group of which not all is kept."""
_LEFT_OUT = "left out: %s"
_PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
_FORBIDDEN_IN_FOLDER = re.compile(r"^\.|[/\\=%\x00-\x1f]|^$")


class LakeError(Exception):
    """Something about the lake that the user has to know."""


class MissingPartition(LakeError):
    """The partition (or table) was never written, or was deleted."""


class CorruptPartition(LakeError):
    """The file is there but is not a whole Parquet file; `problem` says so without what to do about it."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}: run vistag on its folder again, which moves the file to quarantine and computes its "
            "rows anew; vistag verify --deep says what else is damaged"
        )
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Lake:
    """Parquet tables under `root`: `<table>/folder=<key>/data.parquet`, or `<table>/data.parquet`.

    `folder` is a key as made by `folder_key`; None stands for a table that has no partitions. Batches of
    unfinished updates and the locks lie under `pending_root`, corrupt files are moved to `quarantine`
    beside it; both must be on the file system of `root`, unless that is on an object store: then they lie in
    the home, the only one that may write there.

    Readers take no lock: they see the last whole partition. Writers of one partition wait for each other.
    """

    root: Location
    pending_root: Path
    locks: Locks = FILE_LOCKS

    # ---- reading

    def read(
        self,
        table: str,
        folder: str | None = None,
        columns: Sequence[str] | None = None,
        ids: Ids = EVERY_ID,
    ) -> pa.Table:
        """The rows of one partition, or those of some ids, without a `folder` column; notes are of these ids too.

        No columns: their number and the notes alone. Raises MissingPartition, CorruptPartition, and LakeError if one of
        `columns` is not there.
        """
        path = self.data_file(table, folder)
        try:
            return read_parquet(path, columns, ids)
        except FileNotFoundError:
            raise MissingPartition(
                f"{path} does not exist: materialise {_describe(table, folder)} first"
            ) from None

    def read_or_none(
        self,
        table: str,
        folder: str | None = None,
        columns: Sequence[str] | None = None,
        ids: Ids = EVERY_ID,
    ) -> pa.Table | None:
        """As `read`, but None where there is no such partition."""
        try:
            return self.read(table, folder, columns, ids)
        except MissingPartition:
            return None

    def reduced(
        self, table: str, folder: str | None, columns: Sequence[str], keep: Callable[[pa.Table], pa.Table]
    ) -> pa.Table | None:
        """What `keep` leaves of each part of one partition, one after the other: no more of it is held than that.

        None where there is no such partition. Raises as `read`.
        """
        try:
            return read_parquet(self.data_file(table, folder), columns, keep=keep)
        except FileNotFoundError:
            return None

    def schema(self, table: str, folder: str | None = None) -> pa.Schema | None:
        """The columns of one partition with its notes; None where there is none. Raises CorruptPartition."""
        try:
            return read_parquet(self.data_file(table, folder), keep=_nothing).schema
        except FileNotFoundError:
            return None

    def rows_of(
        self, table: str, folder: str, ids: Collection[str], columns: Sequence[str] | None = None
    ) -> pa.Table | None:
        """The rows of some ids in one partition, in their order there; None where there is no such partition.

        Raises CorruptPartition, and LakeError if one of `columns` is not there.
        """
        return self.read_or_none(table, folder, columns, IdSet(ids))

    def read_all(
        self, table: str, columns: Sequence[str] | None = None, *, skip_damaged: bool = False
    ) -> pa.Table:
        """The rows of all partitions, ordered by folder, with the key in a string column `folder` at the end.

        Columns that a partition lacks are null there, unless `columns` asks for them. `skip_damaged` leaves
        corrupt files out, with a warning in the log. Raises MissingPartition if there is no partition at all,
        CorruptPartition, and LakeError if types differ between partitions.
        """
        parts = []
        for folder, rows in self._partitions(table, self.folders(table), columns, skip_damaged=skip_damaged):
            key = pa.repeat(pa.scalar(folder, pa.string()), rows.num_rows)
            parts.append(rows.append_column("folder", key))
        if not parts:
            raise MissingPartition(f"{self._table(table)} has no partitions: materialise {table} first")
        _refuse_mixed_types(parts, self._table(table))
        return pa.concat_tables(parts, promote_options="default")

    def exists(self, table: str, folder: str | None = None) -> bool:
        return self.data_file(table, folder).is_file()

    def folders(self, table: str) -> list[str]:
        """The keys of the partitions of `table`, sorted; empty if there are none."""
        files = self._table(table).glob(f"{_PARTITION_PREFIX}*/{_DATA_FILE}")
        # Some file systems hand names back decomposed; keys are NFC.
        names = (unicodedata.normalize("NFC", file.parent.name) for file in files)
        return sorted(name.removeprefix(_PARTITION_PREFIX) for name in names)

    def tables(self) -> list[str]:
        """The names of the tables that have at least one partition (or are whole), sorted."""
        patterns = (f"*/{_DATA_FILE}", f"*/{_PARTITION_PREFIX}*/{_DATA_FILE}")
        if isinstance(self.root, ObjectPath):  # not by a glob, which lists what lies beside the tables too
            listed = [file.relative_to(self.root) for file in self.files() if isinstance(file, ObjectPath)]
            inside = [file for file in listed if any(map(file.match, patterns)) and len(file.parts) <= 3]
        else:
            inside = [
                PurePosixPath(file.relative_to(self.root))
                for pattern in patterns
                for file in self.root.glob(pattern)
            ]
        names = {file.parts[0] for file in inside}
        return sorted(name for name in names if _TABLE_NAME.fullmatch(name))

    def files(self) -> list[Location]:
        """Every file below the root, sorted; on a store but for what is no table: whose lake it is, and what workers share."""
        if isinstance(self.root, ObjectPath):
            objects, prefixes = self.root.contents()
            tables = (self.root / prefix for prefix in prefixes if prefix != BESIDE)
            below = [*objects, *(found for table in tables for found in table.listing())]
            return sorted(found.path for found in below if found.path != self.root / MARKER)
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def connect(
        self,
        *,
        skip_damaged: bool = False,
        gone: Collection[str] = (),
        tables: Collection[str] | None = None,
    ) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB connection with one view for each of `tables()`, or of those of them that are named in
        `tables`, and `tagged_images`: every tag with the path of its image, but for those of the folders `gone`.

        The views of partitioned tables have a VARCHAR column `folder` (a filter on it reads those partitions
        only) and see partitions written later; a column that a partition lacks is null there. DuckDB reads
        fixed-size lists of float16 as FLOAT[]; cast to FLOAT[<dim>] for its array functions.
        `skip_damaged` leaves files out whose footer does not read, with a warning in the log, and a table that
        has no other. Raises CorruptPartition for such a file, LakeError if the path of the lake itself looks
        like a Hive partition.
        """
        misleading = [part for part in self.root.absolute().parts if "=" in part]
        if misleading:
            raise LakeError(
                f"the lake {self.root} lies under {misleading[0]!r}, which Hive readers take for a column: "
                "move the home to a path without '='"
            )
        connection = duckdb.connect()
        # its own bar would go to standard output, into what other programs read
        connection.execute("set enable_progress_bar = false")
        if isinstance(self.root, ObjectPath):
            connection.register_filesystem(StoreFiles())
        views: set[str] = set()
        for table in self.tables():
            if tables is not None and table not in tables:
                continue
            try:
                connection.execute(_view(table, self._scan(table), views))
                views.add(table)
            except duckdb.Error:
                whole = self._whole_folders(table, skip_damaged=skip_damaged)
                if not skip_damaged:
                    raise
                if whole:
                    connection.execute(_view(table, self._scan(table, whole), views))
        _add_tagged_images(connection, gone)
        return connection

    # ---- writing

    def write(self, table: str, rows: pa.Table, folder: str | None = None) -> None:
        """Replaces one partition by `rows` (zstd, page checksums), wholly or not at all; makes it if absent.

        Raises ValueError if `rows` has a column `folder`, which is the partition's, and LakeError if the
        table exists with partitions and `folder` is None, or the other way round.
        """
        with self.locked(table, folder):
            self.replace(table, rows, folder)

    def replace(self, table: str, rows: pa.Table, folder: str | None = None) -> None:
        """As `write`, for a caller that is inside `locked`."""
        self._require_place(table, rows.schema, folder)
        write_parquet(self.data_file(table, folder), rows)

    @contextlib.contextmanager
    def replaced_in_parts(
        self, table: str, schema: pa.Schema, folder: str | None = None
    ) -> Iterator[Callable[[pa.Table], None]]:
        """As `replace`, by rows that come one part after the other: what is called with each, in the order of the file.

        A part begins a row group. `schema` has the notes. An error in the block leaves the partition as it was.
        """
        self._require_place(table, schema, folder)
        make_directory(self.pending_root)
        with (
            replace_file(self.data_file(table, folder), self.pending_root) as file,
            pq.ParquetWriter(file, schema, **_PARQUET) as writer,
        ):
            is_empty = True

            def write(rows: pa.Table) -> None:
                nonlocal is_empty
                if rows.num_rows:
                    writer.write_table(rows)
                    is_empty = False

            yield write
            if is_empty:  # as of any table without rows
                writer.write_table(schema.empty_table())

    def _require_place(self, table: str, schema: pa.Schema, folder: str | None) -> None:
        if "folder" in schema.names:
            raise ValueError(
                f"rows of {table} have a column 'folder', which is the name of the partition: rename it"
            )
        if self.folders(table) if folder is None else self.exists(table):
            raise LakeError(
                f"{self._table(table)} exists {'with' if folder is None else 'without'} partitions: "
                "delete that directory or use another table name"
            )

    def delete(self, table: str, folder: str | None = None) -> None:
        """Removes one partition and its pending batches; nothing happens if there is none."""
        with self.locked(table, folder):
            path = self.data_file(table, folder)
            require_held()
            path.unlink(missing_ok=True)
            self.remove_pending(table, folder)
            if isinstance(path, Path) and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

    @contextlib.contextmanager
    def locked(self, table: str, folder: str | None = None) -> Iterator[None]:
        """Holds the lock of one partition and clears away what killed writers left; waits for other writers.

        Not re-entrant: `write`, `delete` and `update_partition` of the same partition would wait for ever.
        Raises ForeignLake for a lake on an object store that another home writes to.
        """
        partition = self.data_file(table, folder).parent
        with self.locks.held(self.lock_file(table, folder)):
            require_held()
            if isinstance(self.root, ObjectPath):
                claim(self.root, self.pending_root.parent)
            if isinstance(partition, Path):
                remove_temporaries(partition)
            remove_temporaries(self.pending(table, folder))
            yield

    def quarantine(self, table: str, folder: str | None = None) -> Path:
        """Moves a corrupt partition out of the lake, for a caller inside `locked`; returns where to.

        That is `quarantine/<table>/folder=<key>/<time, UTC>-data.parquet`: where it was, under another root.
        """
        path = self.data_file(table, folder)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{path.name}"
        destination = self.quarantine_root.joinpath(*path.parts[len(self.root.parts) : -1], name)
        require_held()
        move_file(path, destination)
        return destination

    # ---- paths

    @property
    def quarantine_root(self) -> Path:
        return self.pending_root.parent / "quarantine"

    def data_file(self, table: str, folder: str | None = None) -> Location:
        """Where the partition is, if it exists; ValueError if `table` or `folder` cannot be a name."""
        if folder is None:
            return self._table(table) / _DATA_FILE
        if _FORBIDDEN_IN_FOLDER.search(folder):
            raise ValueError(f"{folder!r} cannot be the key of a partition: make keys with folder_key")
        return self._table(table) / f"{_PARTITION_PREFIX}{folder}" / _DATA_FILE

    def pending(self, table: str, folder: str | None = None) -> Path:
        """The directory for the batches of an unfinished update."""
        # No key begins with a dot, so this collides with none.
        return self.pending_root / table / (folder or ".data")

    def lock_file(self, table: str, folder: str | None = None) -> Path:
        """What writers of the partition lock."""
        # A dot in front, because a key may end in ".lock" but never begins with a dot.
        return self.pending_root / table / (".lock" if folder is None else f".{folder}.lock")

    def remove_pending(self, table: str, folder: str | None = None) -> None:
        """Removes the batches of an unfinished update, for a caller inside `locked`."""
        directory = self.pending(table, folder)
        if directory.is_dir():
            shutil.rmtree(directory)

    def _table(self, table: str) -> Location:
        if not _TABLE_NAME.fullmatch(table):
            raise ValueError(f"{table!r} cannot be a table name: use lower-case letters, digits and '_'")
        return self.root / table

    def _whole_folders(self, table: str, *, skip_damaged: bool) -> list[str]:
        """The keys of the partitions whose footers read. Raises CorruptPartition unless it may skip others."""
        folders: Sequence[str | None] = self.folders(table) or [None]
        whole = self._partitions(table, folders, [], skip_damaged=skip_damaged)
        return [folder for folder, _ in whole if folder is not None]

    def _partitions(
        self, table: str, folders: Sequence[str | None], columns: Sequence[str] | None, *, skip_damaged: bool
    ) -> Iterator[tuple[str | None, pa.Table]]:
        """Folder and rows of those partitions that are there. Raises CorruptPartition unless it may skip them."""
        for folder in folders:
            try:
                yield folder, self.read(table, folder, columns)
            except MissingPartition:  # deleted since it was listed
                continue
            except CorruptPartition as error:
                if not skip_damaged:
                    raise
                _log.warning(_LEFT_OUT, error)

    def _scan(self, table: str, folders: Sequence[str] = ("*",)) -> str:
        """The DuckDB table function that reads all of `table`, or some of its folders."""
        path = str(self._table(table).absolute())
        directory = (path if isinstance(self.root, ObjectPath) else glob.escape(path)).replace("'", "''")
        if self.exists(table):
            return f"read_parquet('{directory}/{_DATA_FILE}', hive_partitioning = false)"
        files = [f"'{directory}/{_PARTITION_PREFIX}{folder}/{_DATA_FILE}'" for folder in folders]
        scan = (
            f"read_parquet([{', '.join(files)}], union_by_name = true, "
            "hive_partitioning = true, hive_types = {'folder': VARCHAR})"
        )
        later = [column for column in TABLES[table].columns if column.later] if table in TABLES else []
        if not later:
            return scan
        # rows that were stored before a column are as good as new: it is null in them
        nulls = ", ".join(f"null::{_sql_type(column.type)} as {column.name}" for column in later)
        return f"(select * from {scan} union all by name select {nulls} where false)"


def read_parquet(
    path: Location,
    columns: Sequence[str] | None = None,
    ids: Ids = EVERY_ID,
    keep: Callable[[pa.Table], pa.Table] | None = None,
) -> pa.Table:
    """The content of one file, its checksums verified; they cover the values, not the column names.

    ids: the rows of these alone; row groups that hold none of them by their statistics are passed over.
    keep: what is to be left of each part of it, for who cannot hold the whole.
    Raises FileNotFoundError, CorruptPartition, LakeError if a column is not there, and OSError when it is
    the disk, the store or the permissions that fail rather than the content.
    """
    while True:
        try:
            return _read_version(path, columns, ids, keep)
        except ObjectReplaced:  # by a writer, for readers take no lock
            continue


def _read_version(
    path: Location,
    columns: Sequence[str] | None,
    ids: Ids,
    keep: Callable[[pa.Table], pa.Table] | None,
) -> pa.Table:
    with _opened(path) as file:
        try:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            names = parquet.schema_arrow.names
            missing = [name for name in columns or () if name not in names]
            if missing:
                raise LakeError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}")
            in_threads = isinstance(file, pa.NativeFile)
            chosen = None if columns is None else list(columns)
            if keep is _nothing:
                rows = parquet.schema_arrow.empty_table()
            elif keep is not None or ids != EVERY_ID:
                rows = _in_parts(parquet, chosen or names, ids, keep, in_threads)
            else:
                rows = parquet.read(columns=chosen, use_threads=in_threads)
                _require_all(rows.num_rows, parquet.metadata.num_rows)
            about = dict(parquet.metadata.metadata or {})
            about.pop(b"ARROW:schema", None)
            notes = notes_in(about, ids)
            # replaced, they would lose a table without columns its number of rows
            return rows if rows.schema.metadata == notes else rows.replace_schema_metadata(notes)
        except (pa.ArrowException, OSError, ValueError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise CorruptPartition(f"{path} is not a whole Parquet file ({error})") from error


def _in_parts(
    parquet: pq.ParquetFile,
    columns: list[str],
    ids: Ids,
    keep: Callable[[pa.Table], pa.Table] | None,
    in_threads: bool,
) -> pa.Table:
    """What is kept of the rows of some ids. Row groups of older versions are large, so none is held as a whole that
    is not all wanted.
    """
    asked = list(dict.fromkeys([*columns, *(["id"] if ids != EVERY_ID else [])]))
    parts: list[pa.Table] = []
    for group in range(parquet.num_row_groups):
        about = parquet.metadata.row_group(group)
        first, last = _bounds(about) if ids != EVERY_ID else (None, None)
        if first is not None and last is not None:
            if not ids.meets(first, last):
                continue
            if keep is None and ids.holds(first, last):
                parts.append(parquet.read_row_group(group, columns, use_threads=in_threads))
                _require_all(parts[-1].num_rows, about.num_rows)
                continue
        read = 0
        for batch in parquet.iter_batches(
            _ROWS_AT_A_TIME, row_groups=[group], columns=asked, use_threads=in_threads
        ):
            read += batch.num_rows
            part = ids.of(pa.Table.from_batches([batch])).select(columns)
            part = part if keep is None else keep(part)
            if part.num_rows:  # nothing that was read is held for what is empty
                parts.append(part)
        _require_all(read, about.num_rows)
    empty = parquet.schema_arrow.empty_table().select(columns)
    return pa.concat_tables(parts or [empty if keep is None else keep(empty)])


def _bounds(group: pq.RowGroupMetaData) -> tuple[str | None, str | None]:
    """The first and the last id of a row group; None where it does not tell."""
    for place in range(group.num_columns):
        column = group.column(place)
        if column.path_in_schema == "id" and column.is_stats_set and column.statistics.has_min_max:
            return str(column.statistics.min), str(column.statistics.max)
    return None, None


def _require_all(read: int, written: int) -> None:
    """A damaged page header, which has no checksum, can hide its rows."""
    if read != written:
        raise OSError(f"{read} rows instead of {written}")


def _nothing(rows: pa.Table) -> pa.Table:
    """For `keep`: the columns alone."""
    return rows.slice(0, 0)


def _opened(path: Location) -> pa.NativeFile | BinaryIO:
    """A file whose reads give memory of Arrow's own, where there is one.

    Memory of Python's is let go by whichever thread of Arrow used it last, perhaps after the rows were returned and
    the interpreter has begun to end, which aborts the process. So a file of Python's is decoded in one thread.
    """
    return path.open("rb") if isinstance(path, ObjectPath) else pa.OSFile(os.fsencode(path))


def write_parquet(path: Location, rows: pa.Table) -> None:
    """Replaces one file atomically."""
    with replace_file(path) as file:
        pq.write_table(rows, file, **_PARQUET)


def _sql_type(type_: pa.DataType) -> str:
    """DuckDB's name of an Arrow type."""
    return str(duckdb.from_arrow(pa.table({"of": pa.nulls(0, type_)})).types[0])


def _view(table: str, scan: str, others: Collection[str]) -> str:
    """The statement that makes the view of a table. Images say why they are unfamiliar, where that was looked at."""
    if table == "images" and "familiarity" in others:
        return (
            f'CREATE VIEW "{table}" AS SELECT own.*, familiarity.unfamiliar FROM {scan} own '
            "LEFT JOIN familiarity USING (folder, id)"
        )
    return f'CREATE VIEW "{table}" AS SELECT * FROM {scan}'


def _add_tagged_images(connection: duckdb.DuckDBPyConnection, gone: Collection[str]) -> None:
    """One content may lie in two folders, so an image is found by folder and id."""
    views = {name for (name,) in connection.execute("select view_name from duckdb_views()").fetchall()}
    if not views.issuperset({"images", "tags"}):
        return
    left_out = ", ".join("'" + key.replace("'", "''") + "'" for key in sorted(gone)) or "null"
    connection.execute(
        "create view if not exists tagged_images as "
        "select folder, images.path, tags.* exclude (folder, fingerprint) "
        "from tags join images using (folder, id) "
        f"where coalesce(folder not in ({left_out}), true)"
    )


def _refuse_mixed_types(parts: list[pa.Table], directory: Location) -> None:
    """pyarrow would turn embeddings of two lengths into lists of any length."""
    types: dict[str, pa.DataType] = {}
    for field in (field for rows in parts for field in rows.schema):
        if types.setdefault(field.name, field.type) != field.type:
            raise LakeError(
                f"column {field.name} of {directory} is {types[field.name]} in one partition and "
                f"{field.type} in another, of an older version or another model: "
                f"materialise {directory.name} for every folder"
            )


def _describe(table: str, folder: str | None) -> str:
    return table if folder is None else f"{table} of folder {folder}"
