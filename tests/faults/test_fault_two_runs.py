"""Two runs on one folder at once, a run and `vistag forget`, a run and `vistag verify`."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import services
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home
from vistag_assets.automation.forget import forget_folders
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home

VISTAG = str(Path(sys.executable).parent / "vistag")
FOLDERS = ["lib--a", "lib--b"]
PATIENCE_S = 120.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))


def warnings_of_last_run(home: Home) -> list[str]:
    with home_instance(home.root) as instance:
        runs = instance.get_runs(limit=1)
        logs = [entry for run in runs for entry in instance.all_logs(run.run_id)]
    return [entry.user_message for entry in logs if entry.level == 30]


def wait_for(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_waits_for_another_one_on_its_folder_and_says_so(home: Home, tmp_path: Path) -> None:
    run = threading.Thread(target=tag, args=(home, tmp_path / "library"))
    with home.working_on(FOLDERS[:1]):
        run.start()
        wait_for(lambda: any("Another run is at work" in said for said in warnings_of_last_run(home)))
        assert home.lake.tables() == []
    run.join(PATIENCE_S)
    assert home.lake.folders("tags") == FOLDERS
    assert verify_home(home, deep=True).findings == ()
    tag(home, tmp_path / "library")
    assert warnings_of_last_run(home) == []


def test_runs_on_other_folders_do_not_wait(home: Home) -> None:
    with home.working_on(FOLDERS[:1]), home.working_on(FOLDERS[1:], on_wait=pytest.fail):
        assert all(map(home.is_worked_on, FOLDERS))
    assert not any(map(home.is_worked_on, FOLDERS))


def test_a_run_on_more_folders_than_a_process_may_open_files(home: Home) -> None:
    keys = [f"lib--{number:05d}" for number in range(20_000)]
    with home.working_on(keys):
        assert home.is_worked_on(keys[-1])


def test_forget_waits_for_a_run_and_leaves_what_came_back(tagged_home: Home) -> None:
    home = tagged_home
    gone = [replace(home.folder(key), gone_since="2020-01-01T00:00:00+00:00") for key in FOLDERS]
    home.register(*gone)
    removed: list[int] = []
    with home.working_on(FOLDERS):
        forget = threading.Thread(target=lambda: removed.append(forget_folders(home, gone)))
        forget.start()
        time.sleep(0.5)
        assert home.lake.folders("tags") == FOLDERS
        home.register(replace(gone[0], gone_since=None))
    forget.join(PATIENCE_S)
    assert removed == [1]
    assert home.lake.folders("tags") == FOLDERS[:1]
    assert verify_home(home).faults == ()


def test_verify_tells_what_a_run_has_yet_to_write_as_information(tagged_home: Home) -> None:
    home = tagged_home
    home.lake.delete("tag_scores", FOLDERS[0])
    home.lake.delete("proxies", FOLDERS[0])
    with home.working_on(FOLDERS[:1]):
        during = verify_home(home)
    assert during.faults == ()
    assert {found.kind for found in during.findings} >= {"missing_partition"}
    assert all(
        "A run is at work" in found.sentence for found in during.findings if found.folder == FOLDERS[0]
    )
    assert {fault.kind for fault in verify_home(home).faults} == {"missing_partition"}


@pytest.mark.slow
def test_processes_at_once_end_as_one_after_the_other(home: Home, tmp_path: Path) -> None:
    for number in range(60):
        draw(tmp_path / "library" / "a" / f"more-{number}.png", seed=1000 + number)
        draw(tmp_path / "other" / f"{number}.png", seed=2000 + number)

    def start(folder: str, library: str) -> subprocess.Popen[str]:
        command = [VISTAG, "run", str(tmp_path / folder), "--library", library, "--home", str(home.root)]
        environment = services.environment(PYTHONFAULTHANDLER="1")
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    runs = [start("library", "lib"), start("library", "lib"), start("other", "other")]
    looks = 0
    while any(run.poll() is None for run in runs):
        assert verify_home(home).faults == ()
        looks += 1
        time.sleep(0.2)
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], "\n\n".join(said)
    assert looks > 5
    assert verify_home(home, deep=True).findings == ()

    calm = Home(tmp_path / "calm")
    calm.root.mkdir()
    (calm.root / "settings.json").write_bytes((home.root / "settings.json").read_bytes())
    tag(calm, tmp_path / "library")
    assert calm.lake.tables() == home.lake.tables()
    for table in set(calm.lake.tables()) - {"near_duplicates", "review_queue"}:  # of both libraries
        for folder in calm.lake.folders(table) or [None]:
            assert home.lake.read(table, folder) == calm.lake.read(table, folder)
    gallery = home.reports_dir / "gallery"
    named = {
        link
        for page in gallery.glob("*.html")
        for link in re.findall(r'(?:src|href)="([^"#]+\.(?:jpg|html))"', page.read_text())
    }
    assert len([link for link in named if link.startswith("thumbnails/")]) == 130
    assert all((gallery / link).is_file() for link in named)
