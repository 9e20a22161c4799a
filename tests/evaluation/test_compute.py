"""All figures of a hand-made lake, down to the JSON that scripts read."""

import json
from pathlib import Path

import dagster as dg
import pytest
from hand_made_lake import IDS, make_home, tables, write

from evaluation import compute as parts
from evaluation import from_lake
from evaluation.assets import phrase_grounding
from evaluation.figures import Throughput
from evaluation.figures_json import figures_json
from evaluation.ground_truth import read_ground_truth
from evaluation.metrics.ablation import LADDER_SCHEMA, ladder_table
from evaluation.metrics.bands import frequency_bands
from resources.workspace import VistagResource, Workspace, open_workspace
from vistag_assets.whole_image.concept_embeddings import embed_concepts


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = open_workspace(make_home(tmp_path / "home"))
    names = from_lake.image_names(workspace.home, "lib")
    matched = from_lake.match_ground_truth(read_ground_truth(workspace.home.ground_truth_path), names)
    for table, rows in (
        ("ground_truth", matched.truth),
        ("ground_truth_regions", matched.regions),
        ("ground_truth_images", matched.images),
        ("ground_truth_concepts", matched.concepts),
        ("frequency_bands", frequency_bands(matched.truth, matched.concepts["concept_id"].to_pylist())),
    ):
        workspace.lake.write(table, rows)
    embed_concepts(workspace)
    return workspace


def test_true_regions_are_relative_to_their_image_whatever_its_size(workspace: Workspace) -> None:
    rows = workspace.lake.read("ground_truth_regions").to_pylist()
    assert [(row["id"], row["concept_id"]) for row in rows] == [
        (IDS[0], "bowl"),
        (IDS[0], "vase"),
        (IDS[1], "bowl"),
    ]
    assert rows[0]["bbox"] == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert (rows[0]["height"], rows[0]["width"]) == (600, 800)


def test_every_part_is_measured_and_has_its_place_in_the_json(workspace: Workspace) -> None:
    speeds = {"captions": Throughput(4.0, "cpu"), "tag_scores": Throughput(100.0, "cpu")}
    figures = json.loads(json.dumps(figures_json(parts.evaluate(workspace, speeds)), allow_nan=False))
    assert (figures["images"], figures["rejects"]) == (3, 1)
    # bowl on a and b, vase and spotlight on a: the final tags lack the bowl that a person rejected
    assert figures["tag_recall"]["overall"]["10"]["micro"] == pytest.approx(3 / 4)
    assert figures["tag_recall_embeddings"]["overall"]["10"]["micro"] == 1.0
    grounding = figures["grounding_recall"]
    assert grounding["overall"]["0.5"]["micro"] == pytest.approx(2 / 3)
    assert grounding["overall"]["0.75"]["micro"] == pytest.approx(2 / 3)  # the vase's IoU is 0.75
    assert grounding["overall"]["0.5:0.95"]["support"] == 3
    assert figures["gap"]["grounding_recall@0.5"] == pytest.approx(2 / 3 - 1)
    assert figures["masks"] == {"mean_iou": pytest.approx(0.5, abs=0.01), "support": 1}
    assert figures["ocr"]["recall"] == 0.5
    captions = figures["captions"]
    assert captions["object_recall"] == pytest.approx(2 / 3)  # "a vessel" names no bowl
    assert captions["hallucination_rate"] == 0.0  # swords are not in the evaluated vocabulary
    assert captions["schema_valid"] == pytest.approx(2 / 3)
    assert figures["routing"]["heavy"]["reasons"] == {"low_coverage": 1, "text": 1}
    ladder = {rung["option"]: rung for rung in figures["ladder"]}
    # the keywords name both bowls, the caption of a its vase, nobody the spotlight
    assert ladder["A1"]["tag_recall@10"]["overall"] == pytest.approx(3 / 4)
    assert ladder["A2"]["tag_recall@10"]["overall"] == 1.0
    assert ladder["B3"]["grounding_recall@0.5"]["overall"] == pytest.approx(2 / 3)
    assert "grounding_recall@0.5" not in ladder["A2"]
    assert ladder["A2"]["seconds_per_image"] == pytest.approx(1 / 4 + 1 / 100)
    assert ladder["B3"]["tail_gain"] == 0.0
    assert "tail_gain" not in ladder["A2"]


def test_phrases_are_grounded_by_their_best_region(workspace: Workspace) -> None:
    home = str(workspace.home.root)
    assert dg.materialize([phrase_grounding], resources={"vistag": VistagResource(home=home)}).success
    rows = {row["band"]: row for row in workspace.lake.read("phrase_grounding").to_pylist()}
    assert rows["overall"]["support"] == 3
    assert rows["overall"]["micro"] == pytest.approx(2 / 3)
    workspace.lake.delete("grounded_regions", "lib--a")
    assert parts.phrases(workspace.lake) == ()


def test_parts_whose_tables_are_not_there_are_absent(workspace: Workspace) -> None:
    for table in ("tags", "grounded_regions", "captions", "routing", "descriptions", "ocr_text"):
        workspace.lake.delete(table, "lib--a")
    figures = figures_json(parts.evaluate(workspace, {}))
    assert not {"grounding_recall", "masks", "ocr", "captions", "routing", "throughput"} & figures.keys()
    assert [rung["option"] for rung in figures["ladder"]] == ["A2", "B2"]
    assert figures["tag_recall"] == figures["tag_recall_embeddings"]
    assert figures["gap"].keys() <= {"tag_recall@10"}


def test_a_stage_that_has_not_looked_at_every_image_is_named(workspace: Workspace) -> None:
    workspace.lake.write(
        "tags", workspace.lake.read("tags", "lib--a").slice(0, 1).replace_schema_metadata(), "lib--a"
    )
    with pytest.raises(from_lake.EvaluationError, match=r"2 of the 3 images .* no final tags yet"):
        parts.evaluate(workspace, {})


def test_the_same_content_in_two_folders_counts_once(workspace: Workspace) -> None:
    once = figures_json(parts.evaluate(workspace, {}))
    for table in tables():
        workspace.lake.write(table, workspace.lake.read(table, "lib--a"), "lib--b")
    assert figures_json(parts.evaluate(workspace, {})) == once | {"rejects": 2}


def test_the_ladder_as_a_table_keeps_what_is_missing_null(workspace: Workspace) -> None:
    rows = ladder_table(parts.option_ladder(workspace, {}))
    assert rows.schema.equals(LADDER_SCHEMA)
    assert rows["option"].to_pylist() == ["A1", "A2", "A3", "B2", "B3"]
    assert rows["grounding_recall_overall"].null_count == 3
    assert rows["seconds_per_image"].null_count == 5


def test_rows_about_other_images_change_nothing(workspace: Workspace) -> None:
    before = figures_json(parts.evaluate(workspace, {}))
    more = dict(tables()["captions"][0], id="d" * 32)
    write(workspace.home, "captions", [*tables()["captions"], more])
    assert figures_json(parts.evaluate(workspace, {})) == before
