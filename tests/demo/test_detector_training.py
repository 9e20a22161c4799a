"""The training of the bundled detector, in miniature, and the checkpoint it leaves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from demo.training.export_detector import save_checkpoint
from demo.training.pool import PoolRecipe, build_pool
from demo.training.train_detector import (
    GRID,
    OWNER_PX,
    POOL_PX,
    Recipe,
    Trainer,
    band_recall,
    best_detections,
    make_batch,
    visible_boxes,
)
from demo.world.scene import Split

ENCODER = Path(__file__).parents[2] / "demo" / "checkpoints" / "encoder"
TINY = Recipe(
    train_scenes=8, validate_scenes=4, batch_images=4, steps=3, warmup_steps=1, text_steps=2, text_batch=8
)


def test_boxes_enclose_what_can_be_seen() -> None:
    owners = np.zeros((1, 10, 10), np.int64)
    owners[0, 2:5, 3:9] = 1
    owners[0, 4, 4] = 2
    boxes = visible_boxes(owners, 3)
    assert boxes[0].tolist() == [
        pytest.approx([0.3, 0.2, 0.9, 0.5]),
        pytest.approx([0.4, 0.4, 0.5, 0.5]),
        [0, 0, 0, 0],
    ]


def test_band_recall_by_hand() -> None:
    columns = np.array([0] * 6 + [1] * 3 + [2])
    iou = np.array([0.9, 0.8, 0.6, 0.4, 0.2, 0.0, 0.7, 0.1, 0.1, 0.55])
    recall = band_recall(columns, iou)
    assert recall == {
        "overall": 0.5,
        "head": 3 / 6,
        "body": 1 / 3,
        "tail": 1.0,
        "overall@0.75": pytest.approx(0.2),
    }


def test_of_overlapping_boxes_of_one_concept_the_surest_stays() -> None:
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.52], [0.6, 0.6, 0.9, 0.9]])
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.05]])
    kept, columns, kept_scores = best_detections(boxes, scores)
    of_first = [round(float(s), 2) for s, c in zip(kept_scores, columns, strict=True) if c == 0]
    assert of_first == [0.9, 0.3]
    assert len(kept) == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("detector")


@pytest.mark.slow
def test_patches_boxes_and_pixels_stay_together(folder: Path) -> None:
    recipe = PoolRecipe(Split.TRAIN, 6, 0.8, image_px=POOL_PX, owner_px=OWNER_PX, padded=True)
    pool = build_pool(folder / "pool", recipe, 1)
    for seed in range(6):
        batch = make_batch(pool, np.arange(6), np.random.default_rng(seed), 0.3)
        for image, box in torch.argwhere(batch.boxes[..., 2] > 0).tolist():
            x0, y0, x1, y1 = batch.boxes[image, box].tolist()
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            patches = (batch.owner[image] == box + 1).nonzero()[:, 0]
            for patch in patches.tolist():
                x, y = (patch % GRID + 0.5) / GRID, (patch // GRID + 0.5) / GRID
                assert x0 - 0.5 / GRID <= x <= x1 + 0.5 / GRID
                assert y0 - 0.5 / GRID <= y <= y1 + 0.5 / GRID


@pytest.mark.slow
def test_an_exported_detector_finds_what_the_trained_model_finds(folder: Path) -> None:
    trainer = Trainer(TINY, folder, ENCODER, workers=1)
    trainer.resume()
    while trainer.step < TINY.steps:
        trainer.advance()
    trainer.save()
    again = Trainer(TINY, folder, ENCODER, workers=1)
    again.resume()
    assert again.step == TINY.steps
    save_checkpoint(folder / "state.pt", folder / "tokenizer", ENCODER, TINY, folder / "out")
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder / "out", dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder / "out")
    square = Image.fromarray(trainer.validate.images[0])
    inputs = processor(images=square, text=[["bowl", "vase"]], return_tensors="pt")
    again.model.eval()
    with torch.inference_mode():
        found = model(**inputs)
        batch = make_batch(trainer.validate, np.arange(1), None, 1.0)
        logits, boxes, _ = again.predict(batch.pixels, again.texts)
    centre, size = found.pred_boxes[0].split(2, dim=-1)
    exported = torch.cat([centre - size / 2, centre + size / 2], dim=-1)
    assert box_iou(exported, boxes[0]).diagonal().min() > 0.9
    names = [again.concepts[i] for i in again.dense]
    ours = logits[0][:, [names.index("bowl"), names.index("vase")]]
    torch.testing.assert_close(found.logits[0], ours, rtol=0.05, atol=0.1)


def test_export_refuses_an_unfinished_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"step": 1, "model": {}}, tmp_path / "state.pt")
    with pytest.raises(SystemExit, match="stands at step 1 of 3"):
        save_checkpoint(tmp_path / "state.pt", tmp_path / "tokenizer", ENCODER, TINY, tmp_path / "out")
