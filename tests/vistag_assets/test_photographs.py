"""Real photographs with real weights: pictures that packages ship, through `vistag run` without an option or a hub."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from resources.home import Home, read_settings

SHOWN = {
    "skimage/data/astronaut.png": "helmet",
    "skimage/data/camera.png": "tripod",
    "skimage/data/chelsea.png": "cat",
    "skimage/data/clock_motion.png": "clock",
    "skimage/data/coffee.png": "coffee",
    "skimage/data/motorcycle_left.png": "motorcycle",
    "skimage/data/motorcycle_right.png": "motorcycle",
    "skimage/data/rocket.jpg": "rocket",
    "sklearn/datasets/images/china.jpg": "palace",
    "sklearn/datasets/images/flower.jpg": "flower",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": "uniform",
}
"""File of an installed package -> what it shows, as a person says. One of motion blur (clock) is hard."""
OTHERS = (
    *(
        "dog",
        "bird",
        "fish",
        "horse",
        "fruit",
        "building",
        "bridge",
        "boat",
        "ship",
        "car",
        "bicycle",
        "aircraft",
    ),
    *(
        "train",
        "cup",
        "bottle",
        "food",
        "chair",
        "table",
        "book",
        "camera",
        "clothing",
        "ball",
        "tool",
        "person",
    ),
    *("vegetable", "insect", "furniture", "toy"),
)
MATERIALS = ("jade", "glass", "bronze", "velvet", "iron")
FIRST = 5
SHARE = 0.8


def file_of(name: str) -> Path:
    package, _, rest = name.partition("/")
    found = importlib.util.find_spec(package)
    assert found
    assert found.origin
    return Path(found.origin).parent / rest


def vocabulary(path: Path) -> Path:
    alternative = {"rocket": "missile", "coffee": "espresso"}
    things = sorted({*SHOWN.values(), *OTHERS})
    lines = [f"{thing},{thing},{alternative.get(thing, '')},object,," for thing in things]
    lines += [f"{material},{material},,material,," for material in MATERIALS]
    path.write_text("\n".join(["id,pref_label,alt_labels,facet,broader,definition", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    """The home, and what the run said."""
    root = tmp_path_factory.mktemp("photographs")
    library = root / "library"
    library.mkdir()
    for name in SHOWN:
        shutil.copy(file_of(name), library)
    words = str(vocabulary(root / "words.csv"))
    command = ["run", str(library), "--taxonomy", words, "--home", str(root / "home")]
    done = subprocess.run(
        [sys.executable, "-c", "from vistag_assets.cli import app; app()", *command],
        env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Home(root / "home"), done.stdout


@pytest.mark.slow
def test_without_a_hub_and_an_option_the_tier_offline_is_taken_and_said(tagged: tuple[Home, str]) -> None:
    home, said = tagged
    assert read_settings(home).tier == "offline"
    assert "Tier offline, since none was named; --tier cpu knows more" in said


@pytest.mark.slow
def test_what_a_photograph_shows_is_among_its_first_tags(tagged: tuple[Home, str]) -> None:
    home, _ = tagged
    (folder,) = home.folders()
    path_of = {
        row["id"]: row["path"] for row in home.lake.read("images", folder.key, ["id", "path"]).to_pylist()
    }
    tags = home.lake.read("tags", folder.key).sort_by("rank").to_pylist()
    first = {path: [t["phrase"] for t in tags if t["id"] == id_][:FIRST] for id_, path in path_of.items()}
    found = {name: thing in first[Path(name).name] for name, thing in SHOWN.items()}
    assert sum(found.values()) >= SHARE * len(found), {
        name: first[Path(name).name] for name in found if not found[name]
    }


@pytest.mark.slow
def test_no_photograph_has_a_confident_material(tagged: tuple[Home, str]) -> None:
    home, _ = tagged
    (folder,) = home.folders()
    tags = home.lake.read("tags", folder.key)
    of_material = tags.filter(pc.is_in(tags["concept_id"], pa.array(MATERIALS)))
    assert all(probability < 0.5 for probability in of_material["probability"].to_pylist())


@pytest.mark.slow
def test_the_whole_graph_runs_down_to_embedded_regions(tagged: tuple[Home, str]) -> None:
    home, _ = tagged
    (folder,) = home.folders()
    regions = home.lake.read("grounded_regions", folder.key)
    assert {"cat", "coffee", "motorcycle"} <= set(regions["concept_id"].to_pylist())
    assert home.lake.read("region_embeddings", folder.key).num_rows == regions.num_rows
    assert home.lake.read("tag_scores", folder.key).num_rows
