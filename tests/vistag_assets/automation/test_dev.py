"""What `vistag dev` passes on of what its two processes say."""

from __future__ import annotations

from vistag_assets.automation.dev import without_lost_ticks

FAILED_TICK = """\
2026-11-27 01:25:24 +0000 - dagster.daemon.SensorDaemon - ERROR - Sensor daemon caught an error for sensor new_folders
Traceback (most recent call last):
  File "client.py", line 210, in _query
dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach user code server.""".splitlines()
STOPPING = "2026-11-27 01:25:25 +0000 - dagster.daemon - INFO - Daemon threads shut down"


def test_a_sensor_that_lost_its_code_while_all_ends_is_no_news() -> None:
    assert list(without_lost_ticks([*FAILED_TICK, STOPPING, *FAILED_TICK], lambda: True)) == [STOPPING]


def test_a_sensor_that_fails_before_is_told() -> None:
    assert list(without_lost_ticks([*FAILED_TICK, STOPPING], lambda: False)) == [*FAILED_TICK, STOPPING]


def test_what_is_no_error_of_the_daemon_is_told_while_all_ends() -> None:
    lines = [
        "2026-11-27 01:25:25 +0000 - dagster - ERROR - run 1: a step failed",
        "Traceback (most recent call last):",
    ]
    assert list(without_lost_ticks(lines, lambda: True)) == lines
