"""make bench-tail in miniature: every remedy has its row, every way to ask its curve, and the last line is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.tail import __main__ as tail
from benchmarks.tail import curves
from benchmarks.tail.asking import QUESTION, Replies, escalated, log_odds_of_yes
from benchmarks.tail.figures import f1_interval
from resources.models.checkpoints import make_model
from resources.models.tiers import load_tier
from vistag_assets.whole_image.thresholds import f1_of


@pytest.mark.slow
def test_the_bench_ends_with_a_row_a_remedy_and_a_curve_a_strategy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MOST", 200)
    monkeypatch.setattr(curves, "SEEDS", 1)
    tail.main(["--images", "60", "--full", "2", "--home", str(tmp_path)])
    more, found = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    assert found.keys() == {"images", "concepts", "ladder", "curves", "gain_at_200"}
    assert found["images"] == 60
    assert found["ladder"][0]["remedy"] == "text"
    rows = {row["remedy"]: row for row in found["ladder"]}
    assert {"projected", "shared", "heads", "blend", "logistic heads", "contrastive", "policy"} <= rows.keys()
    assert {
        "temperature a facet",
        "full",
        "short-list of 10",
        "full: rare concepts asked of the VLM",
    } <= rows.keys()
    kept = rows["policy, thresholds: precision 0.5"]
    assert kept | {"remedy": "policy"} == rows["policy"], "thresholds change no rank"
    assert rows["short-list of 10"]["seconds_per_image"] <= rows["full"]["seconds_per_image"] + 1
    assert len(more["rows"]) == len(rows)
    for row in found["ladder"]:
        assert row.keys() == {"remedy", "tail_recall@10", "gain", "ci95", "overall", "seconds_per_image"}
        low, high = row["ci95"]
        assert low <= row["gain"] <= high
        assert 0 <= row["tail_recall@10"] <= 1
        assert row["seconds_per_image"] > 0
    assert {"queue", "queue, nothing corrected", "uncertainty", "random", "oracle"} <= found["curves"].keys()
    assert found["curves"]["queue"][-1][0] == 200
    assert found["gain_at_200"].keys() == {"A2", "full"}


def test_what_a_model_says_moves_what_was_asked_by_as_much_as_it_is_worth() -> None:
    """Every picture shows one of ten concepts; half of the pairs are asked about."""
    random, pictures, concepts = np.random.default_rng(0), 200, 10
    is_true = np.eye(concepts, dtype=bool)[random.integers(concepts, size=pictures)]
    base = np.full(is_true.shape, 0.1, np.float32)
    picture, concept = np.nonzero(random.random(is_true.shape) < 0.5)
    true = is_true[picture, concept]
    noise = random.normal(size=len(true))

    def moved(said: np.ndarray) -> np.ndarray:
        return escalated(base, Replies(picture, concept, said, 0.0), is_true)[picture, concept]

    knows, guesses, errs = moved(noise + 3 * true), moved(noise), moved(noise - 3 * true)
    assert knows[true].mean() > knows[~true].mean() + 3
    assert guesses.std() < 0.4
    assert errs.std() < 1e-5, "a yes never tells against"
    told = escalated(base, Replies(picture, concept, noise + 3 * true, 0.0), is_true)
    told[picture, concept] = np.log(1 / 9)
    assert np.allclose(told, np.log(1 / 9), atol=1e-3), "what was not asked stays"


def test_the_interval_of_an_f1_is_about_the_difference_of_the_same_pictures() -> None:
    random = np.random.default_rng(1)
    is_true = random.random((300, 4)) < 0.3
    worse, better = (
        is_true ^ (random.random(is_true.shape) < 0.3),
        is_true ^ (random.random(is_true.shape) < 0.1),
    )
    low, high = f1_interval(worse, better, is_true)
    assert 0 < low < f1_of(better, is_true) - f1_of(worse, is_true) < high
    assert f1_interval(better, better, is_true) == (0, 0)


@pytest.mark.slow
def test_log_odds_of_yes_are_those_of_the_model_itself() -> None:
    """By one pass of the bundled model over question and answer."""
    import torch

    tier = load_tier("demo")
    assert tier.vlm
    vlm = make_model(tier.vlm, "cpu")
    crops = [Image.new("RGB", (40, 60), colour) for colour in ("red", "white")]
    prompts = [QUESTION.format(label=label) for label in ("key", "winged bowl")]
    said = log_odds_of_yes(vlm, crops, prompts)
    for image, prompt, odds in zip(crops, prompts, said, strict=True):
        likely = {}
        for word in ("yes", "no"):
            inputs = vlm._inputs([(image, prompt)])
            own = torch.tensor([vlm.tokenizer(f'"{word}"', add_special_tokens=False)["input_ids"]])
            ids = torch.cat([inputs.pop("input_ids"), own], dim=1)
            inputs["attention_mask"] = torch.ones_like(ids)
            with torch.inference_mode():
                logits = vlm.model(input_ids=ids, **inputs).logits[0].log_softmax(dim=-1)
            steps = range(ids.shape[1] - own.shape[1] - 1, ids.shape[1] - 1)
            likely[word] = sum(float(logits[step, ids[0, step + 1]]) for step in steps)
        assert odds == pytest.approx(likely["yes"] - likely["no"], abs=1e-2)
