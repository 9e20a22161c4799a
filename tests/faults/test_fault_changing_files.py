"""Files and folders that change, or go, while they are read."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import image_zoo as zoo
import pytest
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip

import resources.images.reading
from resources.home import FolderRef
from resources.images import Ingested, Limits, ingest_folder
from vistag_assets.automation.verify import verify_home
from vistag_assets.runs import tag_folders

NAMES = [f"{number}.bmp" for number in range(8)]
LIMITS = Limits()
THEN_NS = 1_500_000_000 * 10**9
Progress = Callable[[int, int], None]


@contextmanager
def meanwhile(step: Callable[[int], None]) -> Iterator[None]:
    """Calls `step` with 0, 1, 2 ... in a thread for as long as the block lasts."""
    ended = threading.Event()

    def work() -> None:
        number = 0
        while not ended.is_set():
            step(number)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def ingest(
    folder: Path, home: Path, before: Ingested | None = None, on_progress: Progress | None = None
) -> Ingested:
    known = (before.images, before.rejects, before.proxies) if before else (None, None, None)
    return ingest_folder(folder, folder, home, LIMITS, *known, on_progress=on_progress)


def proxies(result: Ingested, home: Path) -> dict[str, bytes]:
    """Id -> the file of its proxy."""
    return {row["id"]: (home / row["path"]).read_bytes() for row in result.proxies.to_pylist()}


def codes(result: Ingested) -> dict[str, str]:
    return {row["path"]: row["code"] for row in result.rejects.to_pylist()}


@pytest.mark.parametrize("in_memory_bytes", [0, resources.images.reading.IN_MEMORY_BYTES])
def test_a_row_is_of_the_bytes_that_were_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    monkeypatch.setattr(resources.images.reading, "IN_MEMORY_BYTES", in_memory_bytes)
    contents = {
        name: [zoo.encoded(zoo.picture(600, 400, seed=2 * place + half), "BMP") for half in (0, 1)]
        for place, name in enumerate(NAMES)
    }
    calm = {f"{turn} {name}": content[turn] for name, content in contents.items() for turn in (0, 1)}
    zoo.write(tmp_path / "calm", calm)
    expected = proxies(ingest(tmp_path / "calm", tmp_path / "home"), tmp_path / "home")
    library = tmp_path / "library"
    zoo.write(library, {name: content[0] for name, content in contents.items()})

    def rewrite(number: int) -> None:
        for name, content in contents.items():
            if number % 4:  # in place, the time set back as copying programs do
                with (library / name).open("r+b", buffering=0) as file:
                    file.write(content[number % 2])
                os.utime(library / name, ns=(THEN_NS, THEN_NS))
            else:
                (library / "new.part").write_bytes(content[number % 2])
                (library / "new.part").replace(library / name)
        time.sleep(0.03 * (number % 2))  # in which some are read

    rejected: set[str] = set()
    compared = 0
    with meanwhile(rewrite):
        for turn in range(12):
            home = tmp_path / f"home {turn}"
            result = ingest(library, home)
            found = proxies(result, home)
            # others are of a moment in the midst of a write
            known = found.keys() & expected.keys()
            assert {id_: found[id_] for id_ in known} == {id_: expected[id_] for id_ in known}
            rejected |= set(codes(result).values())
            compared += len(known)
    assert rejected <= {"changed_while_reading"}
    assert compared > 0

    for name in NAMES:  # a file of the same size and the same time as before would count as the same
        os.utime(library / name)
    end = ingest(library, home, result)
    ids = [hashlib.sha256((library / name).read_bytes()).hexdigest()[:32] for name in NAMES]
    assert end.images["id"].to_pylist() == ids
    assert end.rejects.num_rows == 0


def test_a_file_that_is_cut_while_it_is_read_is_left_for_the_next_run(tmp_path: Path) -> None:
    library = tmp_path / "library"
    whole = zoo.encoded(zoo.picture(), "JPEG") + bytes(16 * 2**20)
    zoo.write(library, {"cut.jpg": whole})

    def cut(number: int) -> None:
        os.truncate(library / "cut.jpg", len(whole) - number % 1000)

    with meanwhile(cut):
        result = ingest(library, tmp_path / "home")
    assert codes(result) == {"cut.jpg": "changed_while_reading"}
    assert ingest(library, tmp_path / "home", result).images.num_rows == 1


def test_a_file_that_vanishes_before_it_is_read_is_passed_over(tmp_path: Path) -> None:
    library = tmp_path / "library"
    zoo.write(library, {f"{seed}.png": zoo.encoded(zoo.picture(seed=seed), "PNG") for seed in range(3)})

    def remove(done: int, total: int) -> None:
        (library / "1.png").unlink(missing_ok=True)

    result = ingest(library, tmp_path / "home", on_progress=remove)
    assert result.images["path"].to_pylist() == ["0.png", "2.png"]
    assert result.rejects.num_rows == 0


@pytest.mark.parametrize("the_mount_point_stays", [True, False])
def test_a_disk_that_goes_while_it_is_read_is_no_empty_folder(
    tmp_path: Path, the_mount_point_stays: bool
) -> None:
    library = tmp_path / "library"
    zoo.write(library, {f"{seed}.png": zoo.encoded(zoo.picture(seed=seed), "PNG") for seed in range(3)})

    def unmount(done: int, total: int) -> None:
        if not done:
            library.rename(tmp_path / "elsewhere")
            if the_mount_point_stays:
                library.mkdir()

    with pytest.raises(FileNotFoundError, match="check that its disk is mounted"):
        ingest(library, tmp_path / "home", on_progress=unmount)


@pytest.mark.slow
def test_a_folder_that_vanishes_keeps_its_rows_and_the_run_goes_on_with_the_others(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    library = tmp_path / "library"
    tag(home, library)
    before = {table: home.lake.read(table, "lib--b") for table in ("images", "proxies", "tags")}
    draw(library / "a" / "new.png", seed=50)
    draw(library / "c" / "0.png", seed=60)
    folders = [
        *map(home.folder, ("lib--a", "lib--b")),
        FolderRef("lib--c", "lib", str(library), "c"),
    ]
    shutil.move(library / "b", tmp_path / "b")
    shutil.move(library / "c", tmp_path / "c")

    outcome = tag_folders(home, folders, watcher=lambda stage, done, total: None)

    assert [folder.images for folder in outcome.folders] == [6, 5, 0]
    assert {table: home.lake.read(table, "lib--b") for table in before} == before
    assert verify_home(home).faults == ()

    shutil.move(tmp_path / "c", library / "c")
    shutil.move(tmp_path / "b", library / "b")
    assert tag(home, library).images == 12
    assert verify_home(home, deep=True).findings == ()

    shutil.move(library, tmp_path / "unmounted")
    library.mkdir()
    with pytest.raises(FileNotFoundError, match="check that its disk is mounted"):
        tag_folders(home, folders, watcher=lambda stage, done, total: None)
