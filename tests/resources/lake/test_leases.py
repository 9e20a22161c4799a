"""Leases of a shared home, by real processes on a real PostgreSQL: one writer at a time, and who stood still is fenced off."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import leased_worker
import pytest
import services
import sqlalchemy as sa
from leased_worker import FOLDER, IDS, TABLE, rows_of
from postgres_server import postgres_server

from resources.home import Home, Settings, SettingsError, read_settings, write_settings
from resources.home.presence import dead_runs, forget_run, has_died, shown_as_running
from resources.home.settings import LEASES_URL
from resources.lake.leases import LEASE_SECONDS, LeaseError, LeaseLost, require_held
from resources.lake.locks import FILE_LOCKS

slow = pytest.mark.slow
BRIEF = {LEASE_SECONDS: "1"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as at:
        yield sa.URL.create(
            "postgresql",
            at["VISTAG_PG_USER"],
            at["VISTAG_PG_PASSWORD"],
            at["VISTAG_PG_HOST"],
            int(at["VISTAG_PG_PORT"]),
            at["VISTAG_PG_DATABASE"],
        ).render_as_string(hide_password=False)


@pytest.fixture
def home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(LEASES_URL, url)
    return Home(tmp_path / "home")


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(home: Home, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of the home; those that are still there at the end are killed."""
    workers: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, leased_worker.__file__, str(home.root), *arguments]
        with (tmp_path / f"{len(workers)}.log").open("wb") as log:
            workers.append(subprocess.Popen(command, env=services.environment(**variables), stderr=log))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()
        worker.wait()


def stands_still(worker: subprocess.Popen[bytes]) -> bool:
    assert worker.poll() is None
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(") ")[2].startswith("T")


@slow
@pytest.mark.parametrize("where", ["batch", "rename"])
def test_a_worker_that_stood_still_beyond_its_lease_writes_nothing_more(
    where: str, home: Home, start: Start, tmp_path: Path
) -> None:
    leased_worker.update(home, "before")
    frozen = start("stale", where, **BRIEF)
    services.wait_for(lambda: stands_still(frozen))
    leased_worker.update(home, "after")  # waits for the end of the lease, and takes over
    taken_over = home.lake.read(TABLE, FOLDER)
    assert taken_over == rows_of(IDS, "after")
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait(480) == 1
    said = (tmp_path / "0.log").read_text()
    assert "LeaseLost: another process has taken over pending/tags/.photos.lock" in said
    assert home.lake.read(TABLE, FOLDER) == taken_over
    assert [path.name for path in home.root.rglob("*.tmp")] == []
    assert not list(home.lake.pending(TABLE, FOLDER).glob("*"))


@slow
def test_a_worker_that_stood_still_goes_on_where_nobody_took_over(home: Home, start: Start) -> None:
    frozen = start("late", "batch", **BRIEF)
    services.wait_for(lambda: stands_still(frozen))
    services.wait_for(lambda: not home.lake.locks.is_held(home.lake.lock_file(TABLE, FOLDER)))
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait(480) == 0
    assert home.lake.read(TABLE, FOLDER) == rows_of(IDS, "late")


@slow
def test_what_a_killed_worker_finished_is_taken_up_by_who_takes_over(home: Home, start: Start) -> None:
    killed = start("same", "batch", **BRIEF)
    services.wait_for(lambda: stands_still(killed))
    killed.kill()
    killed.wait()
    asked: list[str] = []

    def compute(ids: list[str]) -> Iterator[object]:
        asked.extend(ids)
        yield rows_of(ids, "same")

    wanted = rows_of(IDS, "same")
    stats = leased_worker.update_partition(home.lake, TABLE, FOLDER, wanted, leased_worker.SCHEMA, compute)  # type: ignore[arg-type]
    assert (stats.resumed, asked) == (4, IDS[4:])


@slow
def test_a_lease_is_one_writers_and_is_renewed_as_long_as_it_works(home: Home, url: str) -> None:
    lock = home.root / "folders" / ".lock"
    order: list[str] = []

    def second() -> None:
        with home.locks.held(lock):
            order.append("second")

    with home.locks.held(lock):
        assert lock.parent.is_dir()  # as with locks of files
        assert home.locks.is_held(lock)
        waiting = threading.Thread(target=second)
        waiting.start()
        ends = expiry(url)
        services.wait_for(lambda: expiry(url) > ends)  # renewed
        order.append("first")
    waiting.join(480)
    assert order == ["first", "second"]
    assert not home.locks.is_held(lock)


def expiry(url: str) -> float:
    with sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:", 1)).connect() as sql:
        return float(
            sql.execute(sa.text("select extract(epoch from max(expires)) from vistag_leases")).scalar_one()
        )


@slow
def test_folders_of_a_shared_home_wait_for_nothing_but_themselves(home: Home) -> None:
    keys = [f"lib--{number}" for number in range(600)]  # more than there are locks of files
    with home.working_on(keys[:1]):
        assert [key for key in keys if home.is_worked_on(key)] == keys[:1]


@slow
def test_a_dead_run_of_a_shared_home_is_known_when_its_lease_has_ended(home: Home, start: Start) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from resources.home.presence import shown_as_running\n"
        "with shown_as_running(Path(sys.argv[1]), 'run'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(home.dagster_dir)]
    assert subprocess.run(command, env=services.environment(**BRIEF)).returncode == -signal.SIGKILL
    services.wait_for(lambda: has_died(home.dagster_dir, "run"))
    assert dead_runs(home.dagster_dir) == ["run"]
    forget_run(home.dagster_dir, "run")
    assert not has_died(home.dagster_dir, "run")
    with shown_as_running(home.dagster_dir, "run"):
        assert not has_died(home.dagster_dir, "run")
    assert not has_died(home.dagster_dir, "run")


@slow
def test_who_lost_one_lease_may_write_nothing_under_another(home: Home, url: str) -> None:
    with home.working_on(["lib--a"]), home.lake.locked("images", "lib--a"):
        with sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:", 1)).begin() as sql:
            sql.execute(
                sa.text(
                    "update vistag_leases set token = nextval('vistag_lease_tokens') where name like '%.run-lib--a.lock'"
                )
            )
        with pytest.raises(LeaseLost, match=r"folders/\.run-lib--a\.lock"):
            home.lake.replace("images", rows_of(IDS, "x"), "lib--a")
    require_held()  # what was let go is asked about no more
    assert not home.lake.exists("images", "lib--a")


@slow
def test_a_database_that_is_away_is_named_without_its_password(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = services.free_port()
    monkeypatch.setenv(LEASES_URL, f"postgresql://ada:secret@127.0.0.1:{port}/vistag")
    with pytest.raises(LeaseError, match=f"127.0.0.1:{port}") as error, home.working_on(["lib--a"]):
        pass
    assert "secret" not in str(error.value)


def test_settings_say_where_leases_are_and_hold_no_password(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_settings(home, Settings(leases="postgresql://ada@db/vistag"))
    assert read_settings(home).leases == "postgresql://ada@db/vistag"
    with pytest.raises(ValueError, match=LEASES_URL):
        Settings(leases="postgresql://ada:secret@db/vistag")
    (tmp_path / "settings.json").write_text('{"leases": "sqlite:///x"}')
    with pytest.raises(SettingsError, match="leases"):
        read_settings(home)


def test_a_home_of_one_machine_asks_no_database(tmp_path: Path) -> None:
    assert Home(tmp_path).locks is FILE_LOCKS
    assert not (tmp_path / "home-id").exists()
