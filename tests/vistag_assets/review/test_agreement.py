"""How far people agree who decided the same pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from resources.decisions import Event
from vistag_assets.review.agreement import agreements, disputed, opinions


def said(who: str, verdict: str, image: str = "a", concept: str = "vase", **more: object) -> Event:
    return Event(who=who, verdict=verdict, image_id=image, concept_id=concept, **more)  # type: ignore[arg-type]


def logged(*events: Event) -> list[Event]:
    return [replace(event, seq=number) for number, event in enumerate(events, start=1)]


@pytest.mark.parametrize("bias", [0.05, 0.5, 0.9])
def test_kappa_is_that_of_scikit_learn(bias: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        first = rng.random(60) < bias
        second = np.where(rng.random(60) < 0.2, rng.random(60) < 0.5, first)
        words = {
            (f"{n}", "vase"): {"ada": bool(a), "bob": bool(b)}
            for n, (a, b) in enumerate(zip(first, second, strict=True))
        }
        [found] = agreements(words)
        assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert found.ci95 is not None
        assert found.ci95[0] <= found.kappa <= found.ci95[1]
        assert len(disputed(words)) == (first != second).sum() == round(60 * (1 - found.observed))


def test_where_all_say_the_same_chance_would_too() -> None:
    [found] = agreements({(f"{n}", "vase"): {"ada": True, "bob": True} for n in range(9)})
    assert (found.kappa, found.ci95, found.observed) == (None, None, 1.0)


def test_the_last_word_of_each_person_counts_and_a_skip_is_none() -> None:
    events = logged(
        said("ada", "accept"),
        said("ada", "reject"),
        said("bob", "accept"),
        said("cyd", "skip"),
        said("bob", "undo", concept="vase", undoes=3),
        said("bob", "reject"),
        said("file", "accept", source="file"),
    )
    assert opinions(events, {}) == {("a", "vase"): {"ada": False, "bob": False}}


def test_a_correction_is_a_word_on_two_concepts_and_one_picture_has_many_names() -> None:
    events = logged(
        said("ada", "correct", corrected_to="bowl", pixel_hash="p"),
        said("bob", "accept", concept="dish", image="same picture", pixel_hash="p"),
        said("cyd", "accept"),
    )
    assert opinions(events, {"dish": "bowl"}) == {
        ("p", "vase"): {"ada": False, "cyd": True},
        ("p", "bowl"): {"ada": True, "bob": True},
    }


def test_people_who_share_most_pairs_come_first() -> None:
    words = {
        ("1", "v"): {"ada": True, "bob": True, "cyd": False},
        ("2", "v"): {"bob": True, "cyd": True},
        ("3", "v"): {"ada": True},
    }
    found = agreements(words)
    assert [(of.first, of.second, of.pairs) for of in found] == [
        ("bob", "cyd", 2),
        ("ada", "bob", 1),
        ("ada", "cyd", 1),
    ]
