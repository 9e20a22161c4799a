"""The uniform slice: fair, the same everywhere, and good for figures without bias."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from resources.decisions import Event
from vistag_assets.review.pool import Library
from vistag_assets.review.uniform import Grid, permanent_number
from vistag_assets.review.uniform_slice import STRATA, UniformSlice

PICTURES = [f"picture {n}" for n in range(300)]
CONCEPTS = [f"concept {n}" for n in range(70)]


def table(pairs: list[tuple[str, str]]) -> pa.Table:
    return pa.table({"id": [id_ for id_, _ in pairs], "concept_id": [concept for _, concept in pairs]})


def every_number(grid: Grid) -> np.ndarray:
    return grid.numbers(np.arange(grid.size))


def test_a_number_belongs_to_its_pair_on_every_machine() -> None:
    assert permanent_number("a" * 32, "vase") == 0.7965966542446061
    grid = Grid(PICTURES, CONCEPTS)
    assert every_number(grid)[grid.cells(np.array([7]), np.array([3]))[0]] == permanent_number(
        PICTURES[7], CONCEPTS[3]
    )


def test_numbers_are_spread_evenly_over_all_and_within_each_picture_and_concept() -> None:
    numbers = every_number(Grid(PICTURES, CONCEPTS))
    assert len(np.unique(numbers)) == len(numbers)
    assert 0 <= numbers.min() < numbers.max() < 1
    counts, _ = np.histogram(numbers, 20, (0, 1))
    # chi-squared with 19 degrees of freedom lies below 43.8 in 999 of 1,000 cases
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 43.8
    table = numbers.reshape(len(PICTURES), len(CONCEPTS))
    for axis, size in ((0, len(PICTURES)), (1, len(CONCEPTS))):
        z = (table.mean(axis=axis) - 0.5) / np.sqrt(1 / 12 / size)
        assert np.abs(z).max() < 4.5
        assert abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("count", [0, 1, 10, 5_000, 10**6])
def test_the_smallest_are_found_whatever_is_left_out(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vistag_assets.review.uniform._CELLS_AT_ONCE", 999)
    grid = Grid(PICTURES, CONCEPTS)
    without = np.sort(np.random.default_rng(1).choice(grid.size, 3_000, replace=False))
    rest = np.setdiff1d(np.arange(grid.size), without)
    expected = rest[np.argsort(grid.numbers(rest))][:count]
    cells, numbers = grid.smallest_without(count, without)
    assert cells.tolist() == expected.tolist() == grid.smallest(count, rest)[0].tolist()
    assert numbers.tolist() == grid.numbers(expected).tolist()


def test_a_library_that_grows_keeps_its_slice() -> None:
    before, after = Grid(PICTURES[:200], CONCEPTS), Grid(PICTURES, CONCEPTS)

    def below(grid: Grid) -> set[tuple[int, int]]:
        return {grid.pair(cell) for cell in np.flatnonzero(every_number(grid) < 0.05)}

    assert below(before) == {(row, column) for row, column in below(after) if row < 200}


def library(
    seed: int, decided: dict[tuple[str, str], bool], skipped: frozenset[tuple[str, str]] = frozenset()
) -> Library:
    ids = [f"{seed}-{n}" for n in range(60)]
    pictures = pa.table({"id": ids, "folder": ["f"] * 60, "pixel_hash": pa.array([None] * 60, pa.string())})
    event = Event(who="ada", verdict="accept", image_id="x", concept_id="y")
    return Library(pictures, {pair: (word, event) for pair, word in decided.items()}, skipped)


def test_a_slice_is_complete_up_to_the_first_pair_that_nobody_looked_at() -> None:
    named = [(f"1-{n}", "concept 1") for n in range(60)]
    start = UniformSlice.of(library(1, {}), table(named), CONCEPTS)
    first, bound = start.next("named", 10)
    assert set(first) <= set(named)
    assert max(permanent_number(*pair) for pair in first) == bound
    gap = first[6]
    later = UniformSlice.of(library(1, {pair: True for pair in first if pair != gap}), table(named), CONCEPTS)
    done, share = later.complete("named")
    assert (done, share) == (set(first[:6]), permanent_number(*gap))
    skipped = UniformSlice.of(
        library(1, dict.fromkeys(first[:6], True), frozenset({gap})), table(named), CONCEPTS
    )
    assert skipped.complete("named")[1] > share, "a pair that nobody can tell holds nothing up"
    whole = UniformSlice.of(library(1, dict.fromkeys(named, True)), table(named), CONCEPTS)
    assert whole.complete("named") == (set(named), 1.0)
    assert whole.complete("silent")[0] == set()


def test_by_the_slice_the_number_of_true_pairs_is_estimated_without_bias_whoever_decided_what_besides() -> (
    None
):
    estimates, truths = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pairs = [(f"{seed}-{n}", concept) for n in range(60) for concept in CONCEPTS[:20]]
        chance = rng.random(len(pairs))
        is_true = dict(zip(pairs, chance > 0.9, strict=True))
        named = [pair for pair, p in zip(pairs, chance, strict=True) if p + rng.normal(0, 0.1) > 0.8]
        # the active part of a queue: nearly all true pairs, and decided first
        decided = {pair: bool(is_true[pair]) for pair, p in zip(pairs, chance, strict=True) if p > 0.93}
        for stratum, count in (("named", 40), ("silent", 60)):
            open_slice = UniformSlice.of(library(seed, decided), table(named), CONCEPTS[:20])
            decided |= {pair: bool(is_true[pair]) for pair in open_slice.next(stratum, count)[0]}  # type: ignore[arg-type]
        at_last = UniformSlice.of(library(seed, decided), table(named), CONCEPTS[:20])
        total = 0.0
        for stratum in STRATA:
            own, share = at_last.complete(stratum)
            total += sum(decided[pair] for pair in own) / share
        estimates.append(total)
        truths.append(sum(is_true.values()))
    error = np.array(estimates) - np.array(truths)
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(len(error))
    assert abs(error.mean()) < 0.1 * np.mean(truths)
