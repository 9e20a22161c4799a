"""A home, a lake and a library on a disk that is read-only, from the start or in the middle of a run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import services
from small_disk import mounted, remount
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.decisions import Event
from resources.home import FolderRef, Home, read_settings, write_settings
from resources.images import open_proxy
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app

VISTAG = str(Path(sys.executable).parent / "vistag")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


def vistag(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, " ".join(result.output.split())


def run(home: Home, library: Path) -> subprocess.Popen[str]:
    command = [VISTAG, "run", str(library), "--library", "lib", "--home", str(home.root)]
    environment = services.environment()
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_whatever_writes_names_the_disk_and_whatever_reads_works(disk: Path, tmp_path: Path) -> None:
    home = Home(disk / "home")
    write_settings(home, read_settings(home))
    home.register(FolderRef("lib--a", "lib", str(tmp_path), "a"))
    (tmp_path / "a").mkdir()
    for table in ("images", "rejects", "proxies"):
        home.lake.write(table, pa.table({"id": ["a"], "path": ["x"]}).slice(0, 0), "lib--a")
    with home_instance(home.root) as instance:
        instance.add_dynamic_partitions("folder", ["lib--a"])
    home.decisions.append([Event(who="ada", verdict="accept", image_id="a", concept_id="vase")])
    draw(tmp_path / "library" / "a.png", seed=0)
    assert remount(disk, "ro")

    refused = f"the disk at {disk} is read-only: make it writable"
    with pytest.raises(OSError, match=refused):
        home.lake.write("images", pa.table({"id": ["b"]}), "lib--a")
    with pytest.raises(OSError, match=refused):
        home.lake.delete("images", "lib--a")
    with pytest.raises(OSError, match=refused), home_instance(home.root) as instance:
        instance.add_dynamic_partitions("folder", ["lib--b"])
    for command in (["run", str(tmp_path / "library")], ["watch", str(tmp_path / "library")]):
        code, said = vistag(*command, "--home", str(home.root))
        assert (code, refused in said) == (1, True), said

    assert vistag("sql", "select count(*) as n from images", "--home", str(home.root))[0] == 0
    assert vistag("watch", "--home", str(home.root))[0] == 0
    assert vistag("forget", "--home", str(home.root)) == (0, "No folder is gone.")
    assert [event.who for event in home.decisions.since()] == ["ada"]
    with pytest.raises(OSError, match=refused):
        home.decisions.append([Event(who="bob", verdict="accept", image_id="a", concept_id="vase")])
    code, said = vistag("verify", "--deep", "--home", str(home.root))
    assert code == 0
    assert said.endswith("3 files of the lake were looked at: nothing is wrong, but not finished.")

    assert remount(disk, "rw")
    home.lake.write("images", pa.table({"id": ["b"]}), "lib--a")


@pytest.mark.slow
def test_a_lake_that_becomes_read_only_in_the_middle_of_a_run_loses_nothing(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    library = tmp_path / "library"
    with mounted(home.lake.root) as disk:
        process = run(home, library)
        while not home.lake.exists("images", "lib--a") or not remount(disk, "ro"):
            assert process.poll() is None
            time.sleep(0.001)
        said = process.communicate()[0]
        assert process.returncode == 1
        assert f"the disk at {disk} is read-only" in " ".join(said.split())
        assert "Traceback" not in said
        assert {fault.kind for fault in verify_home(home, deep=True).faults} <= {
            "missing_rows",
            "missing_partition",
        }
        images = home.lake.read("images", "lib--a")
        for path in home.lake.read("proxies", "lib--a")["path"].to_pylist():
            assert open_proxy(home.root, path).size

        assert remount(disk, "rw")
        process = run(home, library)
        said = process.communicate()[0]
        assert process.returncode == 0, said
        assert home.lake.read("images", "lib--a") == images
        assert verify_home(home, deep=True).findings == ()


@pytest.mark.slow
def test_a_library_that_is_read_only_is_tagged_as_any_other(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    with mounted(tmp_path / "disk") as disk:
        draw(disk / "a" / "0.png", seed=0)
        assert remount(disk, "ro")
        assert tag(home, disk).images == 1
        assert verify_home(home, deep=True).findings == ()
