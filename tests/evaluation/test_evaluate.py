"""`vistag evaluate`: files in, a table or JSON out."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_files import lvis, results, write
from hand_made_lake import make_home
from typer.testing import CliRunner

from evaluation.evaluate import evaluate_files
from evaluation.metrics.bands import LVIS_BANDS
from evaluation.metrics.grounding import IOU_NAMES
from vistag_assets.cli import app

METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"


def run(truth: Path, predictions: Path, *options: str) -> str:
    arguments = ["evaluate", "--ground-truth", str(truth), "--predictions", str(predictions), *options]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(truth: Path, predictions: Path, *options: str) -> str:
    arguments = ["evaluate", "--ground-truth", str(truth), "--predictions", str(predictions), *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    return " ".join(result.stderr.split())


@pytest.fixture
def example(tmp_path: Path) -> tuple[Path, Path]:
    """The two files of docs/metrics.md, section 'One example by hand', as they stand there."""
    truth, predictions = re.findall(r"```csv\n(.*?)```", METRICS.read_text(encoding="utf-8"), re.S)
    return write(tmp_path / "truth.csv", truth), write(tmp_path / "predictions.csv", predictions)


def test_the_example_of_the_documentation(example: tuple[Path, Path]) -> None:
    found = json.loads(run(*example, "--json"))
    assert found["images"] == 3
    assert found["zero_support_tags"] == ["bowl"]
    assert {band: edges["tags"] for band, edges in found["bands"].items()} == {
        "head": 1,
        "body": 1,
        "tail": 1,
        "rare": 3,
    }
    recall = found["tag_recall"]
    first, ten = recall["overall"]["1"], recall["overall"]["10"]
    assert (first["micro"], first["macro"], first["ceiling"]) == pytest.approx((1 / 6, 1 / 9, 3 / 6))
    assert (ten["micro"], ten["macro"], ten["ceiling"], ten["support"]) == pytest.approx(
        (3 / 6, 7 / 18, 1, 6)
    )
    assert [recall[band]["10"]["micro"] for band in ("head", "body", "tail")] == pytest.approx(
        [2 / 3, 1 / 2, 0]
    )
    assert "ci95" not in recall["tail"]["10"]
    assert recall["rare"] == recall["overall"]
    assert found["gap"] == {"tag_recall@10": 0.5}
    assert found["tag_map"] == pytest.approx(
        {"overall": 13 / 18, "head": 1, "body": 5 / 6, "tail": 1 / 3, "rare": 13 / 18}
    )
    f1 = found["tag_f1"]
    assert found["tag_f1_cut"] == {"first": 10}
    assert (f1["overall"]["micro"], f1["overall"]["macro"]) == pytest.approx((6 / 9, 22 / 45))
    assert [f1[band]["micro"] for band in ("head", "body", "tail")] == pytest.approx([4 / 5, 2 / 3, 0])
    cut = json.loads(run(*example, "--json", "--min-score", "0.5"))
    assert cut["tag_f1_cut"] == {"min_score": 0.5}
    assert cut["tag_f1"]["overall"]["micro"] == pytest.approx(2 / 7)
    assert "grounding_recall" not in found


def test_the_table_leads_with_the_tail_and_fits_in_a_terminal(example: tuple[Path, Path]) -> None:
    shown = run(*example)
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["tail", "body", "head", "overall"]
    assert max(map(len, lines)) <= 100
    assert "Tail tags never among the first ten: 1 of 1 (gilt)" in shown
    assert "Gap, recall@10 of all tags minus that of the tail: +50.0 points" in shown
    assert "Tags on no image: 1" in shown
    assert "Images without a prediction of these tags: 1" in shown


def test_boxes_of_lvis_files_have_figures_of_their_own(tmp_path: Path) -> None:
    files = write(tmp_path / "lvis.json", lvis()), write(tmp_path / "results.json", results())
    found = json.loads(run(*files, "--json"))
    # vase: one of two boxes found; the bowl is a crowd, which nobody has to find
    assert found["grounding_recall"]["overall"]["0.5"]["micro"] == 0.5
    assert found["grounding_recall"]["overall"]["0.5"]["support"] == 2
    assert set(found["grounding_recall"]) == {"overall", "head", "rare"}
    # the tags that the boxes imply: the vase of image 1, of three true tags
    assert found["tag_recall"]["overall"]["1"]["micro"] == pytest.approx(1 / 3)
    assert found["tag_recall"]["rare"]["1"]["micro"] == 0.5
    assert found["tag_recall"]["frequent"]["1"]["micro"] == 0.0
    shown = run(*files)
    assert "Recall@IoU of true boxes" in shown
    assert "Federated ground truth" in shown


@pytest.mark.parametrize("seed", range(4))
def test_files_of_lvis_give_what_lvis_api_gives(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lvis import LVIS, LVISEval, LVISResults

    monkeypatch.setattr(np, "float", float, raising=False)  # lvis 0.5.3 still says np.float
    rng = np.random.default_rng(seed)

    def box() -> list[float]:
        return [*rng.integers(0, 20, 2).tolist(), *rng.integers(5, 20, 2).tolist()]

    names = range(1, 9)
    truth: dict[str, Any] = {
        "images": [
            {"id": n, "coco_url": f"http://x/{n}.jpg", "height": 60, "width": 60}
            | {
                key: rng.choice(names, 3, False).tolist()
                for key in ("neg_category_ids", "not_exhaustive_category_ids")
            }
            for n in range(1, 13)
        ],
        "categories": [{"id": n, "name": f"c{n}", "frequency": "rcf"[n % 3]} for n in names],
        "annotations": [
            {
                "id": n,
                "image_id": int(rng.integers(1, 13)),
                "category_id": int(rng.choice(names)),
                "bbox": box(),
            }
            for n in range(1, 60)
        ],
    }
    for annotation in truth["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    found = [
        {
            "image_id": int(rng.integers(1, 13)),
            "category_id": int(rng.choice(names)),
            "bbox": box(),
            "score": float(rng.choice([0.1, 0.5, 0.9])) + n / 1e6 * (n % 2),
        }
        for n in range(900)
    ]
    files = write(tmp_path / "truth.json", truth), write(tmp_path / "found.json", found)
    annotations = LVIS(str(files[0]))
    reference = LVISEval(annotations, LVISResults(annotations, str(files[1])), iou_type="bbox")
    reference.run()

    ours = evaluate_files(*files).grounding
    assert ours is not None
    recall = reference.eval["recall"][:, :, 0]  # thresholds, categories
    bands = {band: [n for n in range(8) if "rcf"[(n + 1) % 3] == band[0]] for band in LVIS_BANDS}
    for band, members in (bands | {"overall": list(range(8))}).items():
        for iou, rows in IOU_NAMES.items():
            figure = ours.figure(band, iou)
            known = recall[list(rows)][:, members]
            assert figure is not None
            assert figure.macro == pytest.approx(known[known > -1].mean(), abs=1e-9)
    for band, key in (("overall", "AP"), ("rare", "APr"), ("common", "APc"), ("frequent", "APf")):
        figure = ours.figure(band, "0.5:0.95")
        assert figure is not None
        assert figure.mean_average_precision == pytest.approx(reference.results[key], abs=1e-9)


def test_a_home_can_be_measured_against_any_ground_truth(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    truth = write(tmp_path / "truth.csv", "image,tag\na/1.jpg,bowl\na/1.jpg,vase\na/2.jpg,bowl\n")
    found = json.loads(run(truth, home.root, "--json"))
    assert found["tag_recall"]["overall"]["10"]["micro"] == pytest.approx(2 / 3)
    assert found["ignored"]["concept_rows"] == 1  # the spotlight
    assert "grounding_recall" not in found


def test_errors_are_sentences_that_name_the_row(tmp_path: Path, example: tuple[Path, Path]) -> None:
    truth, predictions = example
    wrong = write(tmp_path / "wrong.csv", "image,tag,score\nA,vase,0.9\nZ,vase,much\n")
    assert "wrong.csv: this file cannot be used: row 3, score: 'much' is no number" in fails(truth, wrong)
    assert "give one format, or two" in fails(truth, predictions, "--format", "csv,csv,csv")
    assert "has no column ImageID" in fails(truth, predictions, "--format", "openimages")
    assert "there is no format 'tfrecord'" in fails(truth, predictions, "--format", "csv,tfrecord")
    nothing = write(tmp_path / "nothing.csv", "image,tag\nA,\n")
    assert "names no tag of any image" in fails(nothing, predictions)
    assert run(truth, predictions, "--format", "csv") == run(truth, predictions)


def test_it_needs_neither_torch_nor_dagster_nor_a_home(example: tuple[Path, Path], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from vistag_assets.cli import app\n"
        f"result = CliRunner().invoke(app, ['evaluate', '--ground-truth', {str(example[0])!r}, "
        f"'--predictions', {str(example[1])!r}])\n"
        "assert result.exit_code == 0, result.output\n"
        "sys.exit(', '.join(sorted({'torch', 'dagster', 'transformers'} & set(sys.modules))) or 0)"
    )
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=empty, env={"PYTHONPATH": str(root)})
    assert list(empty.iterdir()) == []
