"""The main job, as a user starts it: `vistag demo`, from nothing to the long-tail report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

VISTAG = str(Path(sys.executable).parent / "vistag")
CHECKPOINT = Path(__file__).parents[1] / "demo" / "checkpoints" / "encoder"
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
    printed = vistag("demo", "--home", home).stdout
    assert printed.splitlines()[-1] == str(home / "reports" / "long_tail.html")
    assert all(band in printed for band in BANDS)
    return home


@pytest.mark.slow
def test_the_demo_recovers_the_tags_it_promises(home: Path) -> None:
    figures = json.loads(vistag("report", "--json", "--home", home).stdout)
    assert (figures["tier"], figures["images"], figures["rejects"]) == ("demo", 600, 0)
    at_10 = {band: figures["tag_recall"][band]["10"] for band in BANDS}
    assert at_10["overall"]["ceiling"] >= 0.98
    assert at_10["overall"]["micro"] >= 0.80
    assert at_10["head"]["micro"] >= 0.95
    assert at_10["tail"]["micro"] >= 0.45
    assert figures["bands"]["tail"]["tags"] >= 70
    assert figures["tag_recall_whole_vocabulary"]["overall"]["10"]["support"] == at_10["overall"]["support"]


@pytest.mark.slow
def test_a_second_run_on_the_same_library_does_no_model_work(home: Path) -> None:
    again = vistag("run", home / "demo" / "library", "--library", "demo", "--home", home).stdout
    assert "Nothing new: 600 images unchanged, no image was sent to a model." in " ".join(again.split())


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
