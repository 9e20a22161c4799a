"""`make fit-fusion`, small: real scenes, the real graph, a tiny random encoder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import save_tiny_siglip

from demo.corpus import CorpusRecipe
from demo.training.fit_fusion import main
from demo.world.scene import Split
from evaluation.held_out import TRAINING_CARD, read_card
from vistag_assets.tags.fusion import read_fusion


def test_scenes_of_another_split_are_other_scenes() -> None:
    corpus = CorpusRecipe(10, 1, seed=0)
    calibration = CorpusRecipe(10, 1, seed=0, split=Split.CALIBRATE)
    assert corpus.split == Split.CORPUS
    assert {corpus.scene(n).digest for n in range(10)}.isdisjoint(
        calibration.scene(n).digest for n in range(10)
    )


@pytest.mark.slow
def test_the_command_writes_a_fusion_of_what_the_tier_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = {"family": "siglip", "model": str(save_tiny_siglip(tmp_path / "tiny")), "licence": "own"}
    tier = tmp_path / "tiny.yaml"
    fields = {"description": "tiny", "device": "cpu", "keep_top": 1000, "fusion": "not-yet.json"}
    tier.write_text(json.dumps(fields | {"encoder": encoder}))
    arguments = ["--images", "15", "--tier", str(tier), "--home", str(tmp_path / "home")]
    monkeypatch.setattr(sys, "argv", ["fit_fusion", *arguments, "--out", str(tmp_path / "out" / "f.json")])
    main()
    fusion = read_fusion(tmp_path / "out" / "f.json")
    assert set(fusion.models) == {frozenset({"global"})}
    assert fusion.fitted_on["true_pairs"] >= 3 * 15  # an object, a material and a setting at least
    figures = fusion.fitted_on["cross_validated"]
    assert 0 <= figures["global"]["recall@10"]["overall"] <= 1
    assert figures["global"]["reliability"]["expected_error"] < 0.2
    card = read_card("fusion", tmp_path / "out" / TRAINING_CARD)
    assert card is not None
    assert card.splits == {"calibrate"}
    assert "tag_scores" in capsys.readouterr().out
