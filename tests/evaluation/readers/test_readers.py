"""Files of the field's formats: what is read, and what a wrong one is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from annotation_files import Row, lvis, results, write
from hand_made_lake import make_home

from evaluation.readers import UnusableFile, align, read_predictions, read_truth

TRUTH_CSV = "image,tag\na,vase\na,gilt\nb,vase\nc,\n,bowl\n"


@pytest.fixture
def said(tmp_path: Path) -> Callable[..., str]:
    """What is said when predictions are aligned with a ground truth; the files are called truth and found."""

    def say(truth: object, predictions: object, suffix: str = "json", found_suffix: str = "") -> str:
        with pytest.raises(UnusableFile) as refusal:
            align(
                read_truth(write(tmp_path / f"truth.{suffix}", truth)),
                read_predictions(write(tmp_path / f"found.{found_suffix or suffix}", predictions)),
            )
        return str(refusal.value)

    return say


def test_lvis_annotations(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "lvis.json", lvis()))
    assert truth.images.to_pylist()[1] == {
        "id": "2",
        "name": "000000000002.jpg",
        "width": 100.0,
        "height": 80.0,
    }
    assert truth.concepts.to_pylist() == [
        {"id": "7", "concept_id": "vase", "lvis_band": "rare"},
        {"id": "8", "concept_id": "bowl", "lvis_band": "frequent"},
    ]
    assert truth.tags.to_pylist() == [
        {"id": "1", "concept_id": "bowl"},
        {"id": "1", "concept_id": "vase"},
        {"id": "2", "concept_id": "vase"},
    ]
    assert truth.boxes is not None
    assert truth.boxes["crowd"].to_pylist() == [False, True, False]
    assert truth.boxes["bbox"][1].as_py() == [50, 40, 40, 30]
    assert truth.negatives is not None
    assert truth.negatives.to_pylist() == [{"id": "2", "concept_id": "bowl"}]
    assert truth.not_exhaustive is not None
    assert truth.not_exhaustive.to_pylist() == [{"id": "1", "concept_id": "vase"}]


def test_coco_has_no_negatives(tmp_path: Path) -> None:
    document = lvis()
    for image in document["images"]:
        image["file_name"] = f"{image['id']}.jpg"
        del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    truth = read_truth(write(tmp_path / "coco.json", document))
    assert (truth.negatives, truth.not_exhaustive) == (None, None)
    assert truth.images["name"].to_pylist() == ["1.jpg", "2.jpg"]


def test_results_are_boxes_and_imply_tags(tmp_path: Path) -> None:
    aligned = align(
        read_truth(write(tmp_path / "lvis.json", lvis())),
        read_predictions(write(tmp_path / "results.json", results())),
    )
    assert aligned.boxes is not None
    assert aligned.boxes.num_rows == 3
    assert aligned.boxes["region_id"].to_pylist() == sorted(aligned.boxes["region_id"].to_pylist())
    assert sorted(map(tuple, (row.values() for row in aligned.tags.to_pylist()))) == [
        ("1", "vase", 0.9),
        ("2", "bowl", 0.5),
    ]


def test_an_empty_list_of_results_finds_nothing(tmp_path: Path) -> None:
    aligned = align(
        read_truth(write(tmp_path / "lvis.json", lvis())), read_predictions(write(tmp_path / "r.json", []))
    )
    assert aligned.boxes is not None
    assert (aligned.tags.num_rows, aligned.boxes.num_rows) == (0, 0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image_id", 3, "[1].image_id: 3 is no image id of"),
        ("image_id", "1", '[1].image_id: "1" is no image id of'),
        ("category_id", 9, "[1].category_id: 9 is no id of the categories"),
        ("score", "high", '[1].score: "high" is no number'),
        ("score", float("nan"), "[1].score: 'NaN' is no number"),
        ("score", None, "[1].score: is missing"),
        ("bbox", [1, 2, float("nan"), 4], "[1].bbox: [1.0, 2.0, nan, 4.0] holds what is no number"),
        ("bbox", [1, 2, -3, 4], "[1].bbox: [1.0, 2.0, -3.0, 4.0] has a negative side"),
        ("bbox", [1, 2, 3], "[1].bbox: [1,2,3] is not a list of four numbers"),
        ("bbox", [1, 2, 3, "wide"], "[1].bbox: [1.0, 2.0, 3.0, nan] holds what is no number"),
    ],
)
def test_a_wrong_result_is_named_by_row_and_field(
    said: Callable[..., str], field: str, value: object, message: str
) -> None:
    found = results()
    found[1][field] = value
    told = said(lvis(), found)
    assert "found.json" in told
    assert message in told, told


def test_a_missing_key_is_named(said: Callable[..., str]) -> None:
    found = results()
    del found[2]["category_id"]
    assert "[2].category_id: is missing" in said(lvis(), found)


def test_the_first_wrong_rows_are_listed_and_the_others_counted(said: Callable[..., str]) -> None:
    found = [dict(results()[0], image_id=n) for n in range(100, 130)]
    told = said(lvis(), found)
    assert "[0].image_id" in told
    assert "[19].image_id" in told
    assert "[20].image_id" not in told
    assert "and 10 more" in told


def test_corners_given_as_sides_are_recognised(said: Callable[..., str], tmp_path: Path) -> None:
    corners = [
        {"image_id": 1, "category_id": 7, "bbox": [60, 40, 90, 70], "score": 0.9},
        {"image_id": 2, "category_id": 7, "bbox": [5, 5, 30, 30], "score": 0.8},
    ]
    told = said(lvis(), corners)
    assert "look like corners (x1, y1, x2, y2)" in told
    assert "1 of 2 would reach beyond their image" in told
    assert "If they are: --boxes xyxy; if not, say so: --boxes xywh" in told
    # a detector that does not clip its boxes is not taken for one that gives corners
    unclipped = [dict(corners[0], bbox=[60, 40, 50, 70]), *results()]
    aligned = align(read_truth(tmp_path / "truth.json"), read_predictions(write(tmp_path / "u", unclipped)))
    assert aligned.boxes is not None
    assert aligned.boxes.num_rows == 4


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images", 0, "neg_category_ids"), [5], "images[0].neg_category_ids: 5 is no id of categories"),
        (("annotations", 2, "category_id"), 5, "annotations[2].category_id: 5 is no id of categories"),
        (("annotations", 2, "bbox"), [1, 1, -1, 1], "annotations[2].bbox[2]: Input should be greater than"),
        (("categories", 0, "frequency"), "rare", "categories[0].frequency: Input should be 'r', 'c' or 'f'"),
    ],
)
def test_a_wrong_annotation_is_named(
    said: Callable[..., str], path: tuple[str, int, str], value: object, message: str
) -> None:
    document = lvis()
    document[path[0]][path[1]][path[2]] = value
    assert message in said(document, results())


def test_files_that_are_swapped_or_of_no_format_are_told(said: Callable[..., str], tmp_path: Path) -> None:
    assert "is a JSON list, as results are" in said(results(), lvis())
    assert "these are no COCO results" in said(lvis(), lvis())
    assert "Are the two files swapped?" in said("image,tag,score\na,vase,1\n", TRUTH_CSV, "csv")
    with pytest.raises(UnusableFile, match=r"looks like none of the formats(.|\n)*csv: CSV with the header"):
        read_truth(write(tmp_path / "notes.txt", "a vase"))
    with pytest.raises(UnusableFile, match=r"absent\.csv: cannot be read"):
        read_truth(tmp_path / "absent.csv")
    with pytest.raises(
        UnusableFile, match="no format 'tfrecord'; give one of imagefolder, lake, label-studio"
    ):
        read_truth(tmp_path / "notes.txt", "tfrecord")


def test_plain_csv(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "truth.csv", TRUTH_CSV))
    assert truth.images["id"].to_pylist() == ["a", "b", "c"]
    assert truth.concepts["concept_id"].to_pylist() == ["bowl", "gilt", "vase"]
    assert truth.tags.num_rows == 3
    found = 'tag,score,image\nvase,0.5,a\n"vase",1e-3,b\nsword,1,b\n'
    aligned = align(truth, read_predictions(write(tmp_path / "found.csv", found)))
    assert aligned.tags.to_pylist() == [
        {"id": "a", "concept_id": "vase", "score": 0.5},
        {"id": "b", "concept_id": "vase", "score": 0.001},
    ]
    assert aligned.unknown_concept_rows == 1
    bare = read_predictions(write(tmp_path / "bare.csv", "image,tag\na,vase\n"))
    assert bare.tags is not None
    assert bare.tags.table["score"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ("image,tag,score\na,vase,0.5\na,gilt,high\n", "row 3, score: 'high' is no number"),
        ("image,tag,score\na,vase,\n", "row 2, score: '' is no number"),
        ("image,tag,score\na,vase,nan\n", "row 2, score: 'nan' is no number"),
        (
            "image,tag,score\na,vase,0.5\na,gilt,0\na,vase,0.7\n",
            "row 4, tag: the prediction of row 2 is given",
        ),
        ("image,tag,score\nz,vase,0.5\n", "row 2, image: 'z' is no image name of"),
        ("image,tag,score\na,,0.5\n", "row 2, tag: is empty"),
        ("image,tag,score\na,sword,1\n", "none of its tags, such as sword, is among the 3 of"),
        ("image,tag,score\na,vase,0.5,7\n", "cannot be read as CSV"),
    ],
)
def test_a_wrong_row_of_a_csv_is_named(said: Callable[..., str], predictions: str, message: str) -> None:
    told = said(TRUTH_CSV, predictions, "csv")
    assert message in told
    assert "found.csv" in told


def test_openimages_labels_and_boxes(tmp_path: Path) -> None:
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/1,1\na,verification,/m/2,0\nb,v,/m/1,0\n"
    truth = read_truth(write(tmp_path / "labels.csv", labels))
    assert truth.tags.to_pylist() == [{"id": "a", "concept_id": "/m/1"}]
    assert truth.images["id"].to_pylist() == ["a", "b"]
    assert truth.concepts["concept_id"].to_pylist() == ["/m/1", "/m/2"]
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"
    boxes = read_truth(
        write(tmp_path / "b.csv", f"{header}a,x,/m/1,1,0.25,0.75,0,0.5,0,0,0\na,x,/m/1,1,0,1,0,1,0,0,1\n")
    )
    assert boxes.relative_boxes
    assert boxes.boxes is not None
    assert boxes.boxes["bbox"].to_pylist() == [[0.25, 0, 0.5, 0.5], [0, 0, 1, 1]]
    assert boxes.boxes["crowd"].to_pylist() == [False, True]
    found = read_predictions(write(tmp_path / "f.csv", f"{header}a,x,/m/1,0.7,0.25,0.75,0,0.5,0,0,0\n"))
    aligned = align(boxes, found)
    assert aligned.tags.to_pylist() == [{"id": "a", "concept_id": "/m/1", "score": 0.7}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,x,/m/1,0.5,0,1,0,1", "row 2, Confidence: 0.5 is neither 1 (present) nor 0"),
        (
            "a,x,/m/1,1,0.9,0.1,0,1",
            "row 2, XMin, XMax, YMin, YMax: [0.9, 0.0, -0.8, 1.0] has a negative side",
        ),
        ("a,x,/m/1,1,10,200,0,1", "are no fractions of the image; divide pixels"),
        ("a,x,/m/1,1,left,1,0,1", "row 2, XMin: 'left' is no number"),
    ],
)
def test_a_wrong_row_of_openimages_is_named(said: Callable[..., str], row: str, message: str) -> None:
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n"
    assert message in said(f"{header}{row}\n", f"{header}{row}\n", "csv")


def test_openimages_lacking_an_edge_is_told(said: Callable[..., str]) -> None:
    truth = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin\na,x,/m/1,1,0,1,0\n"
    assert "but no column YMax" in said(truth, truth, "csv")


def test_imagefolder(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    lines = [
        {"file_name": "a.png", "tags": ["vase", "gilt"]},
        {"file_name": "b.png", "objects": {"bbox": [[302.0, 109.0, 73.0, 52.0]], "categories": [0]}},
        {"file_name": "c.png", "text": "nothing"},
    ]
    write(folder / "metadata.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    truth = read_truth(folder)
    assert truth.images["id"].to_pylist() == ["a.png", "b.png", "c.png"]
    assert sorted(truth.tags["concept_id"].to_pylist()) == ["0", "gilt", "vase"]
    assert truth.boxes is not None
    assert truth.boxes["bbox"].to_pylist() == [[302, 109, 73, 52]]
    objects = {"bbox": [[300, 109, 73, 52], [0, 0, 9, 9]], "category": [0, 0], "scores": [0.3, 0.8]}
    found = [
        {"file_name": "b.png", "objects": objects, "tags": ["0", "vase"], "scores": [0.9, 0.1]},
    ]
    aligned = align(truth, read_predictions(write(tmp_path / "f.jsonl", "\n".join(map(json.dumps, found)))))
    assert aligned.boxes is not None
    assert aligned.boxes["score"].to_pylist() == [0.3, 0.8]
    assert sorted(aligned.tags["score"].to_pylist()) == [0.1, 0.9]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"tags": ["vase"]}, "line 2, file_name: Field required"),
        (
            {"file_name": "b", "tags": ["vase"], "scores": ["high"]},
            "line 2, scores[0]: Input should be a valid number",
        ),
        ({"file_name": "b", "tags": ["vase"], "scores": [1, 2]}, "line 2, scores: there are 2 for 1 tags"),
        ({"file_name": "a", "tags": ["vase"]}, "line 2, file_name: 'a' is already in line 1"),
        ({"file_name": "z", "tags": ["vase"]}, "line 2, file_name: 'z' is no image name"),
        (
            {"file_name": "b", "tags": ["vase", "vase"], "scores": [0.2, 0.3]},
            "line 2, tags: the prediction of line 2 is given again with another score; keep one",
        ),
        (
            {"file_name": "b", "objects": {"bbox": [[1, 2, -3, 4]], "categories": ["vase"]}},
            "line 2, objects.bbox[0][2]: Input should be greater than or equal to 0",
        ),
        (
            {"file_name": "b", "objects": {"bbox": [[1, 2, 3, 4]], "categories": []}},
            "line 2, objects.categories: there are 0 for 1 boxes",
        ),
    ],
)
def test_a_wrong_line_of_an_imagefolder_is_named(said: Callable[..., str], line: Row, message: str) -> None:
    lines = [{"file_name": "a", "tags": ["vase"]}, line]
    told = said(TRUTH_CSV, "\n".join(map(json.dumps, lines)), "csv", "jsonl")
    assert message in told, told


def test_a_home_and_its_lake_are_predictions_by_file_name(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    truth = read_truth(home.ground_truth_path)
    aligned = align(truth, read_predictions(home.root))
    other = align(truth, read_predictions(home.root / "lake"))
    assert aligned.tags.equals(other.tags)
    assert {(row["id"], row["concept_id"], row["score"]) for row in aligned.tags.to_pylist()} == {
        ("1", "bowl", 0.9),
        ("1", "vase", 0.8),
        ("1", "spotlight", 0.7),
        ("2", "vase", 0.6),  # a person rejected the bowl
    }
    assert aligned.boxes is not None
    assert truth.boxes is not None
    # relative boxes become pixels of the annotated image
    assert aligned.boxes["bbox"][0].as_py() == pytest.approx([80, 120, 160, 120])
    assert truth.boxes["bbox"][0].as_py() == [80, 120, 160, 120]


def test_boxes_in_two_units_need_the_size_of_the_image(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    document = json.loads(home.ground_truth_path.read_text())
    for image in document["images"]:
        del image["width"], image["height"]
    for annotation in document["annotations"]:
        del annotation["segmentation"]
    truth = read_truth(write(tmp_path / "unsized.json", document))
    with pytest.raises(UnusableFile, match="does not say how large"):
        align(truth, read_predictions(home.root))


def test_a_folder_without_a_lake_and_a_lake_as_truth_are_told(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    with pytest.raises(UnusableFile, match="holds predictions, no ground truth"):
        read_truth(home.root)
    with pytest.raises(UnusableFile, match="looks like none of the formats"):
        read_predictions(tmp_path)
    with pytest.raises(UnusableFile, match="holds no tags"):
        read_predictions(tmp_path, "lake")


def test_many_results_keep_their_order_and_their_types(tmp_path: Path) -> None:
    found = [dict(results()[0], score=n / 20_000) for n in range(20_000)]
    rows = read_predictions(write(tmp_path / "many.json", found)).boxes
    assert rows is not None
    assert rows.table["score"].to_pylist() == [row["score"] for row in found]
    assert rows.table["row"].to_pylist() == list(range(20_000))
    assert rows.table.schema.field("bbox").type == pa.list_(pa.float64())
