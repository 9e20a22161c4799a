"""From words in the decision log to labels of the home's vocabulary: proposed, decided by a person, and then at work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hand_made_lake import FOLDER, IDS, make_home
from typer.testing import CliRunner

from resources.decisions import Event
from resources.home import Home, read_settings
from resources.workspace import open_workspace
from taxonomy import STARTER
from vistag_assets.cli import app
from vistag_assets.review.phrases import phrases_of
from vistag_assets.tags.decided import decided_in


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def vistag(home: Home, *arguments: object) -> str:
    told = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home.root)])
    assert told.exit_code == 0, told.output
    return told.output


def say(home: Home, words: str, image: str, **more: Any) -> Event:
    event = Event(**{"who": "ada", "verdict": "accept", "image_id": image, "phrase": words, **more})
    return home.decisions.append([event])[0]


def test_words_teach_the_vocabulary_only_through_a_person(home: Home) -> None:
    starter = STARTER.read_bytes()
    for image in IDS[:2]:
        say(home, "tea bowl", image, verdict="skip", corrected_to="bowl")
    say(home, "zzyzx gadget", IDS[0])
    say(home, "Tea-bowl", IDS[1])
    say(home, "tea bowl", IDS[2])
    say(home, "bowl", IDS[2], concept_id="bowl", verdict="reject")
    told = vistag(home, "taxonomy", "learn")
    assert "'tea bowl' as altLabel of bowl" in told
    diff = home.root / "vocabulary" / "proposed.ttl"
    assert open_workspace(home).taxonomy.labels.concept_of("tea bowl") is None, "nothing is taken silently"
    text = diff.read_text(encoding="utf-8")
    tea, gadget = (text.index(f'literalForm "{words}"') for words in ("tea bowl", "zzyzx gadget"))
    parts = re.split("(?=urn:x-vistag:learned/)", text)
    decided = [
        part.replace("undecided", "accept" if part.startswith("urn:x-vistag:learned/tea") else "reject")
        for part in parts[1:]
    ]
    assert tea < gadget, "what was said of most pictures comes first"
    diff.write_text(parts[0] + "".join(decided), encoding="utf-8")
    refused = CliRunner().invoke(app, ["taxonomy", "learn", "--home", str(home.root)])
    assert refused.exit_code == 1, "a diff that is half decided is not written over"
    assert "2 of its labels are decided" in " ".join(refused.output.split())
    assert "1 accept, 1 reject" in vistag(home, "taxonomy", "accept", diff, "--use", "--by", "eve")
    assert STARTER.read_bytes() == starter
    taxonomy = open_workspace(home).taxonomy
    assert taxonomy.labels.concept_of("tea bowls") == "bowl"
    assert (
        taxonomy.facet_of("bowl").prompts == open_workspace(Home(home.root)).taxonomy.facet_of("vase").prompts
    )
    images = home.lake.read("images", FOLDER)
    decided = decided_in(home.decisions, images, taxonomy.replaced, taxonomy.labels).to_pylist()
    states = {(row["id"], row["concept_id"]): row["state"] for row in decided}
    assert states[IDS[1], "bowl"] == "human", "what was said of the words holds for the concept"
    assert states[IDS[2], "bowl"] == "rejected", "but for what was said of the concept itself"
    assert states[IDS[0], None] == "human"
    assert str(read_settings(home).taxonomy).startswith(str(home.root))
    again = vistag(home, "taxonomy", "learn")
    assert "'tea bowl' is a label of bowl: nothing to learn." in again
    assert "1 were decided before: zzyzx gadget." in again
    assert not diff.exists()


def test_what_was_taken_back_or_rejected_later_teaches_nothing(home: Home) -> None:
    undone = say(home, "tea bowl", IDS[0])
    home.decisions.append([Event(who="ada", verdict="undo", image_id=IDS[0], undoes=undone.seq)])
    say(home, "krater", IDS[1], shown="0" * 16)
    say(home, "Krater", IDS[1], verdict="reject", who="bea")
    say(home, "from a file", IDS[2], source="file")
    say(home, "bowl", IDS[2], concept_id="bowl")
    assert list(phrases_of(home.decisions.since())) == []


def test_how_words_came_and_what_was_rejected_for_them_is_known(home: Home) -> None:
    say(home, "vase", IDS[0], verdict="reject", concept_id="vase", client_id="one")
    say(home, "krater", IDS[0], client_id="one~words")
    say(home, "amphoriskos", IDS[1], shown="0" * 16)
    say(home, "pelike", IDS[1], client_id="import-1-0")
    found = {said.words: (said.how, said.instead_of) for said in phrases_of(home.decisions.since())}
    assert found == {
        "krater": ("typed", "vase"),
        "amphoriskos": ("proposed by a model and accepted", None),
        "pelike": ("imported", None),
    }


def test_words_that_nobody_proposed_are_kept_where_a_person_says_so(home: Home) -> None:
    refused = CliRunner().invoke(app, ["decide", IDS[0], "tea bowl", "accept", "--home", str(home.root)])
    assert refused.exit_code == 1
    assert "--words" in refused.output
    assert "'tea bowl' of" in vistag(home, "decide", IDS[0], "tea bowl", "accept", "--words")
    event = home.decisions.since()[-1]
    assert (event.concept_id, event.phrase) == (None, "tea bowl")
