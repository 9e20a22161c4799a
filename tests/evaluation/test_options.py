"""Each option of the graph, run with the bundled models by nothing but `option:` in the tier."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from demo.corpus import make_corpus
from demo.world.scene import Split
from resources.home import Home, Settings, write_settings
from resources.models.tiers import HERE, Option
from vistag_assets.runs import find_library, tag_folders

IMAGES = 10
EVIDENCE = ("global_probability", "detector_score", "vlm_logprob", "region_caption_score")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = tmp_path_factory.mktemp("corpus")
    make_corpus(corpus, images=IMAGES, folders=1, seed=3, split=Split.VALIDATE, longer_side_px=512)
    return corpus / "library"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "heard", "heavy"),
    [
        ("A1", {"vlm_logprob"}, range(1)),
        ("A2", {"global_probability"}, range(1)),
        ("A3", {"global_probability", "detector_score"}, range(1)),
        ("B1", {"vlm_logprob"}, range(IMAGES, IMAGES + 1)),
        ("B2", {"global_probability"}, range(1, IMAGES // 3)),
        ("B3", set(EVIDENCE), range(1, IMAGES // 3)),
    ],
)
def test_one_line_of_the_tier_chooses_the_option(
    corpus: Path, tmp_path: Path, option: Option, heard: set[str], heavy: range
) -> None:
    bundled = (HERE / "demo.yaml").read_text().replace("../../../demo", str(HERE.parents[2] / "demo"))
    tier = tmp_path / "tier.yaml"
    tier.write_text(f"{bundled}\noption: {option}\n")
    shutil.copytree(corpus, tmp_path / "library")
    home = Home(tmp_path / "home")
    write_settings(home, Settings(tier=str(tier)))
    tag_folders(home, find_library(tmp_path / "library", "library", home), lambda *_: None)

    tags, descriptions = home.lake.read_all("tags"), home.lake.read_all("descriptions")
    assert {column for column in EVIDENCE if tags[column].null_count < tags.num_rows} == heard
    assert len(set(tags["id"].to_pylist())) == IMAGES
    assert all(version.startswith("fitted-") for version in tags["fusion"].to_pylist())
    assert descriptions.num_rows == IMAGES
    assert all(descriptions["description"].to_pylist())
    assert descriptions["lane"].to_pylist().count("heavy") in heavy
