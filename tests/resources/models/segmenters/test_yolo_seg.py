"""YOLO-seg and FastSAM as segmenters: an ONNX file written here against what its outputs mean, spelt out one mask at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from image_zoo import picture
from PIL import Image
from tiny_onnx import CLASSES, PROTOTYPES, YOLO_PX, yolo_seg
from torchvision.ops import box_iou, nms

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.segmenters import Masks, SegmenterSpec
from resources.models.segmenters.masks import filled_box
from resources.models.segmenters.yolo_seg import YoloSegmenter

SIZES = ((64, 64), (128, 64), (61, 40), (40, 61), (97, 33), (33, 97), (200, 150))
IMAGES = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
MANNER = {"yolo-seg": (0.25, 0.7), "fastsam": (0.4, 0.9)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "tiny-seg.onnx"
    path.write_bytes(yolo_seg())
    return path


def segmenter(file: Path, family: str = "yolo-seg", **changes: object) -> YoloSegmenter:
    fields = {"family": family, "model": str(file), "licence": "own", "dtype": "float32"}
    made = make_model(SegmenterSpec.model_validate(fields | changes), "cpu")
    assert isinstance(made, YoloSegmenter)
    return made


def things(
    file: Path, image: Image.Image, min_score: float, overlap: float
) -> list[tuple[list[float], float, np.ndarray]]:
    """(left, top, right, bottom in pixels, score, mask [height, width]) of what the file sees, the surest of a class first."""
    import cv2

    width, height = image.size
    gain = min(YOLO_PX / width, YOLO_PX / height)
    inner = max(round(width * gain), 1), max(round(height * gain), 1)
    left, top = (YOLO_PX - inner[0]) // 2, (YOLO_PX - inner[1]) // 2
    pixels = np.asarray(image.convert("RGB"))
    small = pixels if image.size == inner else cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
    square = np.full((YOLO_PX, YOLO_PX, 3), 114, np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = small
    given = square.transpose(2, 0, 1)[None].astype(np.float32) / 255
    found, prototypes = map(torch.from_numpy, onnxruntime.InferenceSession(file).run(None, {"images": given}))
    rows = found[0].T
    scores, classes = rows[:, 4 : 4 + len(CLASSES)].max(dim=1)
    centre, size = rows[:, :2], rows[:, 2:4]
    corners = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    corners = (
        (corners - torch.tensor([left, top, left, top]))
        / torch.tensor(inner).repeat(2)
        * torch.tensor(image.size).repeat(2)
    )
    answer = []
    for class_ in range(len(CLASSES)):
        own = torch.nonzero((classes == class_) & (scores >= min_score))[:, 0]
        for place in own[nms(corners[own], scores[own], overlap)].tolist():
            logits = (rows[place, -PROTOTYPES:] @ prototypes[0].flatten(1)).view(
                1, 1, YOLO_PX // 4, YOLO_PX // 4
            )
            y = (top + (torch.arange(height) + 0.5) * inner[1] / height) / YOLO_PX * 2 - 1
            x = (left + (torch.arange(width) + 0.5) * inner[0] / width) / YOLO_PX * 2 - 1
            grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
            sampled = torch.nn.functional.grid_sample(
                logits, grid, padding_mode="border", align_corners=False
            )[0, 0]
            x1, y1, x2, y2 = corners[place].tolist()
            rows_in = (torch.arange(height) >= y1) & (torch.arange(height) < y2)
            columns_in = (torch.arange(width) >= x1) & (torch.arange(width) < x2)
            mask = (sampled > 0) & rows_in[:, None] & columns_in[None]
            answer.append((corners[place].tolist(), float(scores[place]), mask.numpy()))
    return answer


def relative(corners: list[float], image: Image.Image) -> list[float]:
    x1, y1, x2, y2 = corners
    return [x1 / image.width, y1 / image.height, (x2 - x1) / image.width, (y2 - y1) / image.height]


def is_in(corners: list[float], image: Image.Image) -> bool:
    """Whether some of a box is in the image, and not in the grey around it alone."""
    x1, y1, x2, y2 = corners
    return min(x2, image.width) - max(x1, 0) > 1 and min(y2, image.height) - max(y1, 0) > 1


def test_yolo_seg_gives_its_own_boxes_their_masks(file: Path) -> None:
    ours, drawn = segmenter(file), 0.0
    for image in IMAGES:
        seen = [each for each in things(file, image, *MANNER["yolo-seg"]) if is_in(each[0], image)]
        assert len(seen) >= 3
        boxes = np.array([relative(corners, image) for corners, _, _ in seen], np.float32)
        found = ours.segment(image, boxes)
        assert found.masks.shape == (len(seen), image.height, image.width)
        assert set(found.methods) == {"yolo-seg"}
        for number, (corners, _, mask) in enumerate(seen):
            # the same box twice, of two classes: either of the two is right
            twins = [other for other in seen if np.allclose(other[0], corners, atol=1e-3)]
            alike = [np.mean(found.masks[number] != twin[2]) < 2e-3 for twin in twins]
            assert any(alike), (image.size, number)
            assert any(found.scores[number] == pytest.approx(twin[1], abs=1e-5) for twin in twins)
            drawn = max(drawn, float(mask.mean()))
    assert drawn > 0.02


def test_a_box_that_ends_with_the_image_is_that_of_its_thing(file: Path) -> None:
    """A thing's own box may go beyond the image, where no detector's does."""
    image = IMAGES[0]
    seen = [(corners, score) for corners, score, _ in things(file, image, *MANNER["yolo-seg"])]
    beyond = [(corners, score) for corners, score in seen if min(corners) < -4 or max(corners) > 68]
    assert beyond
    boxes = np.array([relative(np.clip(corners, 0, 64).tolist(), image) for corners, _ in beyond], np.float32)
    found = segmenter(file).segment(image, boxes)
    assert set(found.methods) == {"yolo-seg"}
    assert set(np.round(found.scores, 4)) <= set(
        np.round(np.array([score for _, score in seen], np.float32), 4)
    )


def test_a_box_of_another_thing_is_filled_and_said_to_be(file: Path) -> None:
    image = IMAGES[0]
    seen = things(file, image, *MANNER["yolo-seg"])
    theirs = torch.tensor([corners for corners, _, _ in seen])
    candidates = torch.tensor([[x, y, x + 6.0, y + 6.0] for x in range(0, 58, 3) for y in range(0, 58, 3)])
    lone = candidates[box_iou(candidates, theirs).max(dim=1).values.argmin()].tolist()
    boxes = np.array([relative(seen[0][0], image), relative(lone, image)], np.float32)
    found = segmenter(file).segment(image, boxes)
    assert found.methods == ("yolo-seg", "box")
    assert np.isnan(found.scores[1])
    assert not np.isnan(found.scores[0])
    assert np.array_equal(found.masks[1], filled_box(boxes[1], image.height, image.width))


def test_fastsam_takes_the_mask_that_overlaps_the_box_most_and_flags_one_that_does_not(file: Path) -> None:
    ours, kept, flagged, other_than_by_box = segmenter(file, "fastsam"), 0, 0, 0
    draw = np.random.default_rng(3)
    for image in IMAGES[:3]:
        seen = things(file, image, *MANNER["fastsam"])
        masks = np.stack([mask for _, _, mask in seen])
        edge = torch.tensor([*image.size, *image.size], dtype=torch.float64)
        theirs = torch.minimum(torch.tensor([corners for corners, _, _ in seen]).double().clamp(min=0), edge)
        asked = []
        for _ in range(12):
            x1, y1, x2, y2 = seen[draw.integers(len(seen))][0]
            w, h = x2 - x1, y2 - y1
            dx, dy = draw.uniform(-0.6, 0.6, 2)
            asked.append([x1 + dx * w, y1 + dy * h, x2 + dx * w, y2 + dy * h])
        boxes = np.array([relative(corners, image) for corners in asked], np.float32)
        found = ours.segment(image, boxes)
        for number, corners in enumerate(asked):
            inside = filled_box(boxes[number], image.height, image.width)
            shared = (masks & inside).sum(axis=(1, 2))
            overlap = shared / (masks | inside).sum(axis=(1, 2))
            if found.methods[number] == "box":
                flagged += 1
                assert np.array_equal(
                    found.masks[number], filled_box(boxes[number], image.height, image.width)
                )
                continue
            kept += 1
            place = int(np.argmin([np.mean(mask != found.masks[number]) for mask in masks]))
            assert np.mean(masks[place] != found.masks[number]) < 2e-3
            assert overlap[place] >= overlap.max() - 5e-3  # a pixel at an edge may fall either way
            inner = torch.minimum(torch.tensor([corners]).double().clamp(min=0), edge)
            own = box_iou(inner, theirs)[0]
            assert own[place] >= 0.5 - 1e-3
            other_than_by_box += int(own.argmax()) != place
    assert kept > 5
    assert flagged > 5
    assert other_than_by_box  # by the mask is not by the box


def test_an_image_in_which_nothing_is_seen_and_no_boxes(file: Path, tmp_path: Path) -> None:
    grey = Image.new("RGB", (50, 40), (114, 114, 114))
    silent = tmp_path / "silent.onnx"
    silent.write_bytes(yolo_seg(bias=-20.0))
    boxes = np.array([[0.1, 0.1, 0.2, 0.2]], np.float32)
    found = segmenter(silent, "fastsam").segment(grey, boxes)
    assert found.methods == ("box",)
    assert np.array_equal(found.masks[0], filled_box(boxes[0], 40, 50))
    none = segmenter(file).segment(grey, np.zeros((0, 4), np.float32))
    assert isinstance(none, Masks)
    assert (none.masks.shape, none.methods) == ((0, 40, 50), ())


def test_a_model_without_masks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "boxes.onnx"
    path.write_bytes(yolo_seg(task="detect"))
    with pytest.raises(ModelUnavailableError, match=r"boxes\.onnx is no YOLO as .* its task is detect"):
        segmenter(path).load()
    with pytest.raises(ModelUnavailableError, match=r"no\.onnx is no \.onnx file"):
        segmenter(tmp_path / "no.onnx")


def test_lines_of_the_tier() -> None:
    assert SegmenterSpec.model_validate("yolo11m-seg.onnx").family == "yolo-seg"
    assert SegmenterSpec.model_validate("FastSAM-s.onnx").family == "fastsam"
    assert SegmenterSpec.model_validate("fastsam").licence == "AGPL-3.0"


def test_another_file_is_another_fingerprint(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(yolo_seg(seed=1))
    told = {segmenter(file).fingerprint, segmenter(other).fingerprint, segmenter(file, "fastsam").fingerprint}
    assert len(told) == 3


# ---- beside ultralytics (make test-extras)


@pytest.mark.extras
@pytest.mark.parametrize("name", ["yolov8n-seg", "yolo11n-seg"])
def test_masks_equal_those_of_ultralytics(name: str, tmp_path: Path) -> None:
    from ultralytics_models import export, imported

    with imported(tmp_path) as ultralytics:
        path = export(ultralytics, name, tmp_path, dynamic=False)
        reference = ultralytics.YOLO(path, task="segment")
        ours = segmenter(path)
        compared = 0
        for image in IMAGES:
            (result,) = reference.predict(
                image, conf=0.25, iou=0.7, imgsz=64, retina_masks=True, verbose=False
            )
            theirs: Any = result.boxes.cpu().numpy()
            boxes = [relative(corners, image) for corners in theirs.xyxy.tolist()]
            found = ours.segment(image, np.array(boxes, np.float32))
            masks = result.masks.data.cpu().numpy().astype(bool)
            for number, box in enumerate(theirs.xyxy):
                # several of its things may fill the image: ours is one of those with this box
                twins = np.flatnonzero(np.isclose(theirs.xyxy, box, atol=0.02).all(axis=1))
                told = [
                    place
                    for place in twins
                    if found.scores[number] == pytest.approx(theirs.conf[place], abs=1e-4)
                ]
                assert told, (image.size, number)
                # it scales in whole cells, and here pixels are sampled where they lie
                assert min(np.mean(found.masks[number] != masks[place]) for place in told) < 0.02
                compared += 1
        assert compared > 20
