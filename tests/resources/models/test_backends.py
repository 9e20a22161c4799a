"""`backend:` of a line of a tier: which families have one, and what is said where it cannot be had."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.detectors import DetectorSpec
from resources.models.detectors.grounding_dino import GroundingDinoDetector
from resources.models.encoders import EncoderSpec
from resources.models.segmenters import SegmenterSpec
from resources.models.tiers import load_tier

SPECS: dict[str, Any] = {"detector": DetectorSpec, "segmenter": SegmenterSpec, "encoder": EncoderSpec}


def test_a_line_of_a_tier_names_its_backend_and_runs_in_single_precision(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    tier = {
        "description": "d", "device": "cpu", "encoder": "google/siglip2-base-patch16-256",
        "detector": {"model": "IDEA-Research/grounding-dino-tiny", "backend": "groundingdino-py"},
        "segmenter": {"model": "facebook/sam2.1-hiera-tiny", "backend": "sam2"},
    }  # fmt: skip
    path.write_text(json.dumps(tier))
    loaded = load_tier(str(path))
    assert loaded.detector is not None
    assert loaded.segmenter is not None
    assert (loaded.detector.family, loaded.detector.dtype) == ("grounding-dino", "float32")
    assert loaded.detector.implementation().__name__ == "GroundingDinoPackage"
    assert (loaded.segmenter.family, loaded.segmenter.dtype) == ("sam2", "float32")
    assert loaded.segmenter.implementation().__name__ == "Sam2Package"
    assert (
        DetectorSpec.model_validate("IDEA-Research/grounding-dino-tiny").implementation()
        is GroundingDinoDetector
    )


@pytest.mark.parametrize(
    ("role", "line", "told"),
    [
        ("detector", {"model": "google/owlv2-base-patch16-ensemble", "backend": "groundingdino-py"},
         r"family owlv2 has no 'groundingdino-py'; it has its own code only \(groundingdino-py runs the family grounding-dino\)"),
        ("segmenter", {"model": "facebook/sam2.1-hiera-tiny", "backend": "hydra"}, r"family sam2 has no 'hydra'; it has sam2"),
        ("encoder", {"model": "google/siglip2-base-patch16-256", "backend": "open_clip"}, r"has its own code only"),
        ("segmenter", {"model": "facebook/sam2.1-hiera-tiny", "backend": "sam2", "dtype": "bfloat16"},
         "runs in float32; leave `dtype`"),
        ("detector", {"model": "m", "family": "groundingdino-py", "licence": "own"},
         "write `family: grounding-dino` and `backend: groundingdino-py`"),
    ],
)  # fmt: skip
def test_a_backend_that_is_none_is_told(role: str, line: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SPECS[role].model_validate(line)


@pytest.mark.parametrize(
    ("role", "family", "backend", "module"),
    [
        ("detector", "grounding-dino", "groundingdino-py", "groundingdino"),
        ("segmenter", "sam2", "sam2", "sam2"),
    ],
)
def test_a_package_that_is_missing_is_told_with_the_command(
    role: str, family: str, backend: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before any work, and before the checkpoint is looked for."""
    monkeypatch.setitem(sys.modules, module, None)
    fields = {"family": family, "backend": backend, "model": str(tmp_path), "licence": "own"}
    with pytest.raises(
        ModelUnavailableError,
        match=rf"needs a package.*pip install .*--no-deps.* {backend} .*leave `backend` out",
    ):
        make_model(SPECS[role].model_validate(fields), "cpu")
