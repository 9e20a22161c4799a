"""`make gpu-check` without a card: it runs to its end, and what it measures on one is told and written as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from services import ROOT, environment

from benchmarks.architectures import ARCHITECTURES, Architecture
from benchmarks.gpu_check.checks import Check, Failed, Result, Skipped, made
from benchmarks.gpu_check.models import cosine_of_precisions, model_checks
from benchmarks.gpu_check.page import written_into


def raising(error: Exception) -> Check:
    def run() -> dict[str, float]:
        raise error

    return Check("memory", "a model", run)


@pytest.mark.slow
def test_a_dry_run_goes_through_every_check_and_ends_with_json(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--dry", "--page", str(page)]
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["card"].startswith("none")
    status = {check["subject"]: check["status"] for check in told["checks"]}
    assert status["google/siglip2-so400m-patch14-384"] == "passed"
    assert "failed" not in status.values()
    assert not page.exists()  # nothing was measured on a card


def test_every_model_of_a_gpu_tier_is_checked_at_its_published_size() -> None:
    subjects = {check.subject for check in model_checks("cpu")}
    assert subjects <= {architecture.model for architecture in ARCHITECTURES}
    assert "facebook/sam2.1-hiera-large" in subjects


def test_half_precision_is_compared_with_single_on_the_same_weights() -> None:
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tiny: Architecture = replace(
        ARCHITECTURES[0],
        config={
            "vision_config": tower | {"image_size": 256, "patch_size": 16},
            "text_config": tower | {"vocab_size": 99, "projection_size": 32},
        },
    )
    torch.manual_seed(0)
    model = tiny.build()
    with torch.no_grad():
        model.vision_model.embeddings.position_embedding.weight.normal_()
    assert 0.99 < cosine_of_precisions(model, tiny, torch.bfloat16, "cpu") < 1
    with torch.no_grad():
        model.vision_model.post_layernorm.weight.fill_(1e30)  # beyond what float16 holds
    with pytest.raises(Failed, match="another answer"):
        cosine_of_precisions(model, tiny, torch.float16, "cpu")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Skipped("no GPU"), "skipped", "no GPU"),
        (Failed("too much", {"peak_gib": 3.0}), "failed", "too much"),
        (RuntimeError("CUDA error:\n device-side assert"), "failed", "RuntimeError: CUDA error: device-side assert"),
    ],
)  # fmt: skip
def test_a_check_that_fails_ends_no_other(error: Exception, status: str, reason: str) -> None:
    result = made(raising(error), 100)
    assert (result.status, result.reason) == (status, reason)
    assert made(raising(error), 5).reason == "5 s were left"


def test_the_page_holds_the_last_results_alone() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text()
    first = Result("memory", "a|b", "passed", 2.4, figures={"peak_gib": 1.23456})
    second = Result("memory", "c", "failed", 0.0, "too much")
    once = written_into(page, "Card", "2026-11-27", [first])
    assert "| passed | memory | a|b | peak gib 1.235 | 2 |" in once
    twice = written_into(once, "Other", "2026-11-28", [second])
    assert "| failed | memory | c | too much | 0 |" in twice
    assert "2026-11-27" not in twice
    assert twice.startswith(page.partition("<!-- results -->")[0])
    assert twice.endswith(page.partition("<!-- end of results -->")[2])
