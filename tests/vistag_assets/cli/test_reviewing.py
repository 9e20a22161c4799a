"""`vistag review`: the queue, how far people agree, and what their decisions say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hand_made_lake import IDS, make_home
from typer.testing import CliRunner

from resources.decisions import Event
from resources.home import Home
from vistag_assets.cli import app, console

A, B, C = IDS


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "_width", 1_000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def vistag(home: Home, *arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["review", *map(str, arguments), "--home", str(home.root)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def say(home: Home, who: str, verdict: str, image: str, concept: str) -> None:
    event = Event(who=who, verdict=verdict, image_id=image, concept_id=concept)  # type: ignore[arg-type]
    home.decisions.append([event])


def test_the_queue_is_shown_and_written_and_forgets_what_was_decided(home: Home, tmp_path: Path) -> None:
    shown = vistag(home, "queue")
    assert "a/1.jpg" in shown
    assert "no_positive" in shown
    say(home, "ada", "accept", A, "vase")
    file = tmp_path / "queue.csv"
    vistag(home, "queue", "--csv", file)
    rows = [*csv.DictReader(file.open(encoding="utf-8", newline=""))]
    assert rows
    assert (A, "vase") not in {(row["image_id"], row["concept_id"]) for row in rows}
    assert {row["image_id"] for row in rows} <= set(IDS)
    assert all(row["label"] and row["path"] for row in rows)
    assert vistag(home, "queue", "--concept", "vase").count("vase") == sum(
        row["concept_id"] == "vase" for row in rows
    )


def test_the_queue_is_made_anew_where_that_is_asked_for(home: Home) -> None:
    vistag(home, "queue")
    before = home.lake.read("review_queue").num_rows
    for image in (A, B):
        say(home, "ada", "accept", image, "vase")
    vistag(home, "queue")
    assert home.lake.read("review_queue").num_rows == before
    vistag(home, "queue", "--again")
    assert home.lake.read("review_queue").num_rows < before


def test_agreement_is_told_and_as_json(home: Home) -> None:
    assert "No pair was decided by two people" in vistag(home, "agreement")
    for image, word in ((A, "accept"), (B, "reject"), (C, "reject")):
        say(home, "ada", word, image, "vase")
        say(home, "bob", "reject" if image == C else word, image, "vase")
    say(home, "bob", "accept", C, "vase")
    assert "disagree: 1" in vistag(home, "agreement")
    told = json.loads(vistag(home, "agreement", "--json"))
    assert told["disputed"] == 1
    [found] = told["agreements"]
    assert (found["first"], found["second"], found["pairs"], found["kappa"]) == (
        "ada",
        "bob",
        3,
        pytest.approx(0.4),
    )


def test_the_report_of_decisions_is_a_page_and_json(home: Home, tmp_path: Path) -> None:
    assert "nobody has confirmed a tag" in " ".join(vistag(home, "report", code=1).split())
    say(home, "ada", "accept", A, "vase")
    say(home, "ada", "reject", B, "vase")
    told = json.loads(vistag(home, "report", "--json"))
    assert told["federated"]
    assert told["decisions"]["overall"]["decisions"] == 2
    assert "Overall: 2 decisions" in (home.reports_dir / "reviewed.html").read_text()
    assert "Overall: 2 decisions" in vistag(home, "report")
    file = tmp_path / "reviewed.json"
    assert "1 true and 1 absent tags of 2 images" in vistag(home, "truth", file)
    measured = CliRunner().invoke(
        app, ["evaluate", "--ground-truth", str(file), "--predictions", str(home.root), "--json"]
    )
    assert json.loads(measured.stdout)["federated"]
