"""The benchmark of search, in miniature."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.search.__main__ import main
from benchmarks.search.vectors import DIMENSION, World

FIGURES = {"recall@10", "p50_ms", "p99_ms", "resident_mib", "build_s", "file_mib", "filtered_recall@10"}


@pytest.mark.slow
def test_engines_find_the_same_and_the_last_line_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--vectors", "3000", "--queries", "20", "--skip", "usearch", "lancedb"])
    out, told = capfd.readouterr()
    result = json.loads(out.splitlines()[-1])
    assert set(result) == {"vectors", "exact", "duckdb", "usearch", "lancedb", "ours"}
    assert (result["vectors"], result["usearch"], result["lancedb"]) == (3000, None, None)
    for engine in ("exact", "duckdb", "ours"):
        assert result[engine].keys() >= FIGURES
        assert result[engine]["recall@10"] >= 0.99  # halves and floats differ at ties
        assert result[engine]["filtered_recall@10"] >= 0.99
    assert result["ours"]["add_1000_s"] > 0
    assert "add_1000" in told


def test_the_vectors_are_seeded_and_lie_in_clusters() -> None:
    first, again, others = World().draw(2000, 1), World().draw(2000, 1), World().draw(2000, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, others)
    assert first.shape == (2000, DIMENSION)
    cosines = np.sort(first.astype(np.float32) @ first.astype(np.float32).T, axis=1)
    assert 0.4 < cosines.mean() < 0.5
    assert (
        cosines[:, -2].mean() > 0.6
    )  # of 2,000 the nearest; noise of as many dimensions would be near the mean
