"""The schedules and the job behind one of them: what they ask for, and that the run they ask for ends as it should."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from hand_made_lake import FOLDER, make_home

from resources.home import FolderRef, Home
from resources.workspace import VistagResource, run_config
from sensors.schedules import nightly_folders, weekly_verify
from vistag_assets.automation.verify import verify_home
from vistag_assets.automation.verify_job import VERIFY
from vistag_assets.definitions import defs
from vistag_assets.partitions import FOLDERS

SUNDAY = datetime(2026, 11, 22, 5, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


def requests(
    schedule: dg.ScheduleDefinition, home: Home, instance: dg.DagsterInstance
) -> dg.ScheduleExecutionData:
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=SUNDAY,
        resources={"vistag": VistagResource(home=str(home.root))},
        repository_def=defs.get_repository_def(),
    ) as context:
        return schedule.evaluate_tick(context)


def folders(home: Home, *names: str, gone_since: str | None = None) -> None:
    home.register(*(FolderRef(name, "lib", str(home.root / "library"), name, gone_since) for name in names))


def test_all_folders_that_are_there_are_run_each_night(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = Home(tmp_path / "home")
    assert "No folder is known" in (requests(nightly_folders, home, instance).skip_message or "")
    folders(home, "a", "c")
    folders(home, "gone", gone_since="2026-01-01T00:00:00+00:00")
    instance.add_dynamic_partitions(FOLDERS, ["gone", "c"])
    (request,) = requests(nightly_folders, home, instance).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == "c"
    assert request.tags["dagster/asset_partition_range_end"] == "a"
    assert list(instance.get_dynamic_partitions(FOLDERS)) == ["gone", "c", "a"]
    assert request.run_config == run_config(home)
    assert request.run_key == "2026-11-22T05:00:00+00:00 c"


def test_the_weekly_run_verifies_and_is_red_where_something_is_lost(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "home")
    monkeypatch.setenv("VISTAG_HOME", str(home.root))
    (request,) = requests(weekly_verify, home, instance).run_requests or []
    job = defs.resolve_job_def(VERIFY)

    def run() -> dg.ExecuteInProcessResult:
        return job.execute_in_process(instance=instance, run_config=request.run_config, raise_on_error=False)

    faults = verify_home(home).faults
    assert run().success == (not faults)
    home.lake.delete("images", FOLDER)
    (first, *_) = verify_home(home).faults
    failed = run()
    assert not failed.success
    (event,) = failed.get_step_failure_events()
    assert first.sentence in str(event.step_failure_data.user_failure_data)
