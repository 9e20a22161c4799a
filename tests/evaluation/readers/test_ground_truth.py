import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.readers.ground_truth import read_ground_truth
from evaluation.readers.tables import UnusableFile


def document() -> dict[str, Any]:
    return {
        "info": {"description": "two photographs"},
        "images": [
            {"id": 1, "file_name": "a/büste.jpg", "width": 640, "height": 480},
            {"id": 2, "file_name": "a/empty.jpg"},
        ],
        "categories": [
            {"id": 7, "name": "bust", "concept_id": "object/bust", "frequency": "r", "image_count": 1},
            {"id": 8, "name": "raking light"},
            {"id": 9, "name": "spinet"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 20, 100.5, 200], "area": 20100},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [300, 20, 100, 200]},
        ],
        "image_tags": [{"image_id": 1, "category_id": 8}],
    }


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_regions_and_image_tags_become_one_row_a_tag(tmp_path: Path) -> None:
    ground_truth = read_ground_truth(written(tmp_path, document()))
    assert ground_truth.truth.to_pylist() == [
        {"file_name": "a/büste.jpg", "concept_id": "object/bust"},
        {"file_name": "a/büste.jpg", "concept_id": "raking light"},
    ]
    assert ground_truth.concepts["concept_id"].to_pylist() == ["object/bust", "raking light", "spinet"]
    assert ground_truth.images["file_name"].to_pylist() == ["a/büste.jpg", "a/empty.jpg"]


def test_a_document_without_tags_keeps_the_types_of_its_columns(tmp_path: Path) -> None:
    ground_truth = read_ground_truth(written(tmp_path, {"images": [], "categories": [], "annotations": []}))
    assert [str(kind) for kind in ground_truth.truth.schema.types] == ["string", "string"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("annotations", 0, "category_id"), 99, r"annotations\[0\]\.category_id: 99 is no id of categories"),
        (("annotations", 1, "image_id"), 99, r"annotations\[1\]\.image_id: 99 is no id of images"),
        (("image_tags", 0, "category_id"), "8", r"image_tags\[0\]\.category_id: '8' is no id of categories"),
        (
            ("annotations", 0, "bbox"),
            [10, 20, -5, 9],
            r"annotations\[0\]\.bbox\[2\].*greater than or equal to 0",
        ),
        (("annotations", 0, "bbox"), [10, 20, float("nan"), 9], r"annotations\[0\]\.bbox\[2\]"),
        (("annotations", 0, "bbox"), [10, 20, 5], r"annotations\[0\]\.bbox\[3\]"),
        (("images", 1, "id"), 1, r"images\.id: 1 is given 2 times"),
        (("images", 0, "id"), 1.5, r"images\[0\]\.id: .*found 1.5"),
        (("categories", 1, "name"), None, r"categories\[1\]: has neither"),
    ],
)
def test_an_error_names_file_entry_and_field(
    tmp_path: Path, path: tuple[str, int, str], value: object, message: str
) -> None:
    table, entry, field = path
    content = document()
    content[table][entry][field] = value
    with pytest.raises(UnusableFile, match=rf"truth\.json(.|\n)*{message}"):
        read_ground_truth(written(tmp_path, content))


@pytest.mark.parametrize(
    ("table", "field"), [("annotations", "bbox"), ("annotations", "image_id"), ("images", "file_name")]
)
def test_a_missing_key_is_named(tmp_path: Path, table: str, field: str) -> None:
    content = document()
    del content[table][0][field]
    with pytest.raises(UnusableFile, match=rf"{table}\[0\]\.{field}: Field required"):
        read_ground_truth(written(tmp_path, content))


def test_every_problem_is_reported_at_once_and_many_are_counted(tmp_path: Path) -> None:
    content = document()
    content["annotations"] = [
        {"image_id": n, "category_id": 7, "bbox": [0, 0, 1, 1]} for n in range(100, 130)
    ]
    with pytest.raises(UnusableFile, match=r"annotations\[0\](.|\n)*annotations\[19\](.|\n)*and 10 more"):
        read_ground_truth(written(tmp_path, content))


def test_a_box_rounded_beyond_the_edge_by_less_than_a_pixel_is_kept(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["bbox"] = [-0.4, 0, 640.9, 480]
    assert read_ground_truth(written(tmp_path, content)).truth.num_rows == 2


def test_what_the_references_evaluate_is_taken(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["bbox"] = [-34, 20, 700, 40]
    content["images"][1]["file_name"] = content["images"][0]["file_name"]
    content["categories"][1]["name"] = "object/bust"
    truth = read_ground_truth(written(tmp_path, content))
    assert truth.images["file_name"].to_pylist() == ["a/büste.jpg"]
    assert truth.regions["bbox"][0].as_py() == [-34, 20, 700, 40]
    corners = document()
    corners["annotations"] = [dict(corners["annotations"][0], bbox=[400, 200, 500, 400]) for _ in range(4)]
    with pytest.raises(UnusableFile, match=r"look like corners(.|\n)*4 of 4 reach beyond"):
        read_ground_truth(written(tmp_path, corners))


def test_files_that_are_missing_or_not_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match=r"absent\.json: cannot be read"):
        read_ground_truth(tmp_path / "absent.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{"images": [')
    with pytest.raises(UnusableFile, match=r"broken\.json.*\n.*Invalid JSON"):
        read_ground_truth(broken)
    with pytest.raises(UnusableFile, match=r"truth\.json(.|\n)*object"):
        read_ground_truth(written(tmp_path, []))
