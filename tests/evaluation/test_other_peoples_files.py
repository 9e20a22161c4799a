"""Files as other tools write them: what is right is evaluated with a remark, what would mislead is refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_files import Row, write
from typer.testing import CliRunner

from vistag_assets.cli import app

Evaluate = Callable[..., Row]
WIDTH, HEIGHT = 640, 480


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """The JSON of `vistag evaluate` of two files; of a refusal `{"refused": what it says}`."""

    def run(
        truth: object, predictions: object, *options: str, suffix: str = "json", found_suffix: str = ""
    ) -> Row:
        names = ("truth", suffix), ("found", found_suffix or suffix)
        files = [
            write(tmp_path / f"{name}.{end}", content)
            for (name, end), content in zip(names, (truth, predictions), strict=True)
        ]
        arguments = [
            "evaluate",
            "--ground-truth",
            str(files[0]),
            "--predictions",
            str(files[1]),
            "--json",
            *options,
        ]
        result = CliRunner().invoke(app, arguments)
        if result.exit_code == 1:
            return {"refused": " ".join(result.stderr.split())}
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout))

    return run


def told(found: Row) -> str:
    return " ".join(found.get("remarks", []))


def drawn(count: int = 60, seed: int = 0, categories: int = 3) -> tuple[Row, list[Row]]:
    """COCO annotations of one box an image, and results that are those boxes."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(10, 150, (count, 2)).round(1)
    corner = (rng.random((count, 2)) * ([WIDTH, HEIGHT] - sides)).round(1)
    boxes = np.concatenate([corner, sides], axis=1).tolist()
    category = (np.arange(count) % categories + 1).tolist()
    truth: Row = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(count)
        ],
        "categories": [{"id": n + 1, "name": f"c{n}"} for n in range(categories)],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": c, "bbox": box}
            for n, (box, c) in enumerate(zip(boxes, category, strict=True))
        ],
    }
    results = [
        {"image_id": n, "category_id": c, "bbox": box, "score": 0.9 - n / 1000}
        for n, (box, c) in enumerate(zip(boxes, category, strict=True))
    ]
    return truth, results


def reshaped(results: list[Row], change: Callable[[float, float, float, float], list[float]]) -> list[Row]:
    return [{**row, "bbox": change(*row["bbox"])} for row in results]


CORNERS = lambda x, y, w, h: [x, y, x + w, y + h]  # noqa: E731
CENTRES = lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]  # noqa: E731
FRACTIONS = lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]  # noqa: E731
YOLO = lambda x, y, w, h: CENTRES(*FRACTIONS(x, y, w, h))  # noqa: E731
CORNER_FRACTIONS = lambda x, y, w, h: CORNERS(*FRACTIONS(x, y, w, h))  # noqa: E731


@pytest.mark.parametrize(
    ("change", "words", "options"),
    [
        (CORNERS, "look like corners (x1, y1, x2, y2)", ["--boxes", "xyxy"]),
        (CENTRES, "look like centres", ["--boxes", "cxcywh"]),
        (FRACTIONS, "as fractions of the image", ["--boxes", "xywh", "--relative"]),
        (
            YOLO,
            "centres (centre x, centre y, width, height) as fractions",
            ["--boxes", "cxcywh", "--relative"],
        ),
        (CORNER_FRACTIONS, "corners (x1, y1, x2, y2) as fractions", ["--boxes", "xyxy", "--relative"]),
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_boxes_that_are_meant_otherwise_are_refused_with_the_likely_reading(
    evaluate: Evaluate, change: Any, words: str, options: list[str], sized: bool
) -> None:
    truth, results = drawn()
    if not sized:
        for image in truth["images"]:
            del image["width"], image["height"]
    wrong = reshaped(results, change)
    wrong[7]["bbox"][2] += 2.5  # one box over the edge changes nothing
    refused = evaluate(truth, wrong)["refused"]
    if not sized and "--relative" in options:
        assert "as fractions of the image" in refused
        return
    assert words in refused
    assert " ".join(options) in refused
    right = evaluate(truth, wrong, *options)
    assert right["grounding_map"]["overall"]["0.5"] == pytest.approx(1, abs=0.04)
    forced = evaluate(truth, wrong, "--boxes", "xywh", "--pixels")
    assert forced["grounding_map"]["overall"]["0.5"] < 0.2


def test_corners_in_the_ground_truth_are_refused_too(evaluate: Evaluate) -> None:
    truth, results = drawn()
    for annotation in truth["annotations"]:
        annotation["bbox"] = CORNERS(*annotation["bbox"])
    assert "truth.json: its boxes look like corners" in evaluate(truth, results)["refused"]
    for image in truth["images"]:
        del image["width"], image["height"]
    assert "truth.json: its boxes look like corners" in evaluate(truth, results)["refused"]
    right = evaluate(truth, results, "--boxes", "xyxy,xywh")
    assert right["grounding_map"]["overall"]["0.5"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("shift", "words"), [((1, 1, 0, 0), "counted from 1"), ((0, 0, 1, 1), "count both ends")]
)
def test_a_shift_by_a_pixel_is_refused(evaluate: Evaluate, shift: tuple[int, ...], words: str) -> None:
    truth, results = drawn()
    moved = reshaped(results, lambda *box: [a + b for a, b in zip(box, shift, strict=True)])
    assert words in evaluate(truth, moved)["refused"]
    assert evaluate(truth, moved, "--boxes", "xywh")["grounding_map"]["overall"]["0.5"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("reading", "given"),
    [
        ("plus-one", lambda category: category - 1),
        ("minus-one", lambda category: category + 1),
        ("positions", lambda category: category // 2),
    ],
)
def test_shifted_category_ids_are_refused(
    evaluate: Evaluate, reading: str, given: Callable[[int], int]
) -> None:
    truth, results = drawn()
    # all ids are known on both sides, so that nothing but the boxes speaks against them
    truth["categories"] += [{"id": 0, "name": "ground"}, {"id": 4, "name": "sky"}]
    if reading == "positions":
        truth["categories"] = [{"id": n, "name": f"c{n}"} for n in (1, 2, 4)]
        for row in (*truth["annotations"], *results):
            row["category_id"] = 2 + 2 * (row["category_id"] == 1)
    wrong = [{**row, "category_id": given(row["category_id"])} for row in results]
    refused = evaluate(truth, wrong)["refused"]
    assert f"--category-ids {reading}" in refused
    right = evaluate(truth, wrong, "--category-ids", reading)
    assert right["grounding_map"]["overall"]["0.5"] == pytest.approx(1)
    assert evaluate(truth, wrong, "--category-ids", "as-given")["grounding_map"]["overall"]["0.5"] < 0.5


def test_unknown_ids_are_refused_with_what_they_may_be(evaluate: Evaluate) -> None:
    truth, results = drawn()
    wrong = [{**row, "category_id": row["category_id"] - 1} for row in results]
    refused = evaluate(truth, wrong)["refused"]
    assert "one less than the ids of the ground truth; if they are: --category-ids plus-one" in refused
    assert "0 is no id of the categories" in refused


@pytest.mark.parametrize("over", [1, 3, 20])
def test_a_detector_that_does_not_clip_is_evaluated(evaluate: Evaluate, over: int) -> None:
    truth, results = drawn()
    for row in results[:over]:
        row["bbox"][2] = WIDTH + 3 - row["bbox"][0] if row["bbox"][0] > WIDTH - 160 else row["bbox"][2]
    found = evaluate(truth, results)
    assert "refused" not in found
    one: Row = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 94, 94]}],
    }
    row = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 98, 95], "score": 0.9}
    assert evaluate(one, [row])["grounding_map"]["overall"]["0.5"] == pytest.approx(1)


def test_a_model_that_finds_little_is_not_taken_for_another_reading(evaluate: Evaluate) -> None:
    truth, _ = drawn()
    _, others = drawn(seed=5)
    assert "refused" not in evaluate(truth, others)


def test_true_boxes_beyond_the_image_are_as_the_references_have_them(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = drawn(12)
    for n, annotation in enumerate(truth["annotations"]):
        annotation |= {"bbox": [-34, 23.5, 147.7, 50 + n], "iscrowd": None if n else 0, "area": 7000}
    for row in results:
        row["bbox"] = [-30, 20, 150, 60]
    found = evaluate(truth, results, "--cap", "coco")
    assert "12 of 12 true boxes reach beyond their image" in told(found)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0
    truth["info"] = {}
    annotations = COCO(str(write(tmp_path / "reference.json", truth)))
    reference = COCOeval(annotations, annotations.loadRes(str(tmp_path / "found.json")), "bbox")
    for step in (reference.evaluate, reference.accumulate, reference.summarize):
        step()
    assert found["grounding_map"]["overall"]["0.5:0.95"] == pytest.approx(reference.stats[0], abs=1e-9)
    clipped = evaluate(truth, results, "--clip")
    assert clipped["grounding_map"]["overall"]["0.5:0.95"] != found["grounding_map"]["overall"]["0.5:0.95"]


@pytest.mark.parametrize("again", [1, 5])
def test_the_second_of_two_equal_results_is_wrong(evaluate: Evaluate, tmp_path: Path, again: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = drawn(9)
    found = evaluate(truth, results + results[:again], "--cap", "coco")
    assert f"{again} boxes are given again" in told(found)
    for annotation in truth["annotations"]:
        annotation |= {"iscrowd": 0, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    annotations = COCO(str(write(tmp_path / "reference.json", truth | {"info": {}})))
    reference = COCOeval(annotations, annotations.loadRes(str(tmp_path / "found.json")), "bbox")
    for step in (reference.evaluate, reference.accumulate, reference.summarize):
        step()
    assert found["grounding_map"]["overall"]["0.5:0.95"] == pytest.approx(reference.stats[0], abs=1e-9)


def test_categories_of_one_name_and_images_of_one_file_go_by_their_ids(evaluate: Evaluate) -> None:
    truth, results = drawn(9)
    truth["categories"].insert(0, {"id": 0, "name": "c0", "supercategory": "none"})
    truth["images"][1]["file_name"] = truth["images"][0]["file_name"]
    found = evaluate(truth, results)
    assert found["grounding_map"]["overall"]["0.5"] == pytest.approx(1)
    assert found["zero_support_tags"] == ["c0 (id 0)"]
    assert "the categories 0, 1 are all called 'c0'" in told(found)
    assert "1 file names are those of several images, such as '0.jpg'" in told(found)
    named = "image,tag,score\n0.jpg,c0,0.9\n"
    assert "'0.jpg' is the name of several images" in evaluate(truth, named, found_suffix="csv")["refused"]


def test_ids_that_pandas_wrote_a_byte_order_mark_and_gzip(evaluate: Evaluate, tmp_path: Path) -> None:
    truth, results = drawn(9)
    floats = json.dumps(
        [{**row, "image_id": float(row["image_id"]), "category_id": 1.0} for row in results[::3]]
    )
    found = evaluate(truth, floats)
    assert found["grounding_recall"]["overall"]["0.5"]["micro"] == pytest.approx(1 / 3)
    for image in truth["images"]:
        image["id"] = float(image["id"])
    assert "refused" not in evaluate("\ufeff" + json.dumps(truth), "\ufeff" + json.dumps(results))
    lines = "".join(
        f"\ufeff{json.dumps({'file_name': f'{n}.jpg', 'tags': ['c0']})}\n"[n > 0 :] for n in range(3)
    )
    assert "refused" not in evaluate(lines, lines, suffix="jsonl")
    packed = tmp_path / "truth.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(truth).encode()))
    arguments = [
        "evaluate",
        "--ground-truth",
        str(packed),
        "--predictions",
        str(tmp_path / "found.json"),
        "--json",
    ]
    write(tmp_path / "found.json", results)
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_masks_and_polygons_stand_for_boxes(evaluate: Evaluate) -> None:
    from pycocotools import mask as coco

    truth, results = drawn(6)
    for annotation, row in zip(truth["annotations"], results, strict=True):
        x, y, w, h = (round(value) for value in annotation.pop("bbox"))
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        pixels[y : y + h, x : x + w] = 1
        rle = coco.encode(pixels)
        row["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        del row["bbox"]
    found = evaluate(truth, results)
    assert found["grounding_map"]["overall"]["0.75"] == pytest.approx(1)
    assert "6 results have a mask and no box" in told(found)


@pytest.mark.parametrize(
    ("truth", "predictions"),
    [
        (
            "image,tag\nA.jpg,vase\nA.jpg,lyre\nimage,tag\nB.jpg,vase\n",
            "image,tag,score\nA.jpg,vase,1\nA.jpg,lyre,1\nB.jpg,vase,1\n",
        ),
        (
            "image,tag\nA.jpg,vase\nB.jpg,vase\n",
            "image,tag,score\nA.jpg,vase,1\nimage,tag,score\nB.jpg,vase,1\n",
        ),
        (
            "ImageID,Source,LabelName,Confidence\na,v,/m/1,1\nImageID,Source,LabelName,Confidence\nb,v,/m/1,1\n",
            "ImageID,LabelName,Confidence\na,/m/1,0.4\nb,/m/1,0.4\n",
        ),
    ],
)
def test_a_header_in_the_middle_is_left_out_and_told(
    evaluate: Evaluate, truth: str, predictions: str
) -> None:
    found = evaluate(truth, predictions, suffix="csv")
    assert found["tag_recall"]["overall"]["10"]["micro"] == 1
    assert "repeats the header; left out" in told(found)


@pytest.mark.parametrize(
    ("truth", "predictions", "named", "recall"),
    [
        ("A,vase \nA,lyre\nB,vase\n", "A,vase,0.9\nA,lyre,0.4\nB,vase,0.8\n", "'vase ' and 'vase'", 2 / 3),
        ("A,Vase\nA,lyre\nB,Vase\n", "A,vase,0.9\nA,lyre,0.4\nB,vase,0.8\n", "'vase' and 'Vase'", 1 / 3),
        ("A,é\nA,lyre\n", "A,e\u0301,0.9\nA,lyre,0.4\n", "'e\u0301' and 'é'", 1 / 2),
    ],
)
def test_nearly_equal_names_are_named_and_can_be_made_one(
    evaluate: Evaluate, truth: str, predictions: str, named: str, recall: float
) -> None:
    files = f"image,tag\n{truth}", f"image,tag,score\n{predictions}"
    found = evaluate(*files, suffix="csv")
    assert named in told(found)
    assert found["tag_recall"]["overall"]["10"]["micro"] == pytest.approx(recall)
    one = evaluate(*files, "--normalise-names", suffix="csv")
    assert one["tag_recall"]["overall"]["10"]["micro"] == 1
    assert "nearly equal" not in told(one)


def test_nearly_equal_names_of_images_are_named(evaluate: Evaluate) -> None:
    files = "image,tag\nBüste.jpg,vase\n", "image,tag,score\nbu\u0308ste.jpg,vase,1\n"
    assert "nearly equal names" in evaluate(*files, suffix="csv")["refused"]
    assert evaluate(*files, "--normalise-names", suffix="csv")["tag_recall"]["overall"]["10"]["micro"] == 1


@pytest.mark.parametrize(
    ("truth", "predictions"),
    [
        ("image,tag\nA,vase\n", "image,tag,score,score\nA,vase,0.1,0.9\n"),
        ("image,tag,Tag\nA,vase,lyre\n", "image,tag,score\nA,vase,0.1\n"),
        (
            "ImageID,LabelName,Confidence\nA,/m/1,1\n",
            "ImageID,LabelName,Confidence,LabelName\nA,/m/1,0.1,/m/2\n",
        ),
    ],
)
def test_a_column_that_is_given_twice_is_refused(evaluate: Evaluate, truth: str, predictions: str) -> None:
    assert (
        "more than once; keep the one that is meant" in evaluate(truth, predictions, suffix="csv")["refused"]
    )


@pytest.mark.parametrize(
    ("predictions", "row"),
    [
        ("image,tag,score\n\n\nA,vase,0.9\nA,lyre,bad\n", 5),
        ("\n\nimage,tag,score\nA,vase,0.9\n\r\nA,lyre,bad\n", 6),
        ('image,tag,score\n"A","va\nse",0.9\n\nA,lyre,bad\n', 4),
        ("image;tag;score\nA;vase;0,9\n  \nA;lyre;bad\n", 4),
        ("image,tag,score\n,,\nA,vase,0.9\nA,lyre,bad\n", 4),
    ],
)
def test_rows_are_numbered_as_a_spreadsheet_does(evaluate: Evaluate, predictions: str, row: int) -> None:
    refused = evaluate("image,tag\nA,vase\nA,lyre\n", predictions, suffix="csv")["refused"]
    assert f"row {row}, score: 'bad' is no number" in refused


@pytest.mark.parametrize(("bottles", "left_out"), [(380, 100), (330, 50)])
def test_boxes_over_the_cap_are_told(evaluate: Evaluate, bottles: int, left_out: int) -> None:
    count = bottles + 20
    boxes = [[100 * (n % 20), 100 * (n // 20), 80, 80] for n in range(count)]
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 2000, "height": 2100}],
        "categories": [{"id": 1, "name": "bottle"}, {"id": 2, "name": "rare_can"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1 + (n >= bottles), "bbox": box}
            for n, box in enumerate(boxes)
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1 + (n >= bottles), "bbox": box, "score": 0.9 - n / 1000}
        for n, box in enumerate(boxes)
    ]
    found = evaluate(truth, results)
    assert (
        f"Boxes beyond the best 300 of an image: {left_out}; left out, though an image has {count} true"
        in told(found)
    )
    whole = evaluate(truth, results, "--cap", "500")
    assert whole["grounding_recall"]["overall"]["0.5"]["micro"] == 1
    assert "beyond the best" not in told(whole)
    assert "100 of each tag of an image" in told(evaluate(truth, results, "--cap", "coco"))
    assert "give lvis, coco or a number" in evaluate(truth, results, "--cap", "many")["refused"]


@pytest.mark.parametrize(("negatives", "floor"), [("", 4 / 9), ("D,\nE,\nF,\n", 2 / 9)])
def test_the_floor_of_map_stands_beside_that_of_no_predictions(
    evaluate: Evaluate, negatives: str, floor: float
) -> None:
    truth = f"image,tag\nA,vase\nA,lyre\nB,vase\nC,bowl\n{negatives}"
    found = evaluate(truth, "image,tag,score\n", suffix="csv")
    assert found["tag_map"]["overall"] == pytest.approx(floor)
    assert found["tag_map_floor"]["overall"] == pytest.approx(floor)
    assert f"Nothing is predicted: mAP {floor:.3f} is what" in told(found)
