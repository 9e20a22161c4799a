"""A folder that is removed between the request of a run and its turn: the run goes on, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip

from resources.home import FolderRef, Home
from resources.workspace import run_config
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home
from vistag_assets.definitions import defs
from vistag_assets.partitions import TAG_FOLDERS, add_folders, range_tags


def run_all(home: Home) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """A run of all registered folders, and the warnings in its log."""
    with home_instance(home.root) as instance:
        keys = add_folders(instance, [folder.key for folder in home.folders()])
        result = defs.resolve_job_def(TAG_FOLDERS).execute_in_process(
            instance=instance, run_config=run_config(home), tags=range_tags(keys[0], keys[-1])
        )
        log = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level >= 30]
    return result, log


@pytest.mark.slow
def test_a_removed_folder_keeps_its_rows_and_does_not_fail_the_others(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    library = tmp_path / "library"
    tag(home, library)
    before = home.lake.read("tags", "lib--b")
    shutil.rmtree(library / "b")
    draw(library / "a" / "new.png", seed=7)
    home.register(FolderRef("lib--c", "lib", str(library), "c"))  # gone before it was ever run

    result, log = run_all(home)

    assert result.success
    assert home.lake.read("images", "lib--a").num_rows == 6
    assert home.lake.read("tags", "lib--b") == before
    assert home.lake.read("images", "lib--c").num_rows == 0
    told = {
        made.partition: made.metadata["gone"].value
        for made in result.asset_materializations_for_node("ingest")
        if "gone" in made.metadata
    }
    assert told == dict.fromkeys(("lib--b", "lib--c"), "not there when the run came to it")
    for name in "bc":
        assert any(
            f"{library / name}: " in line and "what the lake holds of it stays" in line for line in log
        )
    assert verify_home(home).faults == ()
