"""What stands when everything was said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from resources.decisions import Event, UnusableDecision, fold


def said(verdict: str, concept: str = "vase", **more: Any) -> Event:
    return Event(who="ada", verdict=verdict, image_id="a", concept_id=concept, **more)  # type: ignore[arg-type]


def numbered(events: Iterable[Event]) -> Iterator[Event]:
    return (replace(event, seq=number) for number, event in enumerate(events, start=1))


def stands(*events: Event, id_: str = "a", pixels: str | None = None) -> dict[str | None, bool]:
    """Concept or phrase -> whether it stands as accepted, of a picture."""
    of = fold({id_: pixels}, numbered(events)).get(id_, {})
    return {concept or phrase: standing.accepted for (concept, phrase), standing in of.items()}


def test_the_last_word_counts_whatever_order_the_events_come_in() -> None:
    events = list(numbered([said("accept"), said("reject"), said("accept", "bowl")]))
    for order in permutations(events):
        of = fold({"a": None}, order)["a"]
        assert {concept: standing.accepted for (concept, _), standing in of.items()} == {
            "vase": False,
            "bowl": True,
        }
    assert stands() == {}


def test_an_undo_is_an_event_and_can_be_undone() -> None:
    undo = said("undo", undoes=2)
    assert stands(said("accept"), said("reject"), undo) == {"vase": True}
    assert stands(said("accept"), said("reject"), undo, said("undo", undoes=3)) == {"vase": False}
    assert stands(said("accept"), said("undo", undoes=1)) == {}
    assert stands(said("accept"), said("undo", undoes=1), said("undo", undoes=2)) == {"vase": True}


def test_a_correction_rejects_one_concept_and_accepts_another() -> None:
    assert stands(said("correct", corrected_to="bowl")) == {"vase": False, "bowl": True}
    assert stands(said("correct", corrected_to="bowl"), said("undo", undoes=1)) == {}
    assert stands(said("redraw", box=(0.1, 0.1, 0.2, 0.2))) == {"vase": True}


def test_a_decision_follows_the_pixels_into_other_bytes() -> None:
    event = said("accept", pixel_hash="p")
    assert stands(event, id_="other bytes", pixels="p") == {"vase": True}
    assert stands(event, id_="other bytes", pixels="q") == {}
    assert stands(event, id_="other bytes") == {}
    assert stands(said("accept"), id_="a", pixels="q") == {"vase": True}


def test_a_word_without_a_concept_stands_by_itself() -> None:
    word = Event(who="ada", verdict="reject", image_id="a", phrase="gadget")
    assert stands(word, said("accept", phrase="gadget")) == {"gadget": False, "vase": True}


def test_a_file_never_overrules_a_person() -> None:
    assert stands(said("reject"), said("accept", source="file")) == {"vase": False}
    assert stands(said("accept", source="file"), said("reject")) == {"vase": False}
    assert stands(said("reject", source="file"), said("accept", source="file")) == {"vase": True}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"verdict": "like"}, "give one of accept, reject"),
        ({"verdict": "accept", "concept_id": None}, "needs a concept"),
        ({"verdict": "correct"}, "the concept that it is instead"),
        ({"verdict": "redraw"}, "needs the box"),
        ({"verdict": "undo"}, "the number of the decision"),
        ({"verdict": "accept", "image_id": ""}, "content id"),
        ({"verdict": "accept", "time": datetime(2026, 1, 1)}, "time zone"),
    ],
)
def test_what_could_not_stand_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UnusableDecision, match=told):
        Event(**{"who": "ada", "image_id": "a", "concept_id": "vase", **wrong})


def followed(*events: Event, replaced: dict[str, str]) -> dict[str | None, bool]:
    of = fold({"a": None}, numbered(events), replaced).get("a", {})
    return {concept: standing.accepted for (concept, _), standing in of.items()}


def test_what_was_said_of_a_concept_holds_for_the_one_that_replaced_it() -> None:
    assert followed(said("accept"), replaced={"vase": "vessel"}) == {"vessel": True}
    assert followed(said("reject"), replaced={"vase": "jar", "jar": "vessel"}) == {"vessel": False}
    assert followed(said("accept"), said("undo", undoes=1), replaced={"vase": "vessel"}) == {}
    assert followed(said("correct", "cup", corrected_to="vase"), replaced={"vase": "vessel"}) == {
        "cup": False,
        "vessel": True,
    }
    assert followed(said("accept"), replaced={"vase": "jar", "jar": "vase"}) in (
        {"jar": True},
        {"vase": True},
    )


def test_what_was_said_of_the_new_concept_itself_counts_more() -> None:
    assert followed(said("reject", "vessel"), said("accept"), replaced={"vase": "vessel"}) == {
        "vessel": False
    }


def test_of_several_concepts_that_became_one_any_makes_it_true_and_all_make_it_false() -> None:
    both = {"vase": "vessel", "jar": "vessel"}
    assert followed(said("accept"), said("reject", "jar"), replaced=both) == {"vessel": True}
    assert followed(said("reject"), replaced=both) == {}
    assert followed(said("reject"), said("reject", "jar"), replaced=both) == {"vessel": False}


def test_who_could_not_tell_has_said_nothing_and_can_take_that_back() -> None:
    assert stands(said("skip")) == {}
    assert stands(said("accept"), said("skip")) == {"vase": True}
    assert stands(said("skip"), said("undo", undoes=1), said("reject")) == {"vase": False}
