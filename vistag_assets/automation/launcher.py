"""Dagster's own launcher of runs, which can also tell that the process of a run is gone."""

from __future__ import annotations

from pathlib import Path

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

from resources.home.presence import forget_run, has_died


class WatchedRunLauncher(DefaultRunLauncher):
    """Starts runs as Dagster does by default.

    Where a run's process dies together with the server that started it (power, the end of a session), or was one of
    `vistag run`, nobody would mark the run as failed, and it would hold its place in the queue for good. `run_monitoring`
    asks here.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        dagster_home = Path(self._instance.root_directory)
        if not has_died(dagster_home, run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        forget_run(dagster_home, run.run_id)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
