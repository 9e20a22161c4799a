"""The history of evaluations and its gate: real runs of Dagster on a home whose tags are written by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pytest
import services
from evaluation_runs import RANKS, a_run
from PIL import Image
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from evaluation import history
from evaluation.history import HistoryError
from evaluation.record import against_baseline
from resources.home import FolderRef, Home, Settings, write_settings
from resources.lake import Lake
from resources.tables import EVALUATION_HISTORY
from resources.workspace import open_workspace
from vistag_assets.cli import app
from vistag_assets.runs import evaluate
from vistag_assets.whole_image.concept_embeddings import embed_concepts

FOLDER = "lib--a"
IMAGES = [f"{n:032x}" for n in range(30)]
# one tag of the head on every image, two of the body on fifteen, seven of the tail on six
CARRIERS = {f"tag{n}": IMAGES[: (30, 15, 15)[n]] if n < 3 else IMAGES[n % 5 :: 5] for n in range(10)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_siglip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def home(tmp_path: Path, checkpoint: Path) -> Home:
    home = Home(tmp_path / "home")
    home.register(FolderRef(FOLDER, "lib", str(tmp_path / "library"), "a"))
    (tmp_path / "vocabulary.csv").write_text(
        "id,pref_label,alt_labels,facet,broader,definition\n"
        + "".join(f"{tag},the {tag},,object,,\n" for tag in CARRIERS)
    )
    use_tier(home, tmp_path, checkpoint)
    files = {image: f"a/{n}.jpg" for n, image in enumerate(IMAGES)}
    (home.root / "proxies").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(home.root / "proxies" / "grey.jpg")
    size = {"width": 40, "height": 30}
    write(home, "images", [{"id": i, "path": path, "also_at": [], **size} for i, path in files.items()])
    write(home, "proxies", [{"id": image, "path": "proxies/grey.jpg", **size} for image in IMAGES])
    write(home, "rejects", [{"path": "a/broken.jpg"}])
    home.ground_truth_path.write_text(
        json.dumps(
            {
                "images": [{"id": image, "file_name": path} for image, path in files.items()],
                "categories": [{"id": tag, "name": tag} for tag in CARRIERS],
                "annotations": [],
                "image_tags": [
                    {"image_id": i, "category_id": tag} for tag, ids in CARRIERS.items() for i in ids
                ],
            }
        )
    )
    embed_concepts(open_workspace(home))
    suggest(home)
    return home


def use_tier(home: Home, folder: Path, checkpoint: Path, **changes: object) -> None:
    encoder = {"family": "siglip", "model": str(checkpoint), "licence": "own"}
    tier = {"description": "tiny", "device": "cpu", "option": "A2", "encoder": encoder} | changes
    (folder / "tiny.yaml").write_text(json.dumps(tier))  # JSON is YAML
    settings = Settings(
        tier=str(folder / "tiny.yaml"),
        taxonomy=str(folder / "vocabulary.csv"),
        ground_truth_library="lib",
    )
    write_settings(home, settings)


def write(home: Home, table: str, rows: list[dict[str, object]]) -> None:
    home.lake.write(table, pa.Table.from_pylist(rows), FOLDER)


def suggest(home: Home, lost: Collection[tuple[str, str]] = ()) -> None:
    """Suggest every true tag but the lost pairs (image, tag)."""
    rows = [
        {
            "id": image,
            "concept_id": tag,
            "rank": rank,
            "cosine": 0.1,
            "logit": -float(rank),
            "score": 1 / (rank + 1),
            "probability": 1 / (rank + 1),
            "inherited_from": None,
            "fingerprint": "0" * 16,
        }
        for rank, (tag, images) in enumerate(CARRIERS.items(), start=1)
        for image in images
        if (image, tag) not in lost
    ]
    home.lake.write("tag_scores", pa.Table.from_pylist(rows), FOLDER)


def pairs_of(*tags: str) -> set[tuple[str, str]]:
    return {(image, tag) for tag in tags for image in CARRIERS[tag]}


def vistag(home: Home, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--home", str(home.root)])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_lost_rare_tags_fail_the_check_by_name_until_a_person_accepts(home: Home) -> None:
    assert evaluate(home) == []
    suggest(home, lost=pairs_of("tag9") | {(CARRIERS["tag8"][0], "tag8")})
    [failed] = evaluate(home)
    first, second = history.runs(home.lake)
    assert (failed.check_name, failed.severity.value) == ("tail_recall_is_kept", "ERROR")
    assert failed.description is not None
    assert "Lost: the tag9 6 to 0 of 6, the tag8 6 to 5 of 6." in failed.description
    assert (first.baseline, first.accepted_by) == (None, "check")
    assert (second.baseline, second.accepted_by) == (first.run, None)
    change = against_baseline(home.lake, second, {})
    assert change is not None
    tail = change.comparison.band("tail")
    assert tail is not None
    assert (tail.before, tail.support) == (1.0, 42)
    assert tail.after == pytest.approx(35 / 42)

    told = json.loads(vistag(home, "report", "--json", "--compare", first.run))
    assert told["tag_recall@10"]["tail"]["difference"] == tail.difference
    assert "Rare tags were lost" in (home.reports_dir / "comparison.html").read_text()
    assert vistag(home, "report", "--compare", str(home.root)).count("recovered as before") == 1

    [again] = evaluate(home)  # what was not accepted is no yardstick
    assert again.metadata["baseline"].value == first.run
    assert "is the baseline of later ones" in vistag(home, "accept")
    assert evaluate(home) == []
    assert [run.accepted_by for run in history.runs(home.lake)] == ["check", None, "person", "check"]


@pytest.mark.slow
def test_what_the_interval_explains_passes_and_so_does_what_the_tier_allows(
    home: Home, tmp_path: Path, checkpoint: Path
) -> None:
    evaluate(home)
    suggest(home, lost={(CARRIERS["tag9"][0], "tag9")})  # 1 of 42: chance
    assert evaluate(home) == []
    suggest(home, lost=pairs_of("tag9"))
    use_tier(home, tmp_path, checkpoint, checks={"tail_recall_drop": {"severity": "WARN"}})
    [warning] = evaluate(home)
    assert warning.severity.value == "WARN"
    use_tier(home, tmp_path, checkpoint, checks={"tail_recall_drop": {"allowed_drop": 0.3}})
    assert evaluate(home) == []


def test_training_images_are_refused_before_anything_is_evaluated(home: Home, checkpoint: Path) -> None:
    card = checkpoint / "training.json"
    truth = json.loads(home.ground_truth_path.read_text())
    try:
        card.write_text(json.dumps({"images_seen": [IMAGES[4], "f" * 64]}))
        with pytest.raises(Exception, match=r"encoder \(.*\) was trained on 1 of the images: a/4.jpg"):
            evaluate(home)
        assert not home.lake.exists("ground_truth")
        card.write_text(json.dumps({"splits_seen": {"TRAIN": 1}}))
        home.ground_truth_path.write_text(json.dumps(truth | {"info": {"split": "train"}}))
        with pytest.raises(Exception, match="trained on the split train"):
            evaluate(home)
        home.ground_truth_path.write_text(json.dumps(truth | {"info": {"split": "CORPUS"}}))
        assert evaluate(home) == []
    finally:
        card.unlink()


def test_a_run_comes_back_as_it_was_put_in_and_the_last_accepted_of_its_tier_is_found(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "pending")
    assert history.runs(lake) == []
    kept = [a_run(2, "cpu"), a_run(1), a_run(3, accepted_by=None)]
    for run in kept:
        history.append(lake, run, RANKS)
    assert history.runs(lake) == sorted(kept, key=lambda run: run.created_at)
    assert lake.read(history.HISTORY, kept[0].run).schema.remove_metadata().equals(EVALUATION_HISTORY.schema)
    assert history.ranks_of(lake, kept[0].run).equals(RANKS)
    assert history.last_accepted(history.runs(lake), "demo") == kept[1]
    assert history.last_accepted(history.runs(lake), "gpu-24gb") is None
    assert history.find_run(lake, "20250102t0302") == kept[0]
    assert history.accept(lake).accepted_by == "person"
    assert history.accept(lake, kept[1].run).accepted_by == "check"  # it was accepted already
    with pytest.raises(HistoryError, match=r"no run is called 'x'.*20250102t030105z-0123abcd"):
        history.find_run(lake, "x")
    with pytest.raises(HistoryError, match="3 runs begin with '2025'"):
        history.find_run(lake, "2025")


def test_a_kill_while_runs_are_added_leaves_every_run_that_was_finished(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from evaluation_runs import RANKS, a_run\n"
        "from evaluation import history\n"
        "from resources.lake import Lake\n"
        "lake = Lake(Path(sys.argv[1]) / 'lake', Path(sys.argv[1]) / 'pending')\n"
        "for number in range(60):\n"
        "    history.append(lake, a_run(number), RANKS)\n"
        "    print(a_run(number).run, flush=True)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=services.environment()) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(5)]
        child.send_signal(signal.SIGKILL)
    lake = Lake(tmp_path / "lake", tmp_path / "pending")
    found = [run.run for run in history.runs(lake)]
    assert found[:5] == told
    assert len(found) < 60
    assert all(history.ranks_of(lake, run).equals(RANKS) for run in found)
