"""A model is loaded once in a run, however many folders and assets ask for it; the metadata say where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_library import draw, tiny_home
from tiny_checkpoint import save_tiny_siglip

from benchmarks.model_loads import count_loads
from resources.gpus import MODELS_POOL
from resources.models.load_counter import count_load, model_loads
from vistag_assets.definitions import defs

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_one_run_of_many_folders_loads_its_model_once(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny", seed=4711))
    for number in range(3):
        draw(tmp_path / "library" / f"c{number}" / "1.png", seed=200 + number)
    loads = count_loads(home, tmp_path / "library")
    assert loads.runs == 1
    assert loads.models == {"tiny": 1}
    # the phrases come first; the images are embedded by the same model
    assert loads.assets == {"concept_embeddings": 1}
    assert len(home.lake.folders("tags")) == 5
    # nothing new, nothing loaded
    assert count_loads(home, tmp_path / "library").models == {}


def test_a_model_of_the_hub_is_counted_by_its_name() -> None:
    before = model_loads()
    count_load(Path("/cache/hub/models--google--siglip2-base/snapshots/0123abcd"))
    count_load(Path("/checkpoints/encoder"))
    count_load("rapidocr")
    assert model_loads() - before == {"google/siglip2-base": 1, "encoder": 1, "rapidocr": 1}


@pytest.mark.slow
def test_each_role_of_the_demo_tier_is_loaded_once() -> None:
    # a process of its own: models that another test of this one has loaded would be found in memory
    bench = [sys.executable, "-m", "benchmarks.model_loads", "--folders", "4", "--images", "1"]
    told = subprocess.run(bench, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    head, *lines = told.splitlines()
    assert head == "4 folders of 1 images in 1 runs of the tier demo"
    loads = dict(line.rsplit(": ", 1) for line in lines)
    models = {name: count for name, count in loads.items() if name.startswith("model ")}
    assert models == {f"model {name}": "1 loads" for name in ("encoder", "detector", "vlm", "rapidocr")}
    graph = defs.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.materializable_asset_keys}
    loading = {name.removeprefix("asset ") for name in loads if name.startswith("asset ")}
    assert loading
    assert all(pools[asset] == {MODELS_POOL} for asset in loading)
