"""The families of Segment Anything against the transformers library itself, on tiny random checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from image_zoo import picture
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_segmenters import save_tiny_edgetam, save_tiny_sam, save_tiny_sam2, save_tiny_sam3

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.segmenters import Masks, SegmenterSpec
from resources.models.segmenters.sam import CLASSES, Sam

SAVE: dict[str, Callable[..., Path]] = {
    "sam": save_tiny_sam,
    "sam2": save_tiny_sam2,
    "sam3": save_tiny_sam3,
    "edgetam": save_tiny_edgetam,
}
FAMILIES = sorted(SAVE)
SIZES = [(128, 128), (97, 61), (300, 31), (33, 501), (64, 200), (201, 199), (17, 23), (640, 480)]
BOXES = np.array(
    [[0.1, 0.2, 0.3, 0.6], [0.6, 0.2, 0.25, 0.7], [0, 0, 1, 1], [0.3, 0.1, 0.05, 0.4], [0.5, 0.5, 0.5, 0.5]],
    dtype=np.float32,
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: save(tmp_path_factory.mktemp(family)) for family, save in SAVE.items()}


def segmenter(family: str, checkpoint: Path, **changes: object) -> Sam:
    fields = {"family": family, "model": str(checkpoint), "batch_size": 2, "licence": "Apache-2.0"}
    found = make_model(SegmenterSpec.model_validate(fields | changes), "cpu")
    assert isinstance(found, Sam)
    return found


def one_box_at_a_time(family: str, checkpoint: Path, images: list[Image.Image]) -> list[Masks]:
    """As the documentation of transformers does it: processor, model, post_process_masks."""
    processor_class, model_class = (getattr(transformers, name) for name in CLASSES[family])
    processor, model = processor_class.from_pretrained(checkpoint), model_class.from_pretrained(checkpoint)
    answers = []
    for image in images:
        masks, scores = [], []
        for x, y, w, h in BOXES.astype(float):
            corners = [x * image.width, y * image.height, (x + w) * image.width, (y + h) * image.height]
            inputs = processor(images=image, input_boxes=[[corners]], return_tensors="pt")
            with torch.inference_mode():
                outputs = model.eval()(**inputs, multimask_output=False)
            sizes = [inputs["original_sizes"]]
            if family == "sam":
                sizes.append(inputs["reshaped_input_sizes"])
            masks.append(processor.post_process_masks(outputs.pred_masks, *sizes)[0][0, 0].numpy())
            scores.append(float(outputs.iou_scores[0, 0, 0]))
        answers.append(Masks(np.stack(masks), np.array(scores, dtype=np.float32), ()))
    return answers


@pytest.mark.parametrize("family", FAMILIES)
def test_sam_equals_the_library_one_box_at_a_time(family: str, checkpoints: dict[str, Path]) -> None:
    images = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
    expected = one_box_at_a_time(family, checkpoints[family], images)
    ours = segmenter(family, checkpoints[family])
    for image, reference in zip(images, expected, strict=True):
        found = ours.segment(image, BOXES)
        assert found.masks.shape == (5, image.height, image.width)
        assert found.methods == (family,) * 5
        # a logit of 0 within float error falls on either side
        assert (found.masks != reference.masks).mean() < 1e-3
        np.testing.assert_allclose(found.scores, np.clip(reference.scores, 0, 1), atol=1e-5)
    # random weights, and yet the answers depend on the box and on the image
    assert all(np.ptp(reference.scores) > 0.03 for reference in expected)
    assert np.ptp([reference.scores[0] for reference in expected]) > 0.03
    assert all(0.01 < reference.masks.mean() < 0.99 for reference in expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_sam_gives_a_box_the_same_mask_in_every_batch(family: str, checkpoints: dict[str, Path]) -> None:
    image = picture(150, 90)
    one, many = (segmenter(family, checkpoints[family], batch_size=size) for size in (1, 64))
    five = np.concatenate([BOXES[:2], BOXES[:2], BOXES[:1]])
    np.testing.assert_allclose(one.segment(image, five).scores, many.segment(image, five).scores, atol=1e-6)
    assert (one.segment(image, five).masks != many.segment(image, five).masks).mean() < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_sam_runs_at_sixteen_bits(family: str, checkpoints: dict[str, Path]) -> None:
    image = picture(150, 90)
    full = segmenter(family, checkpoints[family]).segment(image, BOXES)
    half = segmenter(family, checkpoints[family], dtype="bfloat16").segment(image, BOXES)
    np.testing.assert_allclose(half.scores, full.scores, atol=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_boxes_no_masks(family: str, checkpoints: dict[str, Path]) -> None:
    ours = segmenter(family, checkpoints[family], batch_size=3)
    found = ours.segment(Image.new("RGB", (40, 30)), np.zeros((0, 4), dtype=np.float32))
    assert (found.masks.shape, found.scores.shape, found.methods) == ((0, 30, 40), (0,), ())


def test_a_segmenter_loads_its_weights_when_they_are_needed(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    ours = segmenter("sam2", checkpoints["sam2"], batch_size=7)
    assert "model" not in vars(ours)
    assert ours.fingerprint == segmenter("sam2", checkpoints["sam2"]).fingerprint
    other = segmenter("sam2", save_tiny_sam2(tmp_path, seed=1))
    assert ours.fingerprint != other.fingerprint != segmenter("sam2", tmp_path, dtype="float16").fingerprint
    ours.load()
    assert "model" in vars(ours)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_that_lacks_weights_is_refused(
    family: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    damaged = shutil.copytree(checkpoints[family], tmp_path / family)
    weights = load_file(damaged / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "iou_pred" not in name},
        damaged / "model.safetensors",
    )
    with pytest.raises(ModelUnavailableError, match=r"lacks weights.*iou_prediction"):
        segmenter(family, damaged).load()
