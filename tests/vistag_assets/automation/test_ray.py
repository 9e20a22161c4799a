"""Folders on a real Ray cluster of three nodes, of which one after the other is killed: make test-ray."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import services
import sqlalchemy as sa
from postgres_server import postgres_server
from ray_cluster import Machines, ray_cluster

from benchmarks.scale import make_home, make_library, tiny_jpegs
from resources.home import Home
from resources.home.settings import LEASES_URL
from resources.lake import empty_ids
from resources.lake.leases import LEASE_SECONDS
from vistag_assets.automation.cluster import FAILURES, LOCAL, ClusterError
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home
from vistag_assets.runs import OnRay, find_library, tag_folders

pytestmark = pytest.mark.ray
KILLS = int(os.environ.get("VISTAG_KILLS", "20"))
FOLDERS, IMAGES = 6, 60
TABLES = ("images", "proxies", "global_embeddings", "tag_scores", "tags")
_RUN = """
import sys
from pathlib import Path
from resources.home import Home
from vistag_assets.runs import OnRay, find_library, tag_folders
if __name__ == "__main__":
    home, library, address = Home(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
    folders = find_library(library, "lib", home)
    tag_folders(home, folders, lambda *_: None, ray=OnRay(address, folders=1, deaths=1000))
"""
_AT_WORK = sa.text(
    "select name, split_part(holder, ' ', 2)::int from vistag_leases where name like '%/pending/%/.lib%' and expires > now()"
)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with postgres_server() as at:
        for name, value in at.items():
            monkeypatch.setenv(name, value)
        url = sa.URL.create(
            "postgresql",
            at["VISTAG_PG_USER"],
            at["VISTAG_PG_PASSWORD"],
            at["VISTAG_PG_HOST"],
            int(at["VISTAG_PG_PORT"]),
            at["VISTAG_PG_DATABASE"],
        ).render_as_string(hide_password=False)
        monkeypatch.setenv(LEASES_URL, url)
        monkeypatch.setenv(LEASE_SECONDS, "5")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("PYTHONPATH", services.environment()["PYTHONPATH"])
        yield url


@pytest.fixture
def machines(url: str) -> Iterator[Machines]:
    with ray_cluster(2, services.free_port()) as cluster:
        yield cluster


def shared_home(root: Path) -> Home:
    root.mkdir()
    home = make_home(root)
    settings = (services.ROOT / "deploy" / "dagster-postgres.yaml").read_bytes()
    home.dagster_dir.mkdir(parents=True)
    (home.dagster_dir / "dagster.yaml").write_bytes(settings)
    return home


def runs_of(home: Home) -> list[str]:
    """How they ended, the oldest first."""
    with home_instance(home.root) as instance:
        return [run.status.name for run in reversed(instance.get_runs())]


@pytest.mark.parametrize("is_repaired", [False, True])
def test_a_run_that_fails_by_itself_is_started_again_and_no_more_than_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_repaired: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", services.environment()["PYTHONPATH"])
    home, library = make_home(tmp_path), tmp_path / "lib"
    make_library(library, 1, 3, tiny_jpegs())
    folders, weights = find_library(library, "lib", home), tmp_path / "encoder" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])

    def repair(*_: object) -> None:
        if is_repaired and "FAILURE" in runs_of(home):
            weights.write_bytes(whole)

    ends = (
        contextlib.nullcontext() if is_repaired else pytest.raises(ClusterError, match="1 of the runs failed")
    )
    with ends:
        tag_folders(home, folders, repair, ray=OnRay(LOCAL, folders=1))
    if is_repaired:  # the last is of what is made of all folders
        assert runs_of(home)[0] == "FAILURE"
        assert runs_of(home)[-2:] == ["SUCCESS", "SUCCESS"]
        assert home.lake.read_all("global_embeddings").num_rows == 3
    else:
        assert runs_of(home) == ["FAILURE"] * (1 + FAILURES)
        assert f"{FAILURES} of {FAILURES} times" in caplog.text
    assert f"its folders are run again, 1 of {FAILURES} times" in caplog.text


def test_machines_that_die_in_the_middle_of_their_folder_lose_double_and_tear_nothing(
    machines: Machines, url: str, tmp_path: Path
) -> None:
    chance = random.Random(20)
    library, home = tmp_path / "lib", shared_home(tmp_path / "disturbed")
    make_library(library, FOLDERS, IMAGES, tiny_jpegs())
    log = tmp_path / "run.log"
    kills = 0
    assert not home.is_worked_on("lib")  # which makes the table of leases
    with log.open("wb") as said:
        command = [sys.executable, "-c", _RUN, str(home.root), str(library), machines.address]
        run = subprocess.Popen(command, stdout=said, stderr=said, env=dict(os.environ))
    try:
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:", 1))
        struck: set[int] = set()
        while kills < KILLS and run.poll() is None:
            with engine.connect() as sql:
                at_work = [(name, pid) for name, pid in sql.execute(_AT_WORK) if pid not in struck]
            if not at_work:
                time.sleep(0.1)
                continue
            name, pid = chance.choice(at_work)
            time.sleep(chance.uniform(0, 1))  # some other moment of the folder
            if (machine := machines.machine_of(pid)) is not None:
                struck.add(pid)
                machines.kill(machine)
                kills += 1
                print(f"kill {kills}: {name.partition('/')[2]}", flush=True)
        assert run.wait() == 0, log.read_text()[-5000:]
    finally:
        run.kill()
        run.wait()
    assert kills == KILLS
    assert [finding.sentence for finding in verify_home(home, deep=True).findings if finding.is_fault] == []
    for table in TABLES:
        rows = home.lake.read_all(table)
        keys = [
            rows[name].to_pylist() for name in ("folder", "id", "concept_id") if name in rows.column_names
        ]
        assert rows.num_rows == len(set(zip(*keys, strict=True)))
        # an image may have no tag, which its partition then says
        silent = {id_ for key in home.lake.folders(table) for id_ in empty_ids(home.lake.read(table, key))}
        assert len({*rows["id"].to_pylist(), *silent}) == FOLDERS * IMAGES
