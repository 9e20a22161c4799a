"""The sensor that evaluates again: on a real lake and a real instance, from what has changed to the run that ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from hand_made_lake import FOLDER, make_home
from sensor_daemon import Daemon

from evaluation.state import EVALUATED_STATE
from resources.home import FolderRef, Home
from resources.workspace import open_workspace
from sensors.stale_evaluation import stale_evaluation
from vistag_assets.automation.instance import home_instance
from vistag_assets.definitions import defs
from vistag_assets.partitions import EVALUATE, TAG_FOLDERS
from vistag_assets.runs import evaluate
from vistag_assets.whole_image.concept_embeddings import embed_concepts

TAG = f"vistag/{EVALUATED_STATE}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@pytest.fixture
def daemon(home: Home) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(home, instance, stale_evaluation)


def change_tags(home: Home, folder: str = FOLDER, probability: float = 0.25) -> None:
    rows = home.lake.read("tags", FOLDER)
    place = rows.column_names.index("probability")
    changed = pa.array([probability] * rows.num_rows, rows["probability"].type)
    home.lake.write("tags", rows.set_column(place, "probability", changed), folder)


def test_it_asks_once_for_what_has_come_to_rest(daemon: Daemon) -> None:
    assert daemon.tick() == []
    assert "must stay as they are" in daemon.skipped
    (request,) = daemon.tick()
    assert request.run_config["resources"]["vistag"]["config"] == {"home": str(daemon.home.root)}
    assert daemon.ticks(3) == []
    assert "as they were evaluated" in daemon.skipped


def test_changed_tags_and_changed_annotations_are_evaluated_again(daemon: Daemon) -> None:
    (first,) = daemon.ticks(2)
    change_tags(daemon.home)
    (second,) = daemon.ticks(3)
    truth = json.loads(daemon.home.ground_truth_path.read_text())
    daemon.home.ground_truth_path.write_text(json.dumps(truth | {"info": {"split": "test"}}))
    (third,) = daemon.ticks(3)
    assert len({request.tags[TAG] for request in (first, second, third)}) == 3


def test_a_state_that_comes_back_is_evaluated_again(daemon: Daemon) -> None:
    tags = daemon.home.lake.data_file("tags", FOLDER)
    before = tags.read_bytes()
    (first,) = daemon.ticks(2)
    change_tags(daemon.home)
    daemon.ticks(2)
    tags.write_bytes(before)
    (again,) = daemon.ticks(3)
    assert again.tags[TAG] == first.tags[TAG]


def test_a_file_that_is_written_again_with_the_same_content_is_not(daemon: Daemon) -> None:
    daemon.ticks(2)
    content = daemon.home.ground_truth_path.read_bytes()
    daemon.home.ground_truth_path.unlink()
    daemon.home.ground_truth_path.write_bytes(content)
    assert daemon.ticks(2) == []
    assert "with the content that was evaluated" in daemon.skipped


def test_only_the_library_of_the_ground_truth_counts(daemon: Daemon, tmp_path: Path) -> None:
    daemon.ticks(2)
    daemon.home.register(FolderRef("other--a", "other", str(tmp_path / "other"), "a"))
    change_tags(daemon.home, "other--a")
    assert daemon.ticks(3) == []
    daemon.home.register(FolderRef("lib--b", "lib", str(tmp_path / "library"), "b"))
    change_tags(daemon.home, "lib--b")
    assert len(daemon.ticks(3)) == 1


def test_without_annotations_or_without_tags_there_is_nothing_to_evaluate(daemon: Daemon) -> None:
    shutil.rmtree(daemon.home.lake.root / "tags")
    assert daemon.ticks(3) == []
    assert "Nothing to evaluate" in daemon.skipped
    change_tags_anew = make_home(daemon.home.root)
    change_tags_anew.ground_truth_path.unlink()
    assert daemon.ticks(3) == []
    assert str(daemon.home.ground_truth_path) in daemon.skipped


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_it_waits_for_all_runs_to_end(daemon: Daemon, status: str) -> None:
    job = defs.resolve_job_def(EVALUATE)
    run = daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus(status))
    assert daemon.ticks(3) == []
    assert "Waits for the runs that are going on or queued: 1" in daemon.skipped
    daemon.instance.report_run_failed(run)
    assert len(daemon.ticks(2)) == 1


def test_the_cursor_outlives_the_process_and_a_lost_tick_asks_for_the_same(daemon: Daemon) -> None:
    daemon.tick()
    before = daemon.cursor
    (request,) = daemon.tick()
    again = Daemon(daemon.home, daemon.instance, stale_evaluation, json.loads(json.dumps(daemon.cursor)))
    assert again.ticks(3) == []
    lost = Daemon(daemon.home, daemon.instance, stale_evaluation, before)
    (same,) = lost.tick()
    assert same.run_key == request.run_key


@pytest.mark.slow
def test_the_run_that_is_asked_for_ends_in_a_report_and_is_not_asked_for_again(home: Home) -> None:
    embed_concepts(open_workspace(home))
    with home_instance(home.root) as instance:
        daemon = Daemon(home, instance, stale_evaluation)
        (request,) = daemon.ticks(2)
        result = defs.resolve_job_def(EVALUATE).execute_in_process(
            instance=instance, run_config=request.run_config, tags=request.tags
        )
        assert result.success
        assert (home.reports_dir / "long_tail.html").exists()
        assert daemon.ticks(3) == []
        # a cursor that somebody reset in the UI: the last evaluation says what it was of
        daemon.cursor = None
        assert daemon.ticks(2) == []
        assert "with the content that was evaluated" in daemon.skipped
        assert not instance.get_runs(dg.RunsFilter(job_name=TAG_FOLDERS))
    # what vistag run --ground-truth has evaluated is not evaluated again
    change_tags(home)
    evaluate(home)
    with home_instance(home.root) as instance:
        assert Daemon(home, instance, stale_evaluation).ticks(3) == []
        change_tags(home, probability=0.75)
        assert len(Daemon(home, instance, stale_evaluation).ticks(2)) == 1
