"""Decisions as ground truth: what is measured, against what, and what stands behind it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lvis
import numpy as np
import pyarrow as pa
import pytest
from hand_made_lake import IDS, WIDTH, make_home, write

from evaluation.from_lake import EvaluationError
from evaluation.readers import read_truth
from evaluation.report import render_html, render_markdown
from evaluation.reviewed import as_lvis, evaluate_reviewed, reviewed_json, reviewed_report, reviewed_truth
from resources.decisions import Event
from resources.workspace import Workspace, open_workspace
from vistag_assets.review.pool import Library
from vistag_assets.review.uniform import permanent_number
from vistag_assets.review.uniform_slice import UniformSlice

A, B, C = IDS


def table(pairs: list[tuple[str, str]]) -> pa.Table:
    return pa.table({"id": [id_ for id_, _ in pairs], "concept_id": [concept for _, concept in pairs]})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A home whose rows of `tags` are all the machine's."""
    home = make_home(tmp_path)
    rows = [
        {**row, "state": "machine", "inherited_from": None, "decision": None}
        for row in home.lake.read("tags", "lib--a").drop_columns(["fingerprint"]).to_pylist()
    ]
    write(home, "tags", rows)
    return open_workspace(home)


def say(workspace: Workspace, verdict: str, image: str, concept: str, who: str = "ada", **more: Any) -> None:
    event = Event(who=who, verdict=verdict, image_id=image, concept_id=concept, **more)  # type: ignore[arg-type]
    workspace.decisions.append([event])


def test_only_what_was_looked_at_is_right_or_wrong(workspace: Workspace) -> None:
    say(workspace, "accept", A, "bowl")
    say(workspace, "accept", B, "bowl")
    say(workspace, "reject", B, "vase")
    say(workspace, "accept", C, "lyre")
    found = evaluate_reviewed(workspace)
    overall = found.evaluation.tags.recall_figure("overall", 1)
    assert overall is not None
    # of three true tags the bowl of a comes first in its image, that of b second, and nothing speaks of the lyre
    assert (overall.support, overall.micro) == (3, pytest.approx(1 / 3))
    assert found.evaluation.federated
    at_ten = found.evaluation.tags.recall_figure("overall", 10)
    assert at_ten is not None
    assert at_ten.micro == pytest.approx(2 / 3)
    assert found.evaluation.tags.ranked_concepts == len(workspace.taxonomy.concepts)


def test_what_is_measured_is_the_machine_and_not_what_people_made_of_its_tags(workspace: Workspace) -> None:
    from vistag_assets.tags.decided import REJECTED

    say(workspace, "accept", B, "bowl")
    say(workspace, "reject", B, "vase")
    before = reviewed_json(evaluate_reviewed(workspace))
    # as the asset `tags` shows it: the rejected one last, and a tag that nothing but a person speaks for
    shown = workspace.lake.read("tags", "lib--a").drop_columns(["fingerprint"]).to_pylist()
    for row in shown:
        if (row["id"], row["concept_id"]) == (B, "vase"):
            row |= {"state": REJECTED, "rank": 9}
    shown.append(
        {**shown[0], "id": B, "concept_id": "lyre", "phrase": "lyre", "state": "human", "probability": 0.0}
    )
    write(workspace.home, "tags", shown)
    assert reviewed_json(evaluate_reviewed(workspace)) == before


def test_the_report_says_how_many_decisions_stand_behind_it(workspace: Workspace) -> None:
    say(workspace, "accept", A, "bowl")
    say(workspace, "accept", B, "bowl", who="bob")
    say(workspace, "reject", B, "vase")
    say(workspace, "skip", C, "vase")
    found = evaluate_reviewed(workspace)
    behind = reviewed_json(found)["decisions"]["overall"]
    assert behind == {"decisions": 3, "accepted": 2, "rejected": 1, "concepts": 2, "images": 2, "people": 2}
    report = reviewed_report(workspace, found, datetime(2026, 1, 1, tzinfo=UTC))
    page = render_html(report)
    assert "Overall: 3 decisions (2 accepted, 1 rejected) by 2 people, on 2 concepts in 2 images." in page
    assert "3 decisions" in render_markdown(report)


def test_how_common_a_concept_is_does_not_depend_on_how_often_it_was_asked_about(
    workspace: Workspace,
) -> None:
    say(workspace, "accept", A, "bowl")
    for image in (A, B, C):
        say(workspace, "accept", image, "lyre")
    rows = {row["concept_id"]: row for row in evaluate_reviewed(workspace).evaluation.tags.tags.to_pylist()}
    assert rows["lyre"]["rank"] < rows["bowl"]["rank"], (
        "three images are known to carry it, and of the other 1.5 expected"
    )
    assert rows["bowl"]["images"] == 1


def test_before_anything_is_confirmed_there_is_nothing_to_measure(workspace: Workspace) -> None:
    say(workspace, "reject", B, "vase")
    with pytest.raises(EvaluationError, match="nobody has confirmed a tag"):
        evaluate_reviewed(workspace)


def test_what_was_said_of_a_concept_that_is_gone_from_the_vocabulary_is_in_no_figure(
    workspace: Workspace,
) -> None:
    say(workspace, "accept", A, "bowl")
    before = reviewed_json(evaluate_reviewed(workspace))
    say(workspace, "accept", B, "no concept any more")
    assert reviewed_json(evaluate_reviewed(workspace)) == before


def test_without_tags_there_is_nothing_to_measure(workspace: Workspace) -> None:
    say(workspace, "accept", A, "bowl")
    workspace.lake.delete("tags", "lib--a")
    with pytest.raises(EvaluationError, match="holds no tags to measure"):
        evaluate_reviewed(workspace)


def test_the_uniform_slice_is_counted_apart_and_each_pair_by_its_chance(workspace: Workspace) -> None:
    library, concepts = Library.read(workspace), sorted(workspace.taxonomy.by_id)
    named = [(A, "bowl"), (A, "vase"), (A, "spotlight"), (B, "vase"), (B, "bowl")]
    for pair in named:
        say(workspace, "accept" if pair in ((A, "bowl"), (B, "bowl")) else "reject", *pair)
    silent = UniformSlice.of(library, table(named), concepts).next("silent", 5)[0]
    for pair in silent:
        say(workspace, "accept" if pair == silent[0] else "reject", *pair)
    unbiased = evaluate_reviewed(workspace).unbiased
    assert unbiased is not None
    assert (unbiased.decisions, unbiased.named_share) == (10, 1.0)
    share = UniformSlice.of(Library.read(workspace), table(named), concepts).next("silent", 1)[1]
    assert unbiased.silent_share == share
    # two true tags that are found, each for itself; one that is not, for as many as its stratum is larger
    assert unbiased.recall["overall"].value == pytest.approx(2 / (2 + 1 / share))
    # of five tags with 0.5 or more two are right
    assert unbiased.precision is not None
    assert (unbiased.precision.value, unbiased.precision.support) == (0.4, 5)


def test_without_a_decision_of_the_slice_nothing_is_said_without_bias(workspace: Workspace) -> None:
    named = sorted(
        [(A, "bowl"), (A, "vase"), (B, "vase"), (B, "bowl")], key=lambda pair: permanent_number(*pair)
    )
    say(workspace, "accept", *named[-1])
    found = evaluate_reviewed(workspace)
    assert found.unbiased is None
    assert any("Nothing of the uniform slice" in remark for remark in found.evaluation.remarks)


def test_the_file_says_the_same_to_our_reader_and_to_that_of_lvis(
    workspace: Workspace, tmp_path: Path
) -> None:
    say(workspace, "accept", A, "bowl")
    say(workspace, "redraw", A, "vase", box=(0.5, 0.2, 0.25, 0.5))
    say(workspace, "reject", B, "vase")
    truth = reviewed_truth(workspace, Library.read(workspace))
    path = tmp_path / "reviewed.json"
    path.write_text(json.dumps(as_lvis(truth)))
    again = read_truth(path)
    names = dict(zip(again.images["id"].to_pylist(), again.images["name"].to_pylist(), strict=True))
    ids = {"a/1.jpg": A, "a/2.jpg": B}

    def pairs(table: pa.Table | None) -> set[tuple[str, str]]:
        assert table is not None
        return {(ids[names[row["id"]]], row["concept_id"]) for row in table.to_pylist()}

    assert pairs(again.tags) == {(A, "bowl"), (A, "vase")}
    assert pairs(again.negatives) == {(B, "vase")}
    assert pairs(again.not_exhaustive) == {(A, "bowl"), (A, "vase")}
    assert again.boxes is not None
    assert again.boxes["bbox"].to_pylist() == [pytest.approx([0.5 * WIDTH, 60, 0.25 * WIDTH, 150])]
    theirs = lvis.LVIS(str(path))
    vase = next(category["id"] for category in theirs.cats.values() if category["name"] == "vase")
    assert [image["file_name"] for image in theirs.imgs.values() if vase in image["neg_category_ids"]] == [
        "a/2.jpg"
    ]
    [box] = theirs.load_anns(theirs.get_ann_ids(cat_ids=[vase]))
    assert math.isclose(box["area"], np.prod(box["bbox"][2:]))
