"""YOLO as an ONNX file: geometry here, and in the environment of `make test-extras` ultralytics itself beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_detectors import noise
from ultralytics_models import export, imported

from resources.boxes import clip, from_corners
from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError, make_model
from resources.models.detectors import DetectorSpec
from resources.models.detectors.yolo import YoloDetector
from resources.models.yolo_export import Letterbox

SIZES = ((61, 40), (40, 61), (50, 50), (97, 33), (33, 97), (64, 64), (200, 27), (45, 46))
IMAGES = [noise(size, seed) for seed, size in enumerate(SIZES)]
PHRASES = ["bowl", "brick wall", "car", "taxi", "a"]


def test_an_image_lies_in_the_middle_of_its_grey_rectangle() -> None:
    square = Letterbox.of((200, 100), (64, 64), stride=None)
    assert (square.width, square.height) == (64, 64)
    assert (square.image_width, square.image_height, square.left, square.top) == (64, 32, 0, 16)
    cut = Letterbox.of((200, 90), (64, 64), stride=32)
    assert (cut.width, cut.height, cut.image_height, cut.top) == (64, 32, 29, 1)
    thin = Letterbox.of((3000, 1), (64, 64), stride=32)
    assert (thin.image_height, thin.height) == (1, 32)

    drawn = square.draw(Image.new("RGB", (200, 100), (255, 0, 51)))
    assert drawn.shape == (3, 64, 64)
    np.testing.assert_allclose(drawn[:, 0, 0], 114 / 255)
    np.testing.assert_allclose(drawn[:, 32, 32], [1.0, 0.0, 0.2])

    boxes = square.relative(np.array([[0, 16, 64, 32], [32, 32, 16, 8]], np.float32))
    np.testing.assert_allclose(boxes, [[0, 0, 1, 1], [0.5, 0.5, 0.25, 0.25]])


def test_a_file_that_is_not_there_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISTAG_MODELS", str(tmp_path))
    spec = DetectorSpec(model="yolo11n.onnx")  # family and licence are the registry's
    assert (spec.family, spec.licence) == ("yolo", "AGPL-3.0")
    with pytest.raises(
        ModelUnavailableError, match=r"yolo11n.onnx is no .onnx file. Make one with yolo export"
    ):
        make_model(spec, "cpu")
    (tmp_path / "best.pt").write_bytes(b"")
    with pytest.raises(ModelUnavailableError, match="VISTAG_MODELS"):
        make_model(DetectorSpec(family="yolo", model=str(tmp_path / "best.pt"), licence="own"), "cpu")


def test_a_gpu_that_onnxruntime_cannot_use_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    path = tmp_path / "any.onnx"
    path.write_bytes(b"")
    detector = YoloDetector(DetectorSpec(family="yolo", model=str(path), licence="own"), "cuda")
    with pytest.raises(DeviceUnavailableError, match="no CUDAExecutionProvider: install onnxruntime-gpu"):
        detector.load()


# ---- beside ultralytics


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with imported(tmp_path_factory.mktemp("ultralytics")) as package:
        yield package


@pytest.mark.extras
@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "yolov8n-seg", "yolo11n-seg"])
def test_yolo_equals_ultralytics(ultralytics: Any, name: str, dynamic: bool, tmp_path: Path) -> None:
    path = export(ultralytics, name, tmp_path, dynamic=dynamic)
    reference = ultralytics.YOLO(path, task="segment" if "seg" in name else "detect")
    spec = DetectorSpec(family="yolo", model=str(path), min_score=0.3, batch_size=4, licence="AGPL-3.0")
    detector = make_model(spec, "cpu")
    found = detector.detect(IMAGES, [PHRASES] * len(IMAGES))
    for image, ours in zip(IMAGES, found, strict=True):
        (result,) = reference.predict(image, conf=0.3, imgsz=64, verbose=False)
        theirs = result.boxes.cpu().numpy()
        boxes, inside = clip(from_corners(theirs.xyxy / np.array([*image.size, *image.size])))
        assert len(ours.scores) > 5
        assert ours.phrase_index.tolist() == theirs.cls[inside].astype(int).tolist()
        np.testing.assert_allclose(ours.scores, theirs.conf[inside], atol=1e-5)
        np.testing.assert_allclose(ours.boxes_xywh, boxes[inside], atol=1e-4)


@pytest.mark.extras
def test_an_export_that_cannot_be_read_is_refused(ultralytics: Any, tmp_path: Path) -> None:
    path = export(ultralytics, "yolo11n", tmp_path, dynamic=False, batch=2)
    detector = make_model(DetectorSpec(family="yolo", model=str(path), licence="AGPL-3.0"), "cpu")
    with pytest.raises(ModelUnavailableError, match="its batches are of 2"):
        detector.load()
    path = export(ultralytics, "yolo11n", tmp_path, dynamic=True, nms=True)
    detector = make_model(DetectorSpec(family="yolo", model=str(path), licence="own"), "cpu")
    with pytest.raises(ModelUnavailableError, match="chooses among its boxes itself"):
        detector.load()
