"""Leases with fencing tokens in PostgreSQL: locks of processes on several machines, which outlive none of them for long.

Whoever holds a lease renews it; one that was not renewed in time is taken over by the next who asks, with a new token.
A process that stood still meanwhile is fenced off: `require_held`, which every replacement of a file asks in the
instant before it, finds its token gone. docs/lake.md says why nothing of it can come after that, either.

The clock is the database's alone. A token is never given twice.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

_log = logging.getLogger(__name__)

LEASE_SECONDS = "VISTAG_LEASE_SECONDS"
"""The variable that says for how long a lease of this process holds without being renewed."""
_DEFAULT_SECONDS = 60.0
_RENEWALS_A_LEASE = 4
_POLL_SECONDS = (0.05, 1.0)
"""How soon a lease that another holds is asked for again: at first, and at most."""
_CONNECT_TIMEOUT_S = 30
_MAKING = 7_265_820
"""The lock of PostgreSQL under which one of several processes makes the table."""
_MAKE = (
    "create sequence if not exists vistag_lease_tokens",
    "create table if not exists vistag_leases (name text primary key, token bigint not null unique, "
    "holder text not null, expires timestamptz not null)",
)
_END = "clock_timestamp() + make_interval(secs => :seconds)"
_TAKE = sa.text(
    f"insert into vistag_leases as own values (:name, nextval('vistag_lease_tokens'), :holder, {_END}) "
    "on conflict (name) do update set token = excluded.token, holder = excluded.holder, expires = excluded.expires "
    "where own.expires < clock_timestamp() returning token"
)
_RENEW = sa.text(f"update vistag_leases set expires = {_END} where token = any(:tokens) returning token")
_RELEASE = sa.text("delete from vistag_leases where token = :token")
_FIND = sa.text("select token from vistag_leases where token = any(:tokens)")
_IS_HELD = sa.text("select 1 from vistag_leases where name = :name and expires >= clock_timestamp()")
_EXPIRED = sa.text(
    "select name from vistag_leases where starts_with(name, :prefix) and expires < clock_timestamp() order by name"
)
_FORGET = sa.text("delete from vistag_leases where name = :name and expires < clock_timestamp()")


class LeaseError(RuntimeError):
    """The leases of a shared home cannot be had; the message says why and what to do."""


class LeaseLost(LeaseError):
    """Another has taken over what this process held: it stood still, or did not reach the database, for too long."""


@dataclass
class _Session:
    """What this process holds in one database, and the thread that renews it."""

    engine: sa.Engine
    url: str
    seconds: float
    holder: str
    names: dict[int, str] = field(default_factory=dict)
    """token -> name of the lease"""
    guard: threading.Lock = field(default_factory=threading.Lock)
    renewer: threading.Thread | None = None

    @contextmanager
    def asking(self) -> Iterator[sa.Connection]:
        try:
            with self.engine.connect() as sql:
                yield sql
        except sa.exc.SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip()
            raise LeaseError(
                f"the leases of this shared home in {self.url} cannot be used: {said}. "
                "Have the database up and run again; what was finished is kept"
            ) from error

    def take(self, name: str) -> int | None:
        with self.asking() as sql:
            asked = {"name": name, "holder": self.holder, "seconds": self.seconds}
            token: int | None = sql.execute(_TAKE, asked).scalar()
        if token is not None:
            with self.guard:
                self.names[token] = name
                if self.renewer is None:
                    self.renewer = threading.Thread(target=self._renew_always, name="leases", daemon=True)
                    self.renewer.start()
        return token

    def release(self, token: int) -> None:
        with self.guard:
            del self.names[token]
        with self.asking() as sql:
            sql.execute(_RELEASE, {"token": token})

    def require(self) -> None:
        """Raises LeaseLost where another has taken over one that this process holds."""
        with self.guard:
            held = dict(self.names)
        if not held:
            return
        with self.asking() as sql:
            kept = set(sql.execute(_FIND, {"tokens": list(held)}).scalars())
        if lost := sorted(name for token, name in held.items() if token not in kept):
            raise LeaseLost(
                f"another process has taken over {_named(lost)}: this one stood still, or did not reach the database, "
                f"for more than {self.seconds:g} s. Nothing more of it is written; run again where it is not finished"
            )

    def _renew_always(self) -> None:
        while True:
            time.sleep(self.seconds / _RENEWALS_A_LEASE)
            with self.guard:
                tokens = list(self.names)
            try:
                with self.asking() as sql:
                    sql.execute(_RENEW, {"tokens": tokens, "seconds": self.seconds})
            except LeaseError as error:  # asked again soon; who writes meanwhile is told by `require`
                _log.warning("leases could not be renewed: %s", error)


@contextmanager
def held(url: str, name: str) -> Iterator[None]:
    """Holds a lease within, waiting for who has it. Raises LeaseError.

    It is let go at the end; of a process that is killed it is free when its time is up.
    """
    session, wait = _session(url), _POLL_SECONDS[0]
    while (token := session.take(name)) is None:
        if wait == _POLL_SECONDS[0]:
            _log.info("waiting for another writer that holds %s", name)
        time.sleep(wait)
        wait = min(2 * wait, _POLL_SECONDS[1])
    try:
        yield
    finally:
        session.release(token)


def is_held(url: str, name: str) -> bool:
    """Whether the lease of `name` has not ended. Raises LeaseError."""
    with _session(url).asking() as sql:
        return sql.execute(_IS_HELD, {"name": name}).first() is not None


def expired(url: str, prefix: str) -> list[str]:
    """The names below `prefix` whose holders neither renewed nor let go, sorted. Raises LeaseError."""
    with _session(url).asking() as sql:
        return list(sql.execute(_EXPIRED, {"prefix": prefix}).scalars())


def forget(url: str, name: str) -> None:
    """Remove a lease that has ended. Raises LeaseError."""
    with _session(url).asking() as sql:
        sql.execute(_FORGET, {"name": name})


def require_held() -> None:
    """Return where all leases that this process holds are still its own, at once where it holds none.

    Raises LeaseLost, and LeaseError where the database does not tell.
    """
    for session in list(_SESSIONS.values()):
        session.require()


_SESSIONS: dict[str, _Session] = {}
"""Database -> what this process holds there."""
_OPENING = threading.Lock()


def _session(url: str) -> _Session:
    with _OPENING:
        if url not in _SESSIONS:
            _SESSIONS[url] = _open(url)
        return _SESSIONS[url]


def _open(url: str) -> _Session:
    parsed = sa.make_url(url).set(drivername="postgresql+psycopg2")
    try:
        engine = sa.create_engine(
            parsed,
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_TIMEOUT_S},
        )
    except ModuleNotFoundError as error:
        raise LeaseError(
            f"the package {error.name} is not installed; it comes with: pip install -e '.[postgres]'"
        ) from error
    seconds = float(os.environ.get(LEASE_SECONDS) or _DEFAULT_SECONDS)
    holder = f"{socket.gethostname()} {os.getpid()}"
    session = _Session(engine, parsed.render_as_string(hide_password=True), seconds, holder)
    with session.asking() as sql:
        sql.execute(sa.text("select pg_advisory_lock(:of)"), {"of": _MAKING})
        for statement in _MAKE:
            sql.execute(sa.text(statement))
        sql.execute(sa.text("select pg_advisory_unlock(:of)"), {"of": _MAKING})
    return session


def _named(names: Sequence[str]) -> str:
    return ", ".join(name.split("/", 1)[-1] for name in names[:3]) + (" ..." if len(names) > 3 else "")


# A child of fork has its parent's connections, and none of its leases.
os.register_at_fork(after_in_child=_SESSIONS.clear)
