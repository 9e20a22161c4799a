"""make bench-tail in miniature: every remedy has its row, every way to ask its curve, and the last line is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import tail, tail_curves


@pytest.mark.slow
def test_the_bench_ends_with_a_row_a_remedy_and_a_curve_a_strategy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_curves, "MOST", 200)
    monkeypatch.setattr(tail_curves, "SEEDS", 1)
    tail.main(["--images", "60", "--full", "0", "--home", str(tmp_path)])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["images"] == 60
    assert found["ladder"][0]["remedy"] == "text"
    assert {"projected", "shared", "heads", "blend", "logistic heads", "contrastive", "policy"} <= {
        row["remedy"] for row in found["ladder"]
    }
    for row in found["ladder"]:
        low, high = row["ci95"]
        assert low <= row["gain"] <= high
        assert 0 <= row["tail_recall@10"] <= 1
        assert row["seconds_per_image"] > 0
    assert {"queue", "queue, nothing corrected", "uncertainty", "random", "oracle"} <= found["curves"].keys()
    assert found["curves"]["queue"][-1][0] == 200
    assert "A2" in found["gain_at_200"]
