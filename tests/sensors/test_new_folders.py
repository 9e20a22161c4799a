"""The sensor on real libraries and a real instance: what is asked for, when, and what is remembered."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sensor_daemon import Daemon
from small_library import use_tier
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from benchmarks import sensor as workspace
from resources.home import Home, Settings, folder_key, read_settings, write_settings
from sensors import new_folders as sensor_module
from sensors.memory import LostMemory, Memory
from sensors.new_folders import new_folders
from sensors.watching import Looker, Place, Seen, Watch, asked_for, run_key
from vistag_assets.automation.instance import home_instance
from vistag_assets.cli import app
from vistag_assets.definitions import defs
from vistag_assets.partitions import FOLDERS, TAG_FOLDERS

KEYS = [f"lib--{name}" for name in "abc"]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name in "abc":
        put(tmp_path / "library" / name / "1.jpg")
    return tmp_path / "library"


@pytest.fixture
def home(tmp_path: Path, library: Path) -> Home:
    home = Home(tmp_path / "home")
    watch(home, lib=library)
    return home


@pytest.fixture
def daemon(home: Home) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(home, instance, new_folders)


def watch(home: Home, **libraries: Path) -> None:
    watched = {name: str(root) for name, root in libraries.items()}
    write_settings(home, Settings(watched=watched, settle_seconds=0))


def put(file: Path, content: bytes = b"x") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def covered(daemon: Daemon, request: dg.RunRequest) -> list[str]:
    """The partitions that a run of this request takes."""
    keys = list(daemon.instance.get_dynamic_partitions(FOLDERS))
    first = keys.index(request.tags["dagster/asset_partition_range_start"])
    return keys[first : keys.index(request.tags["dagster/asset_partition_range_end"]) + 1]


# What is asked for


def test_folders_that_arrived_are_run_together_once_they_were_seen_twice(daemon: Daemon) -> None:
    assert daemon.tick() == []
    assert "3 folders have just come or changed" in daemon.skipped
    assert (daemon.cursor or "").startswith("3 waiting; 3 folders, ")
    (request,) = daemon.tick()
    assert covered(daemon, request) == KEYS
    assert (daemon.cursor or "").startswith("3 new; 3 folders, ")
    assert request.tags["vistag/library"] == "lib"
    assert [folder.key for folder in daemon.home.folders()] == KEYS
    assert request.run_config["resources"]["vistag"]["config"] == {"home": str(daemon.home.root)}
    asked = {asset.to_user_string() for asset in request.asset_selection or ()}
    assert {"images", "tags", "contact_sheet"} <= asked
    assert "depth_maps" not in asked, "the tier names no model for it"
    assert daemon.ticks(3) == []


def test_a_changed_folder_is_run_again_and_alone(daemon: Daemon, library: Path) -> None:
    daemon.ticks(2)
    put(library / "b" / "2.jpg")
    (request,) = daemon.ticks(3)
    assert covered(daemon, request) == ["lib--b"]


def test_a_library_whose_name_is_no_utf_8_is_watched_too(daemon: Daemon, tmp_path: Path) -> None:
    root = tmp_path / "caf\udce9[/]\x1b[2J\n"
    put(root / "summer\udcff" / "1.jpg")
    watched = CliRunner().invoke(
        app, ["watch", str(root), "--settle", "0", "--stop", "lib", "--home", str(daemon.home.root)]
    )
    assert watched.exit_code == 0, watched.output
    assert read_settings(daemon.home).watched == {root.name: str(root)}
    (request,) = daemon.ticks(2)
    (folder,) = daemon.home.folders()
    assert covered(daemon, request) == [folder.key]
    assert folder.directory == root / "summer\udcff"
    assert daemon.ticks(2) == []
    daemon.skipped.encode()


@pytest.mark.parametrize("change", ["content", "time", "rights", "deleted", "renamed"])
def test_every_change_of_a_file_counts(daemon: Daemon, library: Path, change: str) -> None:
    put(library / "b" / "2.jpg")
    daemon.ticks(2)
    file = library / "b" / "1.jpg"
    match change:
        case "content":
            file.write_bytes(b"longer")
        case "time":
            os.utime(file, ns=(0, 0))
        case "rights":
            file.chmod(0o600)
        case "deleted":
            file.unlink()
        case "renamed":
            file.rename(file.with_name("3.jpg"))
    assert [covered(daemon, request) for request in daemon.ticks(3)] == [["lib--b"]]


def test_a_folder_waits_while_a_file_in_it_grows_and_holds_up_no_other(daemon: Daemon, library: Path) -> None:
    asked = []
    for size in range(1, 5):
        put(library / "b" / "1.jpg", b"x" * size)
        asked += daemon.tick()
    assert [covered(daemon, request) for request in asked] == [["lib--a", "lib--c"]]
    assert [covered(daemon, request) for request in daemon.tick()] == [["lib--b"]]


def test_partial_files_are_passed_over(daemon: Daemon, library: Path) -> None:
    daemon.ticks(2)
    for name in ("2.jpg.part", "2.jpg.crdownload", "2.tmp", "~2.jpg", ".~lock.2.jpg#", ".2.jpg.a7Gh2k"):
        put(library / "b" / name)
        put(library / "only partial" / name)
    assert daemon.ticks(3) == []


def test_a_folder_that_is_again_what_it_was_is_run_again(
    daemon: Daemon, library: Path, tmp_path: Path
) -> None:
    daemon.ticks(2)
    (library / "b").rename(tmp_path / "elsewhere")
    put(library / "b" / "other.jpg")
    assert len(daemon.ticks(2)) == 1
    shutil.rmtree(library / "b")
    (tmp_path / "elsewhere").rename(library / "b")
    (request,) = daemon.ticks(2)
    assert covered(daemon, request) == ["lib--b"]


def test_scattered_changes_share_a_run_where_little_lies_between(
    daemon: Daemon, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.ticks(2)
    for name in "ac":
        put(library / name / "2.jpg")
    (request,) = daemon.ticks(2)
    assert covered(daemon, request) == KEYS
    assert request.tags["vistag/folders"] == "2"
    for name in "ac":
        put(library / name / "3.jpg")
    put(library / "b" / "growing.jpg")
    daemon.tick()
    put(library / "b" / "growing.jpg", b"more")
    assert [covered(daemon, request) for request in daemon.tick()] == [["lib--a"], ["lib--c"]]


# What is gone


def test_a_removed_folder_is_marked_and_comes_back(daemon: Daemon, library: Path, tmp_path: Path) -> None:
    daemon.ticks(2)
    (library / "b").rename(tmp_path / "elsewhere")
    assert daemon.tick() == []
    assert "1 folders are gone" in daemon.skipped
    assert [folder.key for folder in daemon.home.folders() if folder.gone_since] == ["lib--b"]
    assert daemon.ticks(2) == []
    (tmp_path / "elsewhere").rename(library / "b")
    (request,) = daemon.ticks(3)
    assert covered(daemon, request) == ["lib--b"]
    assert daemon.home.folder("lib--b").gone_since is None


def test_an_emptied_folder_is_marked_as_well(daemon: Daemon, library: Path) -> None:
    daemon.ticks(2)
    (library / "b" / "1.jpg").unlink()
    assert daemon.ticks(2) == []
    assert daemon.home.folder("lib--b").gone_since


@pytest.mark.parametrize("root", ["missing", "empty", "a file"])
def test_an_unmounted_library_is_told_and_nothing_is_marked(
    daemon: Daemon, library: Path, tmp_path: Path, root: str
) -> None:
    put(tmp_path / "other" / "1.jpg")
    watch(daemon.home, lib=library, other=tmp_path / "other")
    daemon.ticks(2)
    library.rename(tmp_path / "unmounted")
    if root == "empty":
        library.mkdir()
    if root == "a file":
        put(library)
    put(tmp_path / "other" / "2.jpg")
    assert daemon.tick() == []
    assert f"{library} (lib)" in daemon.skipped
    assert "check that its disk is mounted" in daemon.skipped
    (request,) = daemon.tick()
    assert covered(daemon, request) == ["other"]
    assert not any(folder.gone_since for folder in daemon.home.folders())
    if root == "empty":
        library.rmdir()
    if root == "a file":
        library.unlink()
    (tmp_path / "unmounted").rename(library)
    assert daemon.ticks(3) == []


def test_a_folder_that_is_out_of_reach_is_not_gone(daemon: Daemon, library: Path, tmp_path: Path) -> None:
    put(library / "d" / "deep" / "1.jpg")
    daemon.ticks(2)
    (library / "d").rename(tmp_path / "elsewhere")
    (library / "d").symlink_to("d")  # a loop: whatever lies below cannot be listed
    assert daemon.ticks(2) == []
    assert not any(folder.gone_since for folder in daemon.home.folders())


# What is remembered


def test_a_look_that_runs_out_of_time_goes_on_where_it_stopped(
    daemon: Daemon, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_module, "LOOK_SECONDS", 0)  # one folder a look
    put(library / "d" / "1.jpg")
    assert daemon.tick() == []  # the library itself, which holds no file
    assert Memory(daemon.home).load(daemon.version).place == Place("lib", ".")
    asked = [key for request in daemon.ticks(12) for key in covered(daemon, request)]
    assert asked == [*KEYS, "lib--d"]
    shutil.rmtree(library / "b")
    assert daemon.ticks(6) == []
    assert [folder.key for folder in daemon.home.folders() if folder.gone_since] == ["lib--b"]


def test_a_look_stops_when_enough_has_settled_for_one_run(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_module, "FOLDERS_A_LOOK", 2)
    assert daemon.tick() == []
    assert [covered(daemon, request) for request in daemon.ticks(3)] == [KEYS[:2], KEYS[2:]]


def test_the_cursor_outlives_the_process(daemon: Daemon, library: Path) -> None:
    daemon.ticks(2)
    again = Daemon(daemon.home, daemon.instance, new_folders, json.loads(json.dumps(daemon.cursor)))
    assert again.ticks(2) == []
    put(library / "a" / "2.jpg")
    assert [covered(again, request) for request in again.ticks(2)] == [["lib--a"]]


def test_a_tick_that_dagster_lost_asks_for_the_same_runs(daemon: Daemon) -> None:
    daemon.tick()
    before = daemon.cursor
    (request,) = daemon.tick()
    lost = Daemon(daemon.home, daemon.instance, new_folders, before)
    (again,) = lost.tick()
    assert again.run_key == request.run_key


def test_without_its_file_the_sensor_begins_again_and_says_so(
    daemon: Daemon,
) -> None:
    daemon.ticks(2)
    (file,) = [path for path in (daemon.home.root / "watching").iterdir() if path.stem == daemon.version]
    file.write_text(file.read_text().replace("lib", "bil"))
    with pytest.raises(LostMemory, match="damaged"):
        Memory(daemon.home).load(daemon.version)
    assert daemon.tick() == []
    assert "damaged" in daemon.skipped
    assert [covered(daemon, request) for request in daemon.tick()] == [KEYS]


def test_a_quiet_library_writes_nothing_and_leaves_two_files_at_most(daemon: Daemon) -> None:
    daemon.ticks(3)
    directory = daemon.home.root / "watching"
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert len(before) <= 2
    cursor = daemon.cursor
    assert daemon.ticks(2) == []
    assert daemon.cursor == cursor
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_a_library_that_may_only_be_read_is_enough(daemon: Daemon, library: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in library.rglob("*")}
    for path in (library, *library.iterdir()):
        path.chmod(0o555)
    assert len(daemon.ticks(2)) == 1
    assert {path: path.stat().st_mtime_ns for path in library.rglob("*")} == before


# The time that a folder must stay as it is


def test_a_folder_settles_after_the_seconds_that_were_asked_for(library: Path, tmp_path: Path) -> None:
    now = 1000.0
    looker = Looker(tmp_path / "home", 20.0, lambda: now, lambda findings: False)

    def settled(watch: Watch) -> tuple[Watch, int]:
        watch, findings = looker.look(watch, {"lib": library})
        return watch, len(findings.settled)

    watch, count = settled(Watch(now))
    assert count == 0
    now = 1019.9
    watch, count = settled(watch)
    assert count == 0
    now = 1020.0
    assert settled(watch)[1] == 3
    now = 500.0  # the clock was set back: counted from here
    watch, count = settled(watch)
    assert count == 0
    now = 520.0
    assert settled(watch)[1] == 3


def test_a_run_key_is_of_content_and_of_what_was_asked_before() -> None:
    place = Place("lib", "a")
    watch = Watch(1.0, folders={"lib": {"a": Seen("1111", 1.0)}})
    other = Watch(1.0, folders={"lib": {"a": Seen("2222", 1.0)}})
    later = Watch(1.0, folders={"lib": {"a": Seen("1111", 7.0)}})
    assert run_key(watch, [place]) == run_key(later, [place])
    assert (
        len({run_key(watch, [place]), run_key(other, [place]), run_key(asked_for(watch, [place]), [place])})
        == 3
    )


# Names

_NAME = st.one_of(
    st.binary(min_size=1, max_size=255).map(os.fsdecode),
    st.text(st.sampled_from("aA\n\t '\"\\é%…=-~."), min_size=1, max_size=20),
).filter(lambda name: not {"/", "\0"} & set(name) and name[0] != "." and len(os.fsencode(name)) <= 255)


@settings(max_examples=25)
@given(names=st.sets(_NAME, min_size=1, max_size=4))
def test_folders_of_any_name_become_partitions(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    base = tmp_path_factory.mktemp("names")
    home = Home(base / "home")
    watch(home, lib=base / "library")
    for name in names:
        put(base / "library" / name / "1.jpg")
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(home, instance, new_folders)
        (request,) = daemon.ticks(2)
        assert sorted(covered(daemon, request)) == sorted(folder_key("lib", name) for name in names)
        assert {home.folder(key).relative for key in covered(daemon, request)} == names
        assert daemon.ticks(2) == []


# The command


def vistag(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return f"{result.exit_code} {' '.join(result.output.split())}"


def test_the_command_remembers_what_is_to_be_watched(tmp_path: Path, library: Path) -> None:
    home = Home(tmp_path / "other home")
    option = ("--home", home.root)
    assert "No library is watched" in vistag("watch", *option)
    assert vistag("watch", library, *option, "--settle", 5, "--tier", "demo").startswith("0 ")
    assert read_settings(home).watched == {"library": str(library)}
    assert read_settings(home).settle_seconds == 5
    assert vistag("watch", library / "a", *option, "--library", "library").startswith("1 Error: The library")
    assert vistag("watch", tmp_path / "nowhere", *option).startswith("1 Error:")
    assert "of the tier demo" in vistag("watch", *option)
    assert "know only the drawn world" in vistag("watch", *option)
    assert vistag("watch", *option, "--tier", "nothing").startswith("1 Error:")
    use_tier(Home(tmp_path / "elsewhere"), tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    assert "of the tier tiny" in vistag("watch", *option, "--tier", tmp_path / "tiny.yaml")
    assert "of the tier tiny" in vistag("watch", *option)
    assert vistag("watch", *option, "--stop", "nothing").startswith("1 Error: No library nothing")
    assert vistag("watch", *option, "--stop", "library").startswith("0 No library is watched")


def test_nothing_watched_is_said(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(Home(tmp_path / "home"), instance, new_folders)
        assert daemon.tick() == []
        assert "vistag watch FOLDER" in daemon.skipped


def test_the_measurement_runs_and_counts_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    workspace.main(["--folders", "110", "--files", "2"])
    new, unchanged, changed = capsys.readouterr().out.splitlines()[1:]
    assert "110 folders in 1 runs" in new
    assert "0 folders in 0 runs" in unchanged
    assert "10 folders in 1 runs" in changed


# The run that was asked for


@pytest.mark.slow
def test_what_the_sensor_asks_for_ends_as_rows_in_the_lake(tmp_path: Path) -> None:
    library, home = tmp_path / "library", Home(tmp_path / "home")
    names = ["Summer 2024", "é\n", os.fsdecode(b"\xff")]
    for shade, name in enumerate(names):
        (library / name).mkdir(parents=True)
        Image.new("RGB", (32, 24), (shade * 90, 10, 200)).save(library / name / "1.png")
    encoder = {"family": "siglip", "model": str(save_tiny_siglip(tmp_path / "tiny")), "licence": "own"}
    tier = {"description": "tiny", "device": "cpu", "encoder": encoder, "keep_top": 3}
    (tmp_path / "tiny.yaml").write_text(json.dumps(tier))
    chosen = Settings(tier=str(tmp_path / "tiny.yaml"), watched={"lib": str(library)}, settle_seconds=0)
    write_settings(home, chosen)
    with home_instance(home.root) as instance:
        daemon = Daemon(home, instance, new_folders)

        def execute(request: dg.RunRequest) -> None:
            result = defs.resolve_job_def(TAG_FOLDERS).execute_in_process(
                instance=instance, run_config=request.run_config, tags=request.tags
            )
            assert result.success

        (request,) = daemon.ticks(2)
        execute(request)
        keys = sorted(folder_key("lib", name) for name in names)
        for table in ("images", "tag_scores"):
            assert home.lake.folders(table) == keys
        # a folder that went keeps its rows, also in a run of all folders
        shutil.rmtree(library / names[0])
        put(library / names[1] / "2.png", (library / names[1] / "1.png").read_bytes() + b"\0")
        (changed,) = daemon.ticks(2)
        execute(changed)
        execute(request)
        assert home.folder(folder_key("lib", names[0])).gone_since
        rows = {key: home.lake.read("images", key).num_rows for key in keys}
        assert rows == {folder_key("lib", name): count for name, count in zip(names, (1, 2, 1), strict=True)}
    gone = folder_key("lib", names[0])
    assert f"{gone}: 1 images" in vistag("forget", "--home", home.root)
    assert home.lake.folders("images") == keys
    assert "Removed from the lake: 1 folders" in vistag("forget", "--home", home.root, "--yes")
    keys.remove(gone)
    assert home.lake.folders("images") == home.lake.folders("tags") == keys
    assert [folder.key for folder in home.folders()] == keys
    with home_instance(home.root) as instance:
        assert sorted(instance.get_dynamic_partitions(FOLDERS)) == keys
    assert "No folder is gone" in vistag("forget", "--home", home.root)
