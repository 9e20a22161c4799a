"""Ground truth in which not everything was looked for: OpenImages' verified labels, LVIS."""

import json
from pathlib import Path

import numpy as np
import pytest
from annotation_files import Row, write
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from vistag_assets.cli import app

LABELS = "ImageID,Source,LabelName,Confidence\n"
SCORES = "ImageID,LabelName,Confidence\n"
BOXES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
FOUND = "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax\n"


def evaluate(truth: Path, predictions: Path, *options: str) -> Row:
    arguments = [
        "evaluate",
        "--ground-truth",
        str(truth),
        "--predictions",
        str(predictions),
        "--json",
        *options,
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_images_in_which_a_class_was_not_verified_do_not_count(tmp_path: Path) -> None:
    truth = write(
        tmp_path / "t.csv",
        f"{LABELS}i1,verification,cat,1\ni1,verification,dog,0\ni2,verification,dog,1\ni3,verification,cat,0\n",
    )
    scores = write(
        tmp_path / "p.csv", f"{SCORES}i1,cat,0.6\ni1,dog,0.5\ni2,dog,0.9\ni2,cat,0.95\ni3,cat,0.7\n"
    )
    found = evaluate(truth, scores)
    assert found["federated"]
    assert found["tag_map"]["overall"] == pytest.approx((1 / 2 + 1) / 2)  # cat 1/2, dog 1
    assert found["tag_map_plain"]["overall"] == pytest.approx((1 / 3 + 1) / 2)
    # cat: of i1 and i3 both predicted, one right: 2/3; dog: i1 and i2, one right: 2/3
    assert found["tag_f1"]["overall"]["micro"] == pytest.approx(2 / 3)
    assert found["tag_f1_plain"]["overall"]["micro"] == pytest.approx(4 / 7)
    assert "Federated ground truth" in " ".join(found["remarks"])


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_scikit_learn_over_the_verified_images(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images, classes = 40, ["a", "b", "c", "d", "e"]
    verified = rng.random((images, len(classes))) < 0.3
    present = verified & (rng.random(verified.shape) < 0.5)
    present[0] = verified[0] = True
    score = rng.random(verified.shape).round(3)
    pairs = [(i, c) for i in range(images) for c in range(len(classes))]
    truth = "".join(f"i{i},v,{classes[c]},{int(present[i, c])}\n" for i, c in pairs if verified[i, c])
    found = "".join(f"i{i},{classes[c]},{score[i, c]}\n" for i, c in pairs if verified[i].any())
    got = evaluate(write(tmp_path / "t.csv", LABELS + truth), write(tmp_path / "p.csv", SCORES + found))
    wanted = [
        average_precision_score(present[verified[:, c], c], score[verified[:, c], c])
        for c in range(len(classes))
    ]
    assert got["tag_map"]["overall"] == pytest.approx(np.mean(wanted))


def test_image_labels_beside_boxes(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.csv", f"{BOXES}i1,x,cat,1,0.1,0.5,0.1,0.5,0\ni2,x,dog,1,0.2,0.8,0.2,0.8,0\n")
    rows = "i1,cat,0.6,0.1,0.5,0.1,0.5\ni2,cat,0.9,0.3,0.5,0.3,0.5\ni2,dog,0.8,0.2,0.8,0.2,0.8\n"
    found = write(tmp_path / "p.csv", FOUND + rows)
    plain = evaluate(truth, found)
    assert plain["grounding_map"]["overall"]["0.5"] == pytest.approx(0.75)
    assert "--image-labels FILE" in " ".join(plain["remarks"])
    labels = write(tmp_path / "l.csv", f"{LABELS}i1,v,cat,1\ni2,v,dog,1\ni1,v,dog,0\n")
    federated = evaluate(truth, found, "--image-labels", str(labels))
    assert federated["grounding_map"]["overall"]["0.5"] == pytest.approx(1)
    assert federated["tag_map"]["overall"] == pytest.approx(1)
    # verified to be absent: the same box is wrong
    against = write(tmp_path / "a.csv", f"{LABELS}i1,v,cat,1\ni2,v,cat,0\ni2,v,dog,1\n")
    assert evaluate(truth, found, "--image-labels", str(against))["grounding_map"]["overall"][
        "0.5"
    ] == pytest.approx(0.75)


def test_images_without_boxes_can_be_listed_and_what_is_found_there_is_wrong(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.csv", f"{BOXES}i1,x,cat,1,0.1,0.5,0.1,0.5,0\ni2,x,dog,1,0.2,0.8,0.2,0.8,0\n")
    rows = "i1,cat,0.6,0.1,0.5,0.1,0.5\ni2,dog,0.8,0.2,0.8,0.2,0.8\ni3,cat,0.7,0.1,0.2,0.1,0.2\n"
    found = write(tmp_path / "p.csv", FOUND + rows)
    bare = evaluate(truth, found)
    assert bare["images"] == 3
    assert bare["grounding_map"]["overall"]["0.5"] == pytest.approx(0.75)
    assert "1 others that predictions are about are evaluated as images without any" in " ".join(
        bare["remarks"]
    )
    for name, listed in (
        ("images.txt", "i1\ni2\ni3\n"),
        ("images.csv", "ImageID,Subset\ni1,v\ni2,v\ni3,v\n"),
    ):
        given = evaluate(truth, found, "--images", str(write(tmp_path / name, listed)))
        assert (given["images"], given["grounding_map"]["overall"]["0.5"]) == (3, pytest.approx(0.75))
    fewer = evaluate(truth, found, "--images", str(write(tmp_path / "two.txt", "i1\ni2\n")))
    assert (fewer["images"], fewer["grounding_map"]["overall"]["0.5"]) == (2, pytest.approx(1))
    assert fewer["ignored"]["image_rows"] == 1
    labels = write(tmp_path / "l.csv", f"{LABELS}i1,v,cat,1\ni2,v,dog,1\ni3,v,cat,0\n")
    assert evaluate(truth, found, "--image-labels", str(labels))["grounding_map"]["overall"][
        "0.5"
    ] == pytest.approx(0.75)


def test_a_box_with_confidence_0_is_none(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.csv", f"{BOXES}i1,x,cat,1,0.1,0.5,0.1,0.5,0\ni2,x,dog,0,0.2,0.8,0.2,0.8,0\n")
    found = write(tmp_path / "p.csv", f"{FOUND}i1,cat,0.6,0.1,0.5,0.1,0.5\ni2,dog,0.8,0.2,0.8,0.2,0.8\n")
    got = evaluate(truth, found)
    assert got["zero_support_tags"] == ["dog"]
    assert got["grounding_recall"]["overall"]["0.5"]["support"] == 1
    assert "1 boxes with Confidence 0 are no boxes" in " ".join(got["remarks"])


def test_classes_are_expanded_along_the_hierarchy(tmp_path: Path) -> None:
    animal = {"LabelName": "animal", "Subcategory": [{"LabelName": "cat"}, {"LabelName": "dog"}]}
    tree = {"LabelName": "root", "Subcategory": [animal]}
    hierarchy = write(tmp_path / "h.json", tree)
    truth = write(tmp_path / "t.csv", f"{BOXES}i1,x,cat,1,0.1,0.5,0.1,0.5,0\ni2,x,dog,1,0.2,0.8,0.2,0.8,0\n")
    labels = write(tmp_path / "l.csv", f"{LABELS}i1,v,cat,1\ni2,v,dog,1\ni3,v,animal,0\n")
    rows = "i1,animal,0.6,0.1,0.5,0.1,0.5\ni2,animal,0.9,0.2,0.8,0.2,0.8\ni3,cat,0.95,0.1,0.5,0.1,0.5\ni1,cat,0.5,0.1,0.5,0.1,0.5\n"
    got = evaluate(
        truth,
        write(tmp_path / "p.csv", FOUND + rows),
        "--image-labels",
        str(labels),
        "--hierarchy",
        str(hierarchy),
    )
    # animal is found twice; cat was implied to be absent on i3; dog was never predicted
    assert got["grounding_recall"]["overall"]["0.5"]["support"] == 4
    assert got["grounding_recall"]["overall"]["0.5"]["micro"] == pytest.approx(3 / 4)
    assert got["grounding_map"]["overall"]["0.5"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_recall_among_what_was_looked_for_stands_beside_the_plain_one(tmp_path: Path) -> None:
    names = range(1, 13)
    truth = {
        "images": [{"id": 1, "coco_url": "x/1.jpg", "width": 100, "height": 100, "neg_category_ids": [12]}],
        "categories": [{"id": n, "name": f"c{n:02}", "frequency": "f"} for n in names],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 11, "bbox": [10, 10, 50, 50]}],
    }
    results = [
        {"image_id": 1, "category_id": n, "bbox": [10, 10, 50, 50], "score": 0.95 - n / 20} for n in names
    ]
    files = write(tmp_path / "t.json", truth), write(tmp_path / "p.json", results)
    got = evaluate(*files)
    assert got["tag_recall"]["overall"]["10"]["micro"] == 0
    assert got["tag_recall_looked_for"]["overall"]["1"]["micro"] == 1
    shown = (
        CliRunner()
        .invoke(
            app,
            ["evaluate", "--ground-truth", str(files[0]), "--predictions", str(files[1])],
            env={"COLUMNS": "200"},
        )
        .stdout
    )
    assert "among the tags that were looked for: overall 1.000" in shown


def test_a_group_is_found_once_by_the_rule_of_the_challenge(tmp_path: Path) -> None:
    group = f"{BOXES}i1,x,cat,1,0,0.5,0,0.5,1\ni1,x,cat,1,0.6,0.9,0.6,0.9,0\ni2,x,cat,1,0,1,0,1,1\n"
    truth = write(tmp_path / "t.csv", group)
    inside = "i1,cat,0.9,0.1,0.2,0.1,0.2\ni1,cat,0.8,0.3,0.4,0.3,0.4\n"
    rows = f"{inside}i1,cat,0.7,0.6,0.9,0.6,0.9\ni1,cat,0.6,0.6,0.7,0.1,0.2\n"
    found = write(tmp_path / "p.csv", FOUND + rows)
    ignored = evaluate(truth, found)["grounding_recall"]["overall"]["0.5"]
    assert (ignored["support"], ignored["micro"]) == (1, 1)
    once = evaluate(truth, found, "--groups", "once")
    recall = once["grounding_recall"]["overall"]["0.5"]
    # of two groups one is found, by the better of the two boxes in it; the other of them is not wrong
    assert (recall["support"], recall["micro"]) == (3, pytest.approx(2 / 3))
    assert once["grounding_map"]["overall"]["0.5"] == pytest.approx(67 / 101, abs=1e-9)
