"""The training of the demo encoder: batches are what they claim, and a resumed run is the same run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demo.training.export_encoder import fit_calibration, fit_line, save_checkpoint
from demo.training.pool import IMAGE_PX as POOL_PX
from demo.training.pool import OWNER_PX
from demo.training.train_encoder import (
    IMAGE_PX,
    PATCH_PX,
    Recipe,
    Trainer,
    patch_owners,
    pixels,
    quick_recall,
    truth_columns,
)
from resources.models.checkpoints import make_model
from resources.models.encoders import EncoderSpec, Platt
from taxonomy import starter_taxonomy

GRID = IMAGE_PX // PATCH_PX
TINY = Recipe(
    train_scenes=12,
    validate_scenes=6,
    batch_images=4,
    steps=4,
    cooldown_steps=1,
    again_steps=1,
    warmup_steps=1,
    early_steps=2,
    captioned_images=2,
    vision_width=56,
    vision_layers=1,
    text_width=40,
    text_layers=1,
)


def _weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_patches_belong_to_the_thing_under_their_centre() -> None:
    owners = np.zeros((1, OWNER_PX, OWNER_PX), np.uint8)
    owners[0, : OWNER_PX // 2, : OWNER_PX // 2] = 3
    upright = patch_owners(owners, (POOL_PX, 0, 0, False), POOL_PX, GRID).reshape(GRID, GRID)
    assert (upright[: GRID // 2, : GRID // 2] == 3).all()
    assert (upright == 3).sum() == (GRID // 2) ** 2
    mirrored = patch_owners(owners, (POOL_PX, 0, 0, True), POOL_PX, GRID).reshape(GRID, GRID)
    assert torch.equal(mirrored, upright.flip(1))


def test_pixels_and_owners_are_cropped_alike() -> None:
    image = np.zeros((1, POOL_PX, POOL_PX, 3), np.uint8)
    image[:, :, POOL_PX // 2 :] = 255
    owners = np.zeros((1, OWNER_PX, OWNER_PX), np.uint8)
    owners[:, :, OWNER_PX // 2 :] = 1
    for seed in range(8):
        batch, crop = pixels(image, np.random.default_rng(seed))
        shown = batch[0, 0, PATCH_PX // 2 :: PATCH_PX, PATCH_PX // 2 :: PATCH_PX] > 0
        owned = patch_owners(owners, crop, POOL_PX, GRID).reshape(GRID, GRID) == 1
        assert (shown == owned).float().mean() >= 0.9


def test_seeing_a_thing_makes_its_broader_concepts_true() -> None:
    taxonomy = starter_taxonomy()
    concepts = ["amphora", *sorted(taxonomy.ancestors("amphora")), "marble"]
    implied = truth_columns(taxonomy, concepts, ["amphora"])
    assert len(concepts) > 2
    assert implied.tolist() == [[1.0] * (len(concepts) - 1) + [0.0]]


def test_quick_recall_by_hand() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 1]], bool)
    scores = np.array([[0.9, 0.1, 0.5], [0.1, 0.2, 0.9]], np.float32)
    recall = quick_recall(scores, truth, k=1)
    assert recall["overall"] == 2 / 4
    assert recall["head"] == 1 / 2


def test_calibration_turns_logits_into_frequencies() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2000, 3)).astype(np.float32)
    truth = rng.random(logits.shape) < 1 / (1 + np.exp(-(0.5 * logits + np.array([-3, -1, 1]))))
    calibration = fit_calibration(logits, truth, ["rare", "common", "frequent"])
    lines = [calibration["concepts"][c] for c in ("rare", "common", "frequent")]
    assert [line["intercept"] for line in lines] == pytest.approx([-3, -1, 1], abs=0.3)
    assert [line["slope"] for line in lines] == pytest.approx([0.5] * 3, abs=0.1)


def test_a_concept_without_examples_stays_near_the_line_of_all() -> None:
    around, spread = Platt(0.8, -2.0), Platt(0.3, 2.5)
    nothing = fit_line(np.empty(0, np.float32), np.empty(0, bool), around, spread)
    assert nothing == around
    one = fit_line(np.array([3.0], np.float32), np.array([True]), around, spread)
    assert one.slope == pytest.approx(0.8, abs=0.3)
    assert one.intercept > around.intercept


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = Trainer(TINY, tmp_path, workers=1)
    for _ in range(TINY.steps):
        whole.advance()
    first = Trainer(TINY, tmp_path, workers=1)
    for _ in range(2):
        first.advance()
    first.save()
    second = Trainer(TINY, tmp_path, workers=1)
    second.resume()
    while second.step < TINY.steps:
        second.advance()
    torch.testing.assert_close(_weights(second), _weights(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_an_exported_checkpoint_embeds_as_the_trained_model_does(tmp_path: Path) -> None:
    trainer = Trainer(TINY, tmp_path, workers=1)
    while trainer.step < TINY.steps:
        trainer.advance()
    trainer.save()
    save_checkpoint(tmp_path / "state.pt", tmp_path / "tokenizer", TINY, tmp_path / "out")
    spec = EncoderSpec(family="siglip", model=str(tmp_path / "out"), licence="Apache-2.0")
    encoder = make_model(spec, "cpu")
    square = np.asarray(trainer.validate.images[:3])[:, 8:168, 8:168]
    ours = encoder.embed_images([Image.fromarray(image) for image in square])
    batch = torch.from_numpy(square.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        trained = trainer.model.eval().get_image_features(pixel_values=batch).pooler_output
    trained = torch.nn.functional.normalize(trained, dim=-1).numpy()
    assert (ours * trained).sum(axis=1) == pytest.approx(1, abs=1e-3)


def test_export_refuses_an_unfinished_run(tmp_path: Path) -> None:
    torch.save({"step": 1, "model": {}}, tmp_path / "state.pt")
    (tmp_path / "tokenizer").mkdir()
    with pytest.raises(SystemExit, match="step 1 of 4"):
        save_checkpoint(tmp_path / "state.pt", tmp_path / "tokenizer", TINY, tmp_path / "out")
