"""make bench-prompts in miniature: every way to ask has its row, and those that are chosen are chosen on other pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import prompts
from benchmarks.prompts import Chooser, wordings
from demo.world.hard.world import hard_taxonomy
from vistag_assets.whole_image.adapter_policy import Texts
from vistag_assets.whole_image.adapters import Examples
from vistag_assets.whole_image.scoring import unit_rows


def test_every_way_asks_for_every_concept() -> None:
    taxonomy = hard_taxonomy()
    ids = sorted(taxonomy.by_id)
    ways = wordings(taxonomy, ids)
    assert all(list(phrases) == ids and all(phrases.values()) for phrases in ways.values())
    assert ways == wordings(taxonomy, ids), "random words are the same ones each time"


def test_of_two_ways_the_one_that_finds_the_examples_is_chosen_for_each_group() -> None:
    """The first way is right for the first half of the concepts, the second for the rest."""
    draw = np.random.default_rng(0)
    concepts, pictures = 12, 240
    right = unit_rows(draw.normal(size=(concepts, 32)).astype(np.float32))
    shown = np.arange(pictures) % concepts
    vectors = unit_rows((right[shown] + 0.1 * draw.normal(size=(pictures, 32))).astype(np.float32))
    examples = Examples(vectors, np.arange(pictures), shown, concepts)
    half = np.arange(concepts) >= concepts // 2
    one, other = right.copy(), right.copy()
    one[half], other[~half] = -right[half], -right[~half]
    chosen = Chooser([Texts(one, 10.0), Texts(other, 10.0)], half.astype(np.intp)).vectors(examples)
    np.testing.assert_array_equal(chosen, right)


@pytest.mark.slow
def test_the_bench_ends_with_a_row_a_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts.main(["--images", "40", "--home", str(tmp_path)])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    named = {row["remedy"] for row in found["ladder"]}
    assert {
        "definition",
        "random words",
        "descriptors",
        "shortest label, centred",
        "chosen a facet, centred",
    } <= named
    assert all(row["ci95"][0] <= row["gain"] <= row["ci95"][1] for row in found["ladder"])
