"""`vistag doctor` and `vistag models`, as people run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from resources.models.registry import registry
from resources.models.roles import ROLES
from vistag_assets.cli import app
from vistag_assets.cli.doctor import sample_image


def vistag(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_the_doctor_loads_every_model_of_the_demo_and_tells_what_it_saw(tmp_path: Path) -> None:
    told = vistag("doctor", "--tier", "demo", "--home", str(tmp_path))
    assert told.exit_code == 0, told.output
    for role in ("encoder", "detector", "segmenter", "vlm", "ocr"):
        assert f"ok {role} " in told.output
    assert "Pictures are decoded under " in told.output
    assert "the best vase" in told.output
    assert "vase with gilding" in told.output
    assert "1853.87" in told.output
    plain, drawn = np.asarray(sample_image()), np.asarray(Image.open(tmp_path / "doctor" / "demo.jpg"))
    assert drawn.shape == plain.shape
    assert (np.abs(drawn.astype(int) - plain).max(axis=2) > 60).mean() > 0.05  # boxes, labels and a mask


def test_what_does_not_run_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    tier = tmp_path / "mine.yaml"
    encoder = {"family": "siglip", "model": str(empty), "licence": "own"}
    tier.write_text(json.dumps({"description": "d", "device": "cpu", "encoder": encoder, "ocr": {}}))
    picture = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), "grey").save(picture)
    told = vistag("doctor", "--tier", str(tier), "--image", str(picture), "--home", str(tmp_path), "--trace")
    assert told.exit_code == 1
    assert "failed encoder empty" in told.output
    assert "holds no checkpoint (config.json is missing)" in told.output
    assert "Traceback" in told.output
    assert "ok ocr rapidocr" in told.output
    assert "1 of the models of the tier mine did not run" in told.output


def test_the_listing_names_every_checkpoint_and_fits_a_terminal() -> None:
    told = vistag("models").output
    for family in registry().families:
        for row in family.checkpoints:
            assert row.model[:30] in told
    assert max(len(line) for line in told.splitlines()) <= 80


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_be_asked_for_and_read_by_programs(role: str) -> None:
    rows = json.loads(vistag("models", "--role", role, "--json").output)
    assert {row["role"] for row in rows} <= {role}


def test_an_unknown_role_lists_the_known_ones() -> None:
    told = vistag("models", "--role", "painter")
    assert told.exit_code == 1
    assert "Roles: encoder, detector" in told.output
