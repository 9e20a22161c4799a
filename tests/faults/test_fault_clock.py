"""Clocks that jump: of the machine, of files, of the disk that a backup came from."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import image_zoo as zoo
import pyarrow as pa
import pytest
from evaluation_runs import RANKS, a_run
from small_disk import mounted
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from evaluation import history
from resources.images import Limits, ingest_folder
from resources.lake import Lake
from resources.workspace import open_workspace
from sensors.watching import Looker, Watch, asked_for
from vistag_assets.app.evidence import view_of
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app

YEAR_S = 365 * 24 * 3600
LIMITS = Limits()


def test_other_content_of_the_same_size_and_an_older_time_is_noticed(tmp_path: Path) -> None:
    library, home, file = tmp_path / "library", tmp_path / "home", tmp_path / "library" / "a.bmp"
    zoo.write(library, {"a.bmp": zoo.encoded(zoo.picture(seed=1), "BMP")})
    first = ingest_folder(library, library, home, LIMITS)
    for before_s in (10, YEAR_S, 60 * YEAR_S):  # the last is before 1970
        written_s = file.stat().st_mtime
        file.write_bytes(zoo.encoded(zoo.picture(seed=before_s), "BMP"))
        os.utime(file, (written_s - before_s, written_s - before_s))
        again = ingest_folder(library, library, home, LIMITS, first.images, first.rejects, first.proxies)
        assert (again.decoded, again.images["bytes"]) == (1, first.images["bytes"])
        assert again.images["id"] != first.images["id"]
        first = again


@pytest.mark.slow
def test_files_of_any_year_go_through_all_stages(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    with mounted(tmp_path / "disk") as library:
        times_s = [(year - 1970) * YEAR_S for year in (1, 1901, 1970, 2026, 2500, 12_000)]
        for number, time_s in enumerate(times_s):
            draw(library / f"{number}.png", seed=number)
            os.utime(library / f"{number}.png", (time_s, time_s))
        assert tag(home, library).images == 6
        assert tag(home, library).computed == {}
    assert verify_home(home, deep=True).findings == ()
    (folder,) = home.lake.folders("images")
    stored = home.lake.read("images", folder, ["modified_at"])["modified_at"]
    assert [time_us // 10**6 for time_us in stored.cast(pa.int64()).to_pylist()] == times_s
    told = CliRunner().invoke(app, ["sql", "from images", "--home", str(home.root)])
    assert told.exit_code == 0, told.output
    workspace = open_workspace(home)
    ids = home.lake.read("images", folder, ["id"])["id"].to_pylist()
    assert all(view_of(workspace, folder, id_) for id_ in ids)


def settled_at(library: Path, home: Path, *seconds: float) -> list[float]:
    """At which of the clock's times a look found the folder settled, and asked for its run."""
    watch, settled = Watch(started_s=seconds[0]), []
    for now_s in seconds:
        looker = Looker(home, 20.0, lambda now_s=now_s: now_s, is_enough=lambda findings: False)  # type: ignore[misc]
        watch, findings = looker.look(watch, {"lib": library})
        if findings.settled:
            watch = asked_for(watch, findings.settled)
            settled.append(now_s)
    return settled


@pytest.mark.parametrize(
    ("seconds", "settled"),
    [
        ((1000, 1030, 1060), [1030]),
        ((1000, 400, 410, 420, 450), [420]),  # the clock went back: the wait begins anew
        ((1000, 400 - 3600, 430 - 3600), [430 - 3600]),
        ((1000, 1000 + YEAR_S, 1030 + YEAR_S), [1000 + YEAR_S]),
        ((1000, 1030, 400, 430, 460), [1030]),  # nothing is asked for twice
    ],
)
def test_a_folder_settles_once_whatever_the_clock_does(
    tmp_path: Path, seconds: tuple[float, ...], settled: list[float]
) -> None:
    draw(tmp_path / "library" / "a.png", seed=0)
    assert settled_at(tmp_path / "library", tmp_path / "home", *seconds) == settled


def test_evaluations_keep_their_order_when_the_clock_goes_back(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "pending")
    now = datetime(2030, 1, 1, tzinfo=UTC)
    told = [now, now - timedelta(days=400), now - timedelta(days=399), now, now + timedelta(days=1)]
    for number, clock in enumerate(told):
        created_at = history.following(history.runs(lake), clock)
        run = replace(a_run(number), run=history.run_key(created_at, f"{9 - number}"), created_at=created_at)
        history.append(lake, run, RANKS)
    runs = history.runs(lake)
    assert [run.run[-1] for run in runs] == list("98765")
    assert [run.run for run in runs] == sorted(run.run for run in runs)
    assert runs[-1].created_at == told[-1]
    last = history.last_accepted(runs, "demo")
    assert last is not None
    assert last.run == runs[-1].run
