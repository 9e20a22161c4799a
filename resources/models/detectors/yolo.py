"""YOLOv8, YOLO11 and YOLO26, as ultralytics exports them to ONNX: boxes of a closed set, no text and no pickles.

The file carries its class names, its image size and its stride. Of a segmentation model the boxes are read; masks
are the segmenter's role. Only the weights are under the AGPL: nothing of ultralytics runs here.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.boxes import Boxes, from_centres, suppress, to_corners
from resources.fingerprint import fingerprint
from resources.models.batching import alike
from resources.models.checkpoints import Device, DeviceUnavailableError, ModelUnavailableError
from resources.models.detectors.detections import Detections
from resources.models.detectors.known_classes import KnownClasses, Objects
from resources.models.detectors.spec import DetectorSpec
from resources.models.load_counter import count_load

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
FOLDER_VARIABLE = "VISTAG_MODELS"
"""The environment variable that names the folder of exported models."""
_GREY = 114
_OVERLAP = 0.7
_MAX_OBJECTS = 300
_PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_EXPORT = "yolo export model=NAME.pt format=onnx dynamic=True (of pip install ultralytics onnx)"


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image lies in the grey rectangle that the model sees; pixels."""

    width: int
    height: int
    """of the rectangle"""
    image_width: int
    image_height: int
    left: int
    top: int

    @classmethod
    def of(cls, size: tuple[int, int], side: tuple[int, int], stride: int | None) -> Letterbox:
        """An image of `size` (width, height) in the middle of a rectangle of at most `side` (width, height).

        With a `stride` the rectangle is cut to the next multiples of it around the image.
        """
        scale = min(side[0] / size[0], side[1] / size[1])
        width, height = (max(round(length * scale), 1) for length in size)
        outer = [
            full if stride is None else -(-length // stride) * stride
            for length, full in zip((width, height), side, strict=True)
        ]
        return cls(outer[0], outer[1], width, height, (outer[0] - width) // 2, (outer[1] - height) // 2)

    def draw(self, image: Image.Image) -> NDArray[np.float32]:
        """What the model sees: [3, height, width], RGB, 0..1."""
        import cv2

        pixels = np.asarray(image.convert("RGB"))
        if image.size != (self.image_width, self.image_height):
            pixels = cv2.resize(pixels, (self.image_width, self.image_height), interpolation=cv2.INTER_LINEAR)
        drawn = np.full((self.height, self.width, 3), _GREY, np.uint8)
        drawn[self.top : self.top + self.image_height, self.left : self.left + self.image_width] = pixels
        return np.ascontiguousarray(drawn.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)

    def relative(self, boxes: Boxes) -> Boxes:
        """Boxes [n, 4] as xywh relative to the image, of boxes in pixels of the rectangle."""
        corner = np.array([self.left, self.top, 0, 0], np.float32)
        size = np.array([self.image_width, self.image_height] * 2, np.float32)
        return (boxes - corner) / size


class YoloDetector:
    """An .onnx file: `model` is its path, or its name in the folder that the environment variable VISTAG_MODELS names.

    Raises ModelUnavailableError where there is no such file, or at the first use one that is no such export.
    """

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._path = _find(spec.model)
        with self._path.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        self.fingerprint = fingerprint(
            code=CODE_VERSION, family=spec.family, weights=weights, min_score=spec.min_score
        )

    def load(self) -> None:
        _ = self._session, self._names

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image, of the phrases that name a class; the others get nothing.

        Boxes of one class that overlap by an IoU above 0.7 are one already here: the model leaves it to its user to
        tell them apart, and was measured so.
        """
        return self._classes.answer(images, phrases, self._look)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        count_load(self._path)
        provider = _PROVIDERS[self.device]
        available = provider in onnxruntime.get_available_providers()
        session = onnxruntime.InferenceSession(self._path, providers=[provider]) if available else None
        if session is None or provider not in session.get_providers():  # it falls back with a warning
            raise DeviceUnavailableError(
                f"{self.spec.name} was to run on a GPU, and this onnxruntime has no {provider}: "
                "install onnxruntime-gpu in its place, or take a tier of device cpu"
            )
        return session

    @cached_property
    def _about(self) -> dict[str, Any]:
        """What ultralytics wrote into the file."""
        about: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        (given,) = self._session.get_inputs()
        problems = {
            "it does not name its classes": not {"names", "imgsz", "stride"} <= about.keys(),
            f"its task is {about.get('task')}": about.get("task") not in ("detect", "segment"),
            "it chooses among its boxes itself": about.get("end2end") == "True" or "'nms': True" in about.get("args", ""),
            f"its numbers are {given.type}": given.type != "tensor(float)",
            f"its batches are of {given.shape[0]}": isinstance(given.shape[0], int) and given.shape[0] > 1,
        }  # fmt: skip
        if wrong := [problem for problem, is_so in problems.items() if is_so]:
            raise ModelUnavailableError(f"{self._path} is no YOLO as {_EXPORT} makes it: {', '.join(wrong)}")
        return {name: ast.literal_eval(about[name]) for name in ("names", "imgsz", "stride")}

    @cached_property
    def _names(self) -> dict[int, str]:
        names: dict[int, str] = self._about["names"]
        return names

    @cached_property
    def _classes(self) -> KnownClasses:
        return KnownClasses(self._names, self.spec.name)

    def _look(self, images: list[Image.Image]) -> list[Objects]:
        (given,) = self._session.get_inputs()
        fixed_batch, _, *fixed_size = [length if isinstance(length, int) else None for length in given.shape]
        height, width = (
            of_file or of_export for of_file, of_export in zip(fixed_size, self._about["imgsz"], strict=True)
        )
        stride = None if all(fixed_size) else self._about["stride"]
        boxed = [Letterbox.of(image.size, (width, height), stride) for image in images]
        seen: dict[int, Objects] = {}
        keys = [(box.width, box.height) for box in boxed]
        for batch in alike(keys, fixed_batch or self.spec.batch_size):
            pixels = np.stack([boxed[number].draw(images[number]) for number in batch])
            output = self._session.run(None, {given.name: pixels})[0]
            for number, predictions in zip(batch, output, strict=True):
                seen[number] = self._read(predictions, boxed[number])
        return [seen[number] for number in range(len(images))]

    def _read(self, predictions: NDArray[np.float32], boxed: Letterbox) -> Objects:
        """`predictions` [4 + classes (+ coefficients of a mask), places]: centre x, centre y, width, height; scores."""
        of_classes = predictions[4 : 4 + len(self._names)]
        classes, scores = of_classes.argmax(axis=0), of_classes.max(axis=0)
        sure = scores >= self.spec.min_score
        boxes = boxed.relative(from_centres(predictions[:4, sure].T))
        classes, scores = classes[sure], scores[sure]
        kept = suppress(boxes, scores, classes, _OVERLAP)[:_MAX_OBJECTS]
        return Objects(to_corners(boxes[kept]), classes[kept], scores[kept])


def _find(model: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(model) if folder is None else Path(folder) / model
    if not path.is_file() or path.suffix != ".onnx":
        raise ModelUnavailableError(
            f"{path} is no .onnx file. Make one with {_EXPORT}, and give its path as `model`, or its name and its "
            f"folder in the environment variable {FOLDER_VARIABLE}"
        )
    return path
