"""The benchmark of the review queue, in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hand_made_lake import IDS, make_home, tables, write

from benchmarks.review import Reviewer, Truth, decisions_for, main
from resources.tables import FREQUENCY_BANDS
from vistag_assets.review.uniform import permanent_number

A, B, C = IDS


def test_each_way_to_choose_is_counted_on_the_real_queue(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = make_home(tmp_path)
    write(home, "tags", [{**row, "state": "machine"} for row in tables()["tags"]])
    true = [(A, "bowl"), (A, "vase"), (B, "bowl")]
    home.lake.write(
        "ground_truth", pa.table({"id": [i for i, _ in true], "concept_id": [c for _, c in true]})
    )
    bands = [
        {"concept_id": name, "band": band, "lvis_band": "rare", "images": 1, "rank": rank}
        for rank, (name, band) in enumerate((("bowl", "head"), ("vase", "tail")), start=1)
    ]
    home.lake.write("frequency_bands", pa.Table.from_pylist(bands, FREQUENCY_BANDS.schema))
    # by their last digits a and c are of one half, b of the other
    main(["--home", str(home.root), "--decisions", "3", "--part", "held-out"])
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    curves = told["curves"]["0.00"]
    assert set(curves) == {"queue", "likeliest", "uncertainty", "random", "random_pairs"}
    assert curves["likeliest"][-1] == [3, 1]
    assert curves["queue"][-1][1] == 1
    assert told["share_of_decisions_for_the_same"]["0.00"]["likeliest"] <= 1
    assert home.decisions.file is not None
    assert not home.decisions.file.exists(), "it works on a copy"


def test_a_reviewer_errs_in_the_same_pairs_each_time_and_wrong_answers_find_nothing() -> None:
    pairs = [(f"{n}", "vase") for n in range(2000)]
    truth = Truth(frozenset(pairs), frozenset(pairs))
    reviewer = Reviewer(truth, 0.1)
    wrong = [pair for pair in pairs if not reviewer.accepts(pair)]
    assert 150 < len(wrong) < 250
    assert reviewer.found == len(pairs) - len(wrong)
    assert all(permanent_number(f"error {id_}", concept) < 0.1 for id_, concept in wrong)
    nothing = Reviewer(Truth(frozenset(), frozenset()), 0.1)
    assert sum(nothing.accepts(pair) for pair in pairs) == len(wrong)
    assert nothing.found == 0


def test_how_many_decisions_a_curve_needs_is_read_between_its_points() -> None:
    curve = [[0, 0], [20, 10], [40, 10], [60, 30]]
    assert decisions_for(curve, 5) == 10
    assert decisions_for(curve, 10) == 20
    assert decisions_for(curve, 20) == 50
    assert decisions_for(curve, 31) is None
    assert decisions_for(curve, 0) == 0
