"""`kill -9` of `vistag run` in each stage: the verifier sees what is unfinished, and nothing else is wrong.

Each run goes on where the one before was killed; the last is left to end.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import services
from small_library import tag, tiny_home
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home
from vistag_assets.automation.verify import verify_home

VISTAG = str(Path(sys.executable).parent / "vistag")
UNFINISHED = {"missing_rows", "missing_partition", "temporary_file"}
# What a run makes first in each stage: it is killed when that appears.
FIRST_FILES = {
    "ingest": "proxies/*/*",
    "concept_embeddings": "lake/concept_embeddings/*",
    "global_embeddings": "pending/global_embeddings/*",
    "tag_scores": "pending/tag_scores/*",
    "routing": "lake/routing/*",
    "tags": "pending/tags/*",
}


def run_until(home: Home, library: Path, pattern: str | None) -> int:
    """The exit code of a run that is killed when a file of that pattern appears."""
    command = [VISTAG, "run", str(library), "--library", "lib", "--home", str(home.root)]
    environment = services.environment()
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while run.poll() is None and not (pattern and any(home.root.glob(pattern))):
            time.sleep(0.001 if pattern else 0.1)
    finally:
        if pattern:
            run.kill()
        run.wait()
    return run.returncode


@pytest.mark.slow
def test_a_run_killed_in_each_stage_loses_nothing(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    library = tmp_path / "library"
    killed = set()
    for stage, pattern in FIRST_FILES.items():
        if run_until(home, library, pattern) == -signal.SIGKILL:
            killed.add(stage)
        assert {fault.kind for fault in verify_home(home, deep=True).faults} <= UNFINISHED
    assert killed == FIRST_FILES.keys()

    assert run_until(home, library, None) == 0
    found = verify_home(home, deep=True)
    assert found.faults == ()
    assert {finding.table for finding in found.findings} <= {"proxies"}  # half of one, for pruning to remove

    (tmp_path / "calm").mkdir()
    calm = Home(tmp_path / "calm" / "home")
    calm.root.mkdir()
    (calm.root / "settings.json").write_bytes((home.root / "settings.json").read_bytes())
    tag(calm, library)
    assert home.lake.tables() == calm.lake.tables()
    for table in calm.lake.tables():
        for folder in calm.lake.folders(table) or [None]:
            assert home.lake.read(table, folder) == calm.lake.read(table, folder)
