"""The main job, as a user starts it: `vistag demo`, from nothing to the long-tail report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest
from safetensors import safe_open

from benchmarks.tail_search import tail_recalls
from resources.home import Home

VISTAG = str(Path(sys.executable).parent / "vistag")
CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoints" / "encoder"
IMAGES = int(os.environ.get("VISTAG_DEMO_IMAGES", "600"))
"""In CI fewer, for time. The head's bar is for the whole: of its first 300 images embeddings alone reach 0.940."""
BANDS = ("overall", "head", "body", "tail")


def vistag(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([VISTAG, *map(str, arguments)], check=True, capture_output=True, text=True)


def test_the_bundled_encoder_is_small_and_holds_nothing_but_float16_weights() -> None:
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 20_000_000
    assert not {file.suffix for file in CHECKPOINT.iterdir()} - {".json", ".md", ".safetensors"}
    with safe_open(CHECKPOINT / "model.safetensors", framework="numpy") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("demo") / "home"
    printed = vistag("demo", "--home", home, "--images", str(IMAGES)).stdout
    assert str(home / "reports" / "long_tail.html") in printed
    assert str(home / "reports" / "gallery" / "index.html") in printed
    assert all(band in printed for band in BANDS)
    return home


@pytest.mark.slow
def test_the_demo_recovers_the_tags_it_promises(home: Path) -> None:
    figures = json.loads(vistag("report", "--json", "--home", home).stdout)
    assert (figures["tier"], figures["images"], figures["rejects"]) == ("demo", IMAGES, 0)
    at_10 = {band: figures["tag_recall_embeddings"][band]["10"] for band in BANDS}
    assert at_10["overall"]["ceiling"] >= 0.98
    assert at_10["overall"]["micro"] >= 0.80
    if IMAGES >= 600:
        assert at_10["head"]["micro"] >= 0.95
    assert at_10["tail"]["micro"] >= 0.45
    assert figures["bands"]["tail"]["tags"] >= 70
    assert figures["tag_recall_whole_vocabulary"]["overall"]["10"]["support"] == at_10["overall"]["support"]


@pytest.mark.slow
def test_regions_masks_texts_and_captions_are_as_good_as_promised(home: Path) -> None:
    figures = json.loads(vistag("report", "--json", "--home", home).stdout)
    grounding = {band: figures["grounding_recall"][band]["0.5"]["micro"] for band in BANDS}
    assert grounding["overall"] >= 0.80
    assert grounding["tail"] >= 0.55
    assert figures["masks"]["mean_iou"] >= 0.75
    assert figures["ocr"]["recall"] >= 0.9
    assert figures["captions"]["object_recall"] >= 0.80
    assert figures["captions"]["hallucination_rate"] <= 0.10
    assert figures["captions"]["schema_valid"] >= 0.99


@pytest.mark.slow
def test_the_full_graph_recovers_rare_tags_that_embeddings_lose(home: Path) -> None:
    figures = json.loads(vistag("report", "--json", "--home", home).stdout)
    tail = {rung["option"]: rung["tag_recall@10"]["tail"] for rung in figures["ladder"]}
    assert list(tail) == ["A1", "A2", "A3", "B2", "B3"]
    assert tail["A2"] < tail["A3"] < tail["B3"]
    alone = figures["tag_recall_embeddings"]["tail"]["10"]["micro"]
    assert figures["tag_recall"]["tail"]["10"]["micro"] - alone >= 0.10
    assert tail["B3"] - tail["A2"] >= 0.10


@pytest.mark.slow
def test_a_deleted_partition_is_computed_again_and_nothing_else_is(home: Path) -> None:
    lake = Home(home).lake
    key = lake.folders("region_masks")[0]
    masks, gone = lake.read("region_masks", key), lake.data_file("region_masks", key)
    before = {file: file.stat().st_mtime_ns for file in lake.root.rglob("folder=*/*.parquet")}
    lake.delete("region_masks", key)
    printed = vistag("run", home / "demo" / "library", "--library", "demo", "--home", home).stdout
    assert f"Images {IMAGES // 6} outlined." in " ".join(printed.split())
    assert lake.read("region_masks", key).equals(masks)
    after = {file: file.stat().st_mtime_ns for file in lake.root.rglob("folder=*/*.parquet")}
    assert {file for file in before if after[file] != before[file]} == {gone}


@pytest.mark.slow
def test_a_second_run_on_the_same_library_does_no_model_work(home: Path) -> None:
    again = vistag("run", home / "demo" / "library", "--library", "demo", "--home", home).stdout
    assert f"Nothing new: {IMAGES} images unchanged, no image was sent to a model." in " ".join(again.split())


@pytest.mark.slow
def test_probabilities_of_the_demo_are_calibrated(home: Path) -> None:
    """Of the tags given a probability near p, a share near p is true (ten bins, weighted by their size)."""
    query = (
        "copy (select sum(n * abs(p - t)) / sum(n) as error from (select count(*) as n, avg(probability) as p, "
        "avg((g.id is not null)::int) as t from tag_scores semi join ground_truth_concepts using (concept_id) "
        "left join ground_truth g using (id, concept_id) where inherited_from is null and probability > 0.05 "
        f"group by floor(probability * 10))) to '{home}/error.csv' (header false)"
    )
    vistag("sql", query, "--home", home)
    assert float((home / "error.csv").read_text()) < 0.1


@pytest.mark.slow
def test_one_example_finds_rare_concepts_that_no_threshold_shows(home: Path) -> None:
    recalls = tail_recalls(Home(home))
    assert len(recalls) >= (60 if IMAGES >= 600 else 20)
    assert mean(recall.by_example for recall in recalls) >= 0.25
    assert mean(recall.by_words for recall in recalls) >= 0.75
    missed = [recall for recall in recalls if recall.missed]
    assert mean(recall.missed_by_example or 0 for recall in missed) >= 0.1
    assert mean(recall.missed_by_words or 0 for recall in missed) >= 0.4
