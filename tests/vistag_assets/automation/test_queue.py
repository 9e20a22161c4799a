"""The settings of a home's Dagster instance, under the real daemon: who waits for whom, and what becomes of dead runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import services

from resources.home.presence import has_died, shown_as_running
from vistag_assets.automation.instance import prepare_dagster_home

WITH_MODELS, WITHOUT_MODELS = "with_models", "without_models"
_PATIENCE_S = 240
"""Only a test that hangs gets there."""


@dataclass
class Queue:
    """Runs of tests/helpers/waiting_runs.py."""

    folder: Path
    instance: dg.DagsterInstance

    def ask(self, **jobs: str) -> None:
        for name, job in jobs.items():
            (self.folder / f".{name}").write_text(job)
            (self.folder / f".{name}").rename(self.folder / f"{name}.ask")

    def let_go(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.go").touch()

    def process(self, name: str) -> int | None:
        file = self.folder / f"{name}.pid"
        return int(file.read_text() or 0) or None if file.exists() else None

    def statuses(self) -> dict[str, list[str]]:
        """Name -> the statuses of its runs, the first run first."""
        found: dict[str, list[str]] = {}
        for run in reversed(self.instance.get_runs()):
            found.setdefault(run.tags["name"], []).append(run.status.value)
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.statuses()
            time.sleep(0.2)


@contextmanager
def daemon(environment: dict[str, str], log: Path) -> Iterator[None]:
    """Dagster's daemon; killed with all that it has started."""
    program = str(Path(sys.executable).parent / "dagster-daemon")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, "run", "-m", "waiting_runs"],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    (tmp_path / "runs").mkdir()
    dagster_home = prepare_dagster_home(tmp_path / "home")["DAGSTER_HOME"]
    settings = Path(dagster_home) / "dagster.yaml"
    written = settings.read_text()
    assert "poll_interval_seconds: 30" in written
    settings.write_text(written.replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"))
    with dg.DagsterInstance.from_config(dagster_home) as instance:
        yield Queue(tmp_path / "runs", instance)


@pytest.mark.slow
def test_models_take_turns_others_do_not_wait_and_dead_runs_are_run_again(
    queue: Queue, tmp_path: Path
) -> None:
    environment = services.environment(
        **prepare_dagster_home(tmp_path / "home"), WAITING_RUNS=str(queue.folder)
    )
    with daemon(environment, tmp_path / "daemon.log"):
        queue.ask(a=WITH_MODELS, b=WITH_MODELS, c=WITHOUT_MODELS)
        queue.until(lambda: queue.process("a") is not None and queue.process("c") is not None)
        assert queue.statuses() == {"a": ["STARTED"], "b": ["QUEUED"], "c": ["STARTED"]}
        queue.let_go("c")
        queue.until(lambda: queue.statuses()["c"] == ["SUCCESS"])
        assert queue.statuses()["b"] == ["QUEUED"]

        # the process of a run dies: its place is free, and it is started once more
        os.kill(queue.process("a") or 0, signal.SIGKILL)
        queue.let_go("a")
        queue.until(lambda: queue.process("b") is not None)
        queue.let_go("b")
        queue.until(
            lambda: queue.statuses() == {"a": ["FAILURE", "SUCCESS"], "b": ["SUCCESS"], "c": ["SUCCESS"]}
        )

        queue.ask(d=WITH_MODELS)
        queue.until(lambda: queue.process("d") is not None)
        dead = queue.process("d") or 0
    # the daemon died, and the run with it: as when power fails
    with suppress(ProcessLookupError):
        os.kill(dead, signal.SIGKILL)
    (queue.folder / "d.pid").unlink()
    assert queue.statuses()["d"] == ["STARTED"]
    with daemon(environment, tmp_path / "daemon.log"):
        queue.until(lambda: queue.process("d") is not None)
        assert queue.statuses()["d"] == ["FAILURE", "STARTED"]
        queue.let_go("d")
        queue.until(lambda: queue.statuses()["d"] == ["FAILURE", "SUCCESS"])
    # what was killed may have left its sign; who next starts Dagster on the home removes it
    prepare_dagster_home(tmp_path / "home")
    assert not any((tmp_path / "home" / "dagster" / "running").iterdir())


def test_a_run_shows_that_it_is_alive(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from resources.home.presence import shown_as_running\n"
        "with shown_as_running(Path(sys.argv[1]), 'run'):\n    print('alive', flush=True); time.sleep(600)"
    )
    assert not has_died(tmp_path, "run")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"alive\n"
    assert not has_died(tmp_path, "run")
    process.kill()
    process.wait()
    assert has_died(tmp_path, "run")
    with shown_as_running(tmp_path, "run"):
        assert not has_died(tmp_path, "run")
    assert not has_died(tmp_path, "run")
