"""A disk that fills up in the middle of a run: a small one of its own, in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import services
from PIL import Image
from small_disk import mounted
from small_library import tag, tiny_home
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home
from resources.lake import Lake
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home

MIB = 1024 * 1024
VISTAG = str(Path(sys.executable).parent / "vistag")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


def fill(disk: Path, free_bytes: int) -> Path:
    """Leaves `free_bytes` on the disk; returns the file that takes the rest."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - free_bytes)
    return ballast


def test_a_partition_that_finds_no_room_stays_what_it_was(disk: Path) -> None:
    lake = Lake(disk / "lake", disk / "pending")
    before = pa.table({"id": ["a"]})
    lake.write("tags", before, "f")
    fill(disk, MIB)
    noise = np.random.default_rng(0).integers(0, 2**62, MIB // 2)
    with pytest.raises(OSError, match=rf"the disk at {disk} is full: make room there and run again"):
        lake.write("tags", pa.table({"id": noise}), "f")
    assert lake.read("tags", "f") == before
    assert [path.name for path in (disk / "lake").rglob("*") if path.is_file()] == ["data.parquet"]


def test_dagsters_databases_that_find_no_room_name_the_disk(disk: Path) -> None:
    def write_until_full() -> None:
        with home_instance(disk / "home") as instance:
            fill(disk, 0)
            for number in range(1000):  # the pages that SQLite has already are filled first
                instance.add_dynamic_partitions("folder", [f"{number}-{'x' * 200}"])

    with pytest.raises(OSError, match=f"the disk at {disk} is full"):
        write_until_full()


@pytest.mark.slow
def test_a_run_on_a_full_disk_says_so_and_the_next_one_goes_on(disk: Path, tmp_path: Path) -> None:
    prepared = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    home, library = Home(disk / "home"), tmp_path / "library"
    (disk / "home").mkdir()
    (disk / "home" / "settings.json").write_bytes((prepared.root / "settings.json").read_bytes())
    tag(home, library)
    before = home.lake.read_all("images")
    rng = np.random.default_rng(0)
    for number in range(30):
        pixels = rng.integers(0, 256, (500, 500, 3), np.uint8)
        Image.fromarray(pixels).save(library / "a" / f"new-{number}.png")
    ballast = fill(disk, 2 * MIB)

    def vistag() -> subprocess.CompletedProcess[str]:
        command = [VISTAG, "run", str(library), "--library", "lib", "--home", str(home.root)]
        environment = services.environment()
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    failed = vistag()
    assert failed.returncode == 1, failed.stderr
    assert f"the disk at {disk} is full" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert home.lake.read_all("images") == before
    assert verify_home(home, deep=True).faults == ()

    ballast.unlink()
    assert vistag().returncode == 0
    assert home.lake.read_all("images").num_rows == before.num_rows + 30
    assert verify_home(home, deep=True).findings == ()
