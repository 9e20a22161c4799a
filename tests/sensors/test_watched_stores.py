"""The sensor that looks at libraries on an object store, a real server: what it asks for, and what it lets be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import dagster as dg
import pytest
from s3_server import BUCKET, Server, proxied, running_server, upload
from sensor_daemon import Daemon
from small_library import draw, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home import Home, Settings, read_settings, write_settings
from resources.images import walk_folders
from resources.object_store import ObjectPath
from sensors import new_folders as sensor_module
from sensors.memory import Memory
from sensors.new_folders import STORES, new_folders, new_folders_on_stores
from sensors.watching import Place
from vistag_assets.automation.instance import home_instance
from vistag_assets.cli import app
from vistag_assets.definitions import defs
from vistag_assets.partitions import TAG_FOLDERS


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as environment, running_server(environment) as server:
        yield server


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The twin of the library on the store."""
    for seed, name in enumerate(("a/1.png", "a/.hidden/2.png", "b/c/3.png", "b.c/4.png", "é/5.png")):
        draw(tmp_path / "library" / name, seed)
    (tmp_path / "library" / "notes").mkdir()
    (tmp_path / "library" / "notes" / "n.txt").write_text("no image")
    return tmp_path / "library"


@pytest.fixture
def library(server: Server, local: Path, tmp_path: Path) -> ObjectPath:
    upload(server, local, f"{tmp_path.name}/library")
    return ObjectPath.parse(f"s3://{BUCKET}/{tmp_path.name}/library")


@pytest.fixture
def daemon(tmp_path: Path, library: ObjectPath, local: Path) -> Iterator[Daemon]:
    """Of a home that watches the store, and its twin on the disk."""
    home = Home(tmp_path / "home")
    write_settings(home, Settings(watched={"store": str(library), "disk": str(local)}, settle_seconds=0))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(home, instance, new_folders_on_stores)


def vistag(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return f"{result.exit_code} {' '.join(result.output.split())}"


def registered(daemon: Daemon) -> list[str]:
    return [f"{folder.library}/{folder.relative}" for folder in daemon.home.folders()]


@pytest.mark.parametrize("after", [None, PurePosixPath("a"), PurePosixPath("b"), PurePosixPath("b.c")])
def test_a_store_is_walked_as_its_twin_on_a_disk(
    library: ObjectPath, local: Path, after: PurePosixPath | None
) -> None:
    there = [
        (listing.folder, [file.path.name for file in listing.files])
        for listing in walk_folders(library, after=after)
    ]  # type: ignore[union-attr]
    here = [
        (listing.folder, [file.name for file in listing.files])
        for listing in walk_folders(local, after=after)
    ]  # type: ignore[union-attr]
    assert there == here
    assert there


def test_folders_that_arrived_are_run_together_and_a_changed_one_alone(
    daemon: Daemon, library: ObjectPath
) -> None:
    assert daemon.tick() == []
    (request,) = daemon.tick()
    assert registered(daemon) == [f"store/{name}" for name in ("a", "b/c", "b.c", "é")]
    assert request.tags["vistag/folders"] == "4"
    assert daemon.ticks(2) == []
    (library / "b/c/3.png").write_bytes((library / "b/c/3.png").read_bytes() + b"\0")
    (changed,) = daemon.ticks(2)
    assert changed.tags["vistag/folders"] == "1"
    assert changed.tags["dagster/asset_partition_range_start"].startswith("store--b--c")


def test_a_folder_is_one_request(daemon: Daemon, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere, proxied(server, elsewhere) as proxy:
        daemon.tick()
    assert len(proxy.requests) == 7  # the library itself, a, b, b/c, b.c, notes, é
    assert {request.method for request in proxy.requests} == {"GET"}


def test_a_removed_folder_is_marked(daemon: Daemon, library: ObjectPath) -> None:
    daemon.ticks(2)
    (library / "a/1.png").unlink()
    assert daemon.tick() == []
    assert [folder.relative for folder in daemon.home.folders() if folder.gone_since] == ["a"]


def test_a_look_goes_on_where_the_last_one_stopped(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor_module, "LOOK_SECONDS", 0)  # one folder a look
    assert daemon.tick() == []
    assert Memory(daemon.home, STORES).load(daemon.version).place == Place("store", ".")
    assert sum(int(request.tags["vistag/folders"]) for request in daemon.ticks(20)) == 4


def test_a_store_that_is_away_is_told_and_nothing_counts_as_gone(
    daemon: Daemon, library: ObjectPath, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.ticks(2)
    with monkeypatch.context() as elsewhere, proxied(server, elsewhere) as proxy:
        proxy.refuse = lambda request: (403, "AccessDenied")
        assert daemon.ticks(2) == []
    assert f"{library} (store): the store refuses: check AWS_ACCESS_KEY_ID" in daemon.skipped
    for info in library.listing():
        info.path.unlink()
    assert daemon.tick() == []
    assert f"{library} (store): no images in it; check its name." in daemon.skipped
    assert not any(folder.gone_since for folder in daemon.home.folders())


def test_each_sensor_looks_at_its_own_libraries(daemon: Daemon) -> None:
    disks = Daemon(daemon.home, daemon.instance, new_folders)
    daemon.tick()
    disks.tick()
    assert len(disks.tick()) == len(daemon.tick()) == 1
    assert sorted({name.partition("/")[0] for name in registered(daemon)}) == ["disk", "store"]
    assert disks.ticks(2) == daemon.ticks(2) == []
    write_settings(daemon.home, Settings())
    daemon.tick()
    assert daemon.skipped == "No library is watched on an object store: vistag watch s3://bucket/prefix"


def test_the_command_takes_a_place_on_a_store(tmp_path: Path, library: ObjectPath) -> None:
    option = ("--home", tmp_path / "other")
    told = vistag("watch", library, *option)
    assert told.startswith("0 ")
    assert "every five minutes" in told
    assert read_settings(Home(tmp_path / "other")).watched == {"library": str(library)}
    assert vistag("watch", f"{library}/nothing", *option).startswith("1 Error:")
    assert vistag("watch", "s3://no-such-bucket/a", *option).startswith("1 Error: s3://no-such-bucket")
    assert "every five minutes" not in vistag("watch", "--stop", "library", *option)


@pytest.mark.slow
def test_what_arrives_on_a_store_ends_as_rows_in_the_lake(
    tmp_path: Path, library: ObjectPath, local: Path
) -> None:
    (tmp_path / "other").mkdir()
    home = tiny_home(tmp_path / "other", save_tiny_siglip(tmp_path / "tiny"))
    watched = {"store": str(library), "disk": str(local)}
    write_settings(home, read_settings(home).model_copy(update={"watched": watched, "settle_seconds": 0}))
    with home_instance(home.root) as instance:
        for sensor in (new_folders, new_folders_on_stores):
            (request,) = Daemon(home, instance, sensor).ticks(2)
            result = defs.resolve_job_def(TAG_FOLDERS).execute_in_process(
                instance=instance, run_config=request.run_config, tags=request.tags
            )
            assert result.success
    tags = {key: home.lake.read("tags", key).num_rows for key in home.lake.folders("tags")}
    assert {
        key.replace("store", "disk", 1): rows for key, rows in tags.items() if key.startswith("store")
    } == {key: rows for key, rows in tags.items() if key.startswith("disk")}
    assert len(tags) == 8
