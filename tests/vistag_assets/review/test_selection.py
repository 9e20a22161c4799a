"""Which pairs of a concept come first, and how the queues of concepts are merged."""

from __future__ import annotations

import numpy as np
import pytest

from vistag_assets.review.selection import (
    FEWEST_A_CONCEPT,
    MOST_A_CONCEPT,
    SHORT_LIST,
    Candidates,
    Choice,
    Judged,
    boundary,
    choose,
    diverse,
    merged,
    quota,
    rarity,
    spread,
    uniform_places,
)

RNG = np.random.default_rng(4)


def judged(*said: tuple[float, bool]) -> Judged:
    return Judged(np.array([p for p, _ in said]), np.array([accepted for _, accepted in said], bool))


NOTHING = judged()


def candidates(
    probability: list[float],
    said: Judged = NOTHING,
    likeness: list[float] | None = None,
    carried_by: float = 0,
) -> Candidates:
    alike = np.array(likeness) if likeness else np.full(len(probability), -1.0)
    return Candidates("vase", np.array(probability), alike, said, carried_by)


def errors(at: float, said: Judged) -> int:
    return int(((said.probability >= at) != said.accepted).sum())


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_the_boundary_parts_with_the_fewest_errors(size: int) -> None:
    for _ in range(50):
        said = Judged(RNG.random(size).round(1), RNG.random(size) < 0.4)
        tried = [errors(at, said) for at in np.linspace(0, 1, 1001)]
        assert errors(boundary(said), said) <= min(tried)


def test_the_boundary_is_as_close_to_a_half_as_the_decisions_let_it() -> None:
    assert boundary(judged()) == 0.5
    assert boundary(judged((0.9, True))) == 0.5
    assert boundary(judged((0.3, True), (0.1, False))) == 0.3
    assert (
        boundary(judged((0.8, True), (0.7, False))) == 0.7
        or boundary(judged((0.8, True), (0.7, False))) > 0.7
    )


def test_a_concept_that_nobody_confirmed_is_asked_about_where_it_is_likeliest() -> None:
    chosen = choose(candidates([0.1, 0.9, 0.5], judged((0.95, False))), 4)
    assert chosen == Choice([1, 2, 0], ["no_positive"] * 3)


def test_a_confirmed_concept_is_asked_about_around_its_boundary_and_where_it_looks_alike() -> None:
    said = judged((0.6, True), (0.2, False))
    chosen = choose(candidates([0.99, 0.55, 0.4, 0.01, 0.0], said, [-1, -1, -1, 0.2, 0.9]), 4)
    assert chosen.places == [1, 4, 2, 0, 3]
    assert chosen.reasons == ["boundary", "neighbour", "boundary", "boundary", "neighbour"]
    silent = choose(candidates([0.0, 0.0], judged((0.0, True)), [-1, 0.3]), 4)
    assert silent == Choice([1], ["neighbour"]), "nothing speaks for the other"


def test_no_more_is_looked_at_than_is_needed_to_choose_from() -> None:
    many = candidates([*np.linspace(0, 1, 500)], judged((0.5, True)), [*np.linspace(0, 1, 500)])
    assert len(choose(many, 3).places) == 3 * SHORT_LIST == len(set(choose(many, 3).places))


def test_pictures_that_look_alike_are_not_asked_about_together() -> None:
    same = np.array([1, 0], np.float32)
    other = np.array([0, 1], np.float32)
    chosen = diverse(Choice([7, 8, 9, 5], ["no_positive"] * 4), np.stack([same, same, same, other]), 2)
    assert chosen.places == [7, 5]
    assert diverse(Choice([7], ["boundary"]), same[None], 4).places == [7]
    assert diverse(Choice([], []), np.zeros((0, 0), np.float32), 4).places == []


def test_rare_concepts_come_more_often_and_none_is_left_out() -> None:
    rare, common, absent = candidates([0.9] * 4), candidates([0.9] * 200), candidates([0.0] * 9)
    order = merged([rare, common, absent], [24, 24, 4])
    first = [number for number, _ in order[:8]]
    assert first.count(0) > 4 > first.count(1) > 0
    assert sorted(order) == [(n, place) for n, length in enumerate((24, 24, 4)) for place in range(length)]
    assert [place for number, place in order if number == 0] == list(range(24))
    assert 2 not in first


def test_the_rarest_concept_has_the_largest_quota_and_one_that_is_not_there_the_smallest() -> None:
    rare, common = candidates([0.9] * 4), candidates([0.9] * 2000)
    rarest = rarity(rare.expected_images)
    assert quota(rare, rarest) == MOST_A_CONCEPT
    assert quota(common, rarest) == FEWEST_A_CONCEPT
    assert quota(candidates([0.001] * 50), rarest) == FEWEST_A_CONCEPT


@pytest.mark.parametrize("active", [0, 1, 19, 20, 100, 1234])
def test_one_row_in_twenty_is_by_chance(active: int) -> None:
    rows = [{"id": f"{n}", "concept_id": "vase", "is_uniform": False} for n in range(active)]
    chance = [
        {"id": f"u{n}", "concept_id": "vase", "is_uniform": True, "inclusion_probability": 0.1}
        for n in range(len(uniform_places(active)))
    ]
    queue = spread(rows, chance)
    assert [row for row in queue if row["is_uniform"]] == chance
    assert [row for row in queue if not row["is_uniform"]] == rows
    for end in range(20, len(queue), 20):
        assert sum(row["is_uniform"] for row in queue[:end]) == end / 20


def test_a_pair_that_was_chosen_and_drawn_stands_once_and_says_both() -> None:
    pair = {"id": "a", "concept_id": "vase"}
    active = [{**pair, "reason": "boundary", "is_uniform": False}]
    drawn = [{**pair, "reason": "uniform", "is_uniform": True, "inclusion_probability": 0.1}]
    assert spread(active, drawn) == [
        {**pair, "reason": "uniform", "is_uniform": True, "inclusion_probability": 0.1}
    ]
    others = [{"id": f"{n}", "concept_id": "vase", "is_uniform": False} for n in range(3)]
    late = [{"id": "u", "concept_id": "vase", "is_uniform": True, "inclusion_probability": 0.1}, *drawn]
    marked = [row for row in spread([*active, *others], late) if row["id"] == "a"]
    assert marked == [{**pair, "reason": "boundary", "is_uniform": True, "inclusion_probability": 0.1}]
