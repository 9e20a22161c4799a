"""The published JSON Schema of regions.json is that of the data class, and what is written holds to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hand_made_lake import FOLDER, IDS, make_home
from jsonschema import Draft202012Validator, ValidationError

from resources.workspace import open_workspace
from vistag_assets.regions.regions_json import render, schema

PUBLISHED = Path(__file__).parents[3] / "docs/regions.schema.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    workspace = open_workspace(make_home(tmp_path_factory.mktemp("home")))
    image = {"id": IDS[0], "path": "a/1.jpg", "width": 400, "height": 300}
    asked = {"text_score": 0.5, "prompt": "bowl. vase.", "chunk": 0}
    rows = [
        row | asked
        for row in workspace.lake.read("grounded_regions", FOLDER).to_pylist()
        if row["id"] == IDS[0]
    ]
    rows.append(rows[0] | {"concept_id": None, "phrase": "an odd thing", "bbox": [0, 0, 1, 1]})
    return json.loads(render(image, rows, workspace.taxonomy.by_id))


def test_the_published_schema_is_that_of_the_data_class() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema()  # make docs
    Draft202012Validator.check_schema(json.loads(schema()))


def test_what_is_written_holds_to_it(written: Any) -> None:
    assert len(written["regions"]) == 3
    Draft202012Validator(json.loads(PUBLISHED.read_text())).validate(written)


@pytest.mark.parametrize(
    "wrong", [{"bbox": [0, 0, 2, 1]}, {"score": "much"}, {"colour": "red"}, {"bbox_px": [1, 2, 3]}]
)
def test_what_is_not_so_does_not(written: Any, wrong: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(written))
    broken["regions"][0] |= wrong
    with pytest.raises(ValidationError):
        Draft202012Validator(json.loads(schema())).validate(broken)
