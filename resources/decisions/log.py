"""Where decisions are kept: one table that lines are only added to, in SQLite beside the lake or in PostgreSQL.

A line that `append` returned is on the disk. Any number of processes may append at once; of two events with one
client_id the first is kept, so whoever does not know whether a call arrived makes it again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from resources.decisions.event import Event
from resources.disk_errors import disk_error
from resources.lake.files import locked

FILE = "decisions.sqlite"
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLE = sa.Table(
    "decisions",
    sa.MetaData(),
    sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("client_id", sa.Text, nullable=False, unique=True),
    sa.Column("time", sa.Text, nullable=False),  # ISO 8601, UTC
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("image_id", sa.Text, nullable=False, index=True),
    sa.Column("pixel_hash", sa.Text, index=True),
    sa.Column("concept_id", sa.Text),
    sa.Column("phrase", sa.Text),
    sa.Column("corrected_to", sa.Text),
    sa.Column("region_id", sa.Text),
    sa.Column("box", sa.JSON(none_as_null=True)),
    sa.Column("undoes", _NUMBER),
    sa.Column("folder", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("shown", sa.Text),
    sqlite_autoincrement=True,  # a number is never given twice, also not that of a line that was removed
)
_WAIT_S = 60
"""How long a writer waits for others."""
_TURN = 7_265_819
"""PostgreSQL: the lock that writers take in turn, so that whoever has read line n has missed none before it."""
_ASKED_AT_ONCE = 500
_WRITES = {"writes": True}


class LogUnavailable(RuntimeError):
    """The log cannot be read or written; the message says where it is and what to do."""


@dataclass(frozen=True)
class DecisionLog:
    """The log at `url`, `sqlite:///…` or `postgresql://…`. Making one touches nothing.

    Every method raises LogUnavailable, and OSError, which names the disk, where that is full or read-only.
    """

    url: sa.URL

    @classmethod
    def at(cls, home_root: Path, url: str | None) -> DecisionLog:
        """The log of a home: at `url`, else in the file of the home."""
        return cls(sa.make_url(url) if url else sa.URL.create("sqlite", database=str(home_root / FILE)))

    @property
    def file(self) -> Path | None:
        """None on a server."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def append(self, events: Sequence[Event]) -> list[Event]:
        """The events as they are in the log, in their order, each on the disk and with its `seq`."""
        if not events:
            return []
        self._make()
        with self._connected(**_WRITES) as sql:
            add = (sqlite if self.file else postgresql).insert(TABLE).on_conflict_do_nothing()
            sql.execute(add, [_row(event) for event in events])
            of = {event.client_id: event for event in _where(sql, TABLE.c.client_id, _clients(events))}
        return [of[event.client_id] for event in events]

    def since(self, seq: int = 0) -> list[Event]:
        """The events behind that number, in the order in which they were appended."""
        if self._is_missing:
            return []
        self._make()
        with self._connected() as sql:
            return _events(sql.execute(sa.select(TABLE).where(TABLE.c.seq > seq).order_by(TABLE.c.seq)))

    def last(self) -> int:
        """The number of the last event, 0 where there is none."""
        if self._is_missing:
            return 0
        self._make()
        with self._connected() as sql:
            return sql.execute(sa.select(sa.func.max(TABLE.c.seq))).scalar() or 0

    def about(self, image_ids: Collection[str], pixel_hashes: Collection[str] = ()) -> list[Event]:
        """All that was said of pictures with one of these content ids or pixel hashes, in the order of the log."""
        if self._is_missing:
            return []
        self._make()
        with self._connected() as sql:
            found = [
                *_where(sql, TABLE.c.image_id, image_ids),
                *_where(sql, TABLE.c.pixel_hash, pixel_hashes),
            ]
        of = {event.seq or 0: event for event in found}
        return [of[seq] for seq in sorted(of)]

    def remove(self, image_ids: Collection[str], pixel_hashes: Collection[str] = ()) -> int:
        """Erase what was said of these pictures, for who asked for just that; returns how many lines."""
        events = self.about(image_ids, pixel_hashes)
        seqs = [event.seq for event in events]
        with self._connected(**_WRITES) if seqs else _nothing() as sql:
            for some in _parts(seqs):
                sql.execute(sa.delete(TABLE).where(TABLE.c.seq.in_(some)))
        return len(seqs)

    def as_table(self) -> pa.Table:
        """All lines as a table, for SQL."""
        names = TABLE.columns.keys()
        rows = [{name: getattr(event, name) for name in names} for event in self.since()]
        types = {"seq": pa.int64(), "undoes": pa.int64(), "box": pa.list_(pa.float64())}
        types |= {"time": pa.timestamp("us", "UTC")}
        schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
        return pa.Table.from_pylist(rows, schema)

    @contextmanager
    def turn(self) -> Iterator[sa.Connection]:
        """A transaction in which nobody else writes, for a table that lies beside the log."""
        self._make()
        with self._connected(**_WRITES) as sql:
            yield sql

    @property
    def _is_missing(self) -> bool:
        """Whether nothing was ever appended; reading makes no file."""
        return self.file is not None and not self.file.exists()

    def _make(self) -> None:
        """The table, where there is none; of several processes one makes it."""
        if self._is_read_only or (self.url in _MADE and not self._is_missing):
            return
        if self.file is None:
            with self._connected(**_WRITES) as sql:
                _create(sql)
        else:
            with locked(self.file.with_name(f".{self.file.name}.lock")), self._connected() as sql:
                _create(sql)
        _MADE.add(self.url)

    @contextmanager
    def _connected(self, **options: Any) -> Iterator[sa.Connection]:
        """A transaction, which is committed where the block ends without an error."""
        try:
            with self._engine().execution_options(**options).begin() as sql:
                if options and not self.file:
                    sql.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
                yield sql
        except (sa.exc.SQLAlchemyError, ModuleNotFoundError) as error:
            if self.file and (told := disk_error(error, self.file.parent)):
                raise told from error
            raise LogUnavailable(self._why(error)) from error

    @property
    def _is_read_only(self) -> bool:
        return self.file is not None and self.file.exists() and not os.access(self.file.parent, os.W_OK)

    def _engine(self) -> sa.Engine:
        if self.file is None:
            return sa.create_engine(self.url.set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        url = self.url
        if self._is_read_only:
            # a reader of a write-ahead log makes files beside it, which a disk that is read-only does not let it
            query = {"immutable": "1", "mode": "ro", "uri": "true"}
            url = url.set(database=self.file.absolute().as_uri(), query=query)
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": _WAIT_S})
        if not self._is_read_only:
            sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _why(self, error: Exception) -> str:
        said = str(getattr(error, "orig", None) or error).strip()
        if self.file:
            return (
                f"the decisions in {self.file} cannot be used: {said}. Restore that file from a backup; "
                "moved away, a new log begins without them"
            )
        if isinstance(error, ModuleNotFoundError):
            return f"the package {error.name} is not installed; it comes with: pip install -e '.[postgres]'"
        where = self.url.render_as_string(hide_password=True)
        return f"the decisions in {where} cannot be used: {said}"


_MADE: set[sa.URL] = set()
"""Logs whose table this process knows to be there."""


@contextmanager
def _nothing() -> Iterator[Any]:
    yield None


def _create(sql: sa.Connection) -> None:
    sql.execute(CreateTable(TABLE, if_not_exists=True))
    for index in sorted(TABLE.indexes, key=lambda index: str(index.name)):
        sql.execute(CreateIndex(index, if_not_exists=True))


def _set_up_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin below, not where the driver thinks fit
    connection.execute("PRAGMA journal_mode = WAL")  # remembered in the file, which it changes once
    connection.execute("PRAGMA synchronous = FULL")  # each commit reaches the disk before it returns


def _begin_sqlite(sql: sa.Connection) -> None:
    # a writer that begins as a reader cannot wait for its turn
    sql.exec_driver_sql("BEGIN IMMEDIATE" if sql.get_execution_options().get("writes") else "BEGIN")


def _where(sql: sa.Connection, column: sa.Column[Any], values: Collection[str]) -> Iterator[Event]:
    for some in _parts(list(values)):
        yield from _events(sql.execute(sa.select(TABLE).where(column.in_(some))))


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _ASKED_AT_ONCE] for start in range(0, len(values), _ASKED_AT_ONCE))


def _clients(events: Iterable[Event]) -> list[str]:
    return [event.client_id for event in events]


def _row(event: Event) -> dict[str, Any]:
    row = asdict(event)
    del row["seq"]
    return {**row, "time": event.time.isoformat()}


def _events(rows: Iterable[sa.Row[Any]]) -> list[Event]:
    names = [field.name for field in fields(Event)]
    return [_event({name: getattr(row, name) for name in names}) for row in rows]


def _event(row: dict[str, Any]) -> Event:
    box = row["box"]
    return Event(**{**row, "time": datetime.fromisoformat(row["time"]), "box": tuple(box) if box else None})
