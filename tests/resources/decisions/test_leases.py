"""Nobody is asked what another is being asked, and nothing waits for someone who has left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.decisions import DecisionLog, Event, Lease, Leases, Pair, next_pairs

QUEUE: list[Pair] = [(f"image {n}", "vase") for n in range(100)]


def first(
    count: int, said: dict[Pair, set[str]] | None = None, leases: tuple[Lease, ...] = (), opinions: int = 1
) -> list[int]:
    """Places in the queue of what ada is asked."""
    words = said or {}
    return [
        QUEUE.index(p)
        for p in next_pairs(QUEUE, lambda p: words.get(p, set()), leases, "ada", count, opinions)
    ]


def test_the_order_of_the_queue_is_kept_around_what_others_do() -> None:
    assert first(3) == [0, 1, 2]
    assert first(3, {QUEUE[0]: {"bob"}}, (Lease(QUEUE[2], "cyd", 9),)) == [1, 3, 4]
    assert first(3, {QUEUE[1]: {"ada"}}, (Lease(QUEUE[0], "ada", 9),)) == [0, 2, 3]
    assert first(3, {pair: {"bob"} for pair in QUEUE}) == []


def test_a_second_opinion_is_asked_of_another_person_and_once() -> None:
    assert first(3, {QUEUE[0]: {"bob"}, QUEUE[1]: {"ada"}, QUEUE[2]: {"bob", "cyd"}}, opinions=2) == [0, 3, 4]
    assert first(1, {QUEUE[0]: {"bob"}}, (Lease(QUEUE[0], "cyd", 9),), opinions=2) == [1]


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(DecisionLog.at(tmp_path, None))


def take(leases: Leases, who: str, count: int, now_s: float = 0, seconds: float = 60) -> list[int]:
    def choose(held: list[Lease]) -> list[Pair]:
        return next_pairs(QUEUE, lambda pair: (), held, who, count)

    return [QUEUE.index(pair) for pair in leases.take(who, choose, now_s, seconds)]


def test_of_many_who_ask_at_once_no_two_get_one_pair(leases: Leases) -> None:
    with ThreadPoolExecutor(16) as pool:
        batches = [*pool.map(lambda n: take(leases, f"reviewer {n}", 5), range(16))]
    assert sorted(place for batch in batches for place in batch) == list(range(80))
    assert all(batch == list(range(batch[0], batch[0] + 5)) for batch in batches)


def test_a_lease_ends_by_itself_and_its_pairs_come_back_to_their_places(leases: Leases) -> None:
    assert take(leases, "ada", 3, now_s=0) == [0, 1, 2]
    assert take(leases, "bob", 3, now_s=59) == [3, 4, 5]
    assert take(leases, "cyd", 4, now_s=60) == [0, 1, 2, 6]


def test_whoever_asks_again_gets_the_same_and_lets_go_of_the_rest(leases: Leases) -> None:
    assert take(leases, "ada", 3) == take(leases, "ada", 3) == [0, 1, 2]
    assert take(leases, "ada", 1) == [0]
    assert take(leases, "bob", 2) == [1, 2]
    leases.give_back("ada")
    assert take(leases, "cyd", 2) == [0, 3]


def test_leases_lie_beside_a_log_that_was_there_before_them_and_harm_no_decision(leases: Leases) -> None:
    event = Event(who="ada", verdict="accept", image_id="image 0", concept_id="vase")
    [stored] = leases.log.append([event])
    assert take(leases, "ada", 2) == [0, 1]
    assert leases.log.since() == [stored]
