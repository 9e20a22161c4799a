"""A YOLO as ultralytics exports it to ONNX: what its file says, and what it answers to images. No ultralytics here.

The file carries its class names, its image size and its stride. Only the weights are under the AGPL.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.boxes import Boxes, from_centres, suppress
from resources.models.batching import alike
from resources.models.checkpoints import Device, ModelUnavailableError
from resources.models.onnx_files import onnx_file, onnx_session

if TYPE_CHECKING:
    from PIL import Image

EXPORT = "yolo export model=NAME.pt format=onnx dynamic=True (of pip install ultralytics onnx)"
TASKS = ("detect", "segment")
_GREY = 114
_MAX_OBJECTS = 300


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


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model saw in one image, the surest first, n >= 0."""

    letterbox: Letterbox
    boxes_xywh: Boxes
    """[n, 4], relative to the image; it may leave it"""
    classes: NDArray[np.int64]
    """[n]"""
    scores: NDArray[np.float32]
    """[n], 0..1"""
    coefficients: NDArray[np.float32]
    """[n, prototypes]: of each mask; no columns where the model draws none"""
    prototypes: NDArray[np.float32] | None
    """[prototypes, rows, columns] over the rectangle; None where the model draws no masks"""


class YoloExport:
    """An .onnx file: `model` is its path, or its name in the folder that the environment variable VISTAG_MODELS names.

    Raises ModelUnavailableError where there is no such file, or at the first use one that is no such export.
    """

    def __init__(self, model: str, name: str, device: Device, tasks: Sequence[str] = TASKS) -> None:
        self.path: Path = onnx_file(model, EXPORT)
        self._name, self._device, self._tasks = name, device, tasks

    def load(self) -> None:
        _ = self._about

    @property
    def names(self) -> dict[int, str]:
        """Of its classes."""
        names: dict[int, str] = self._about["names"]
        return names

    def look(
        self, images: Sequence[Image.Image], *, batch_size: int, min_score: float, overlap: float
    ) -> Iterator[tuple[int, Seen]]:
        """(place, what is seen there) of each image, not in their order.

        Boxes of one class that overlap by an IoU above `overlap` are one already here: the model leaves it to its user to
        tell them apart, and was measured so.
        """
        (given,) = self._session.get_inputs()
        fixed_batch, _, *fixed_size = [length if isinstance(length, int) else None for length in given.shape]
        height, width = (
            of_file or of_export for of_file, of_export in zip(fixed_size, self._about["imgsz"], strict=True)
        )
        stride = None if all(fixed_size) else self._about["stride"]
        boxed = [Letterbox.of(image.size, (width, height), stride) for image in images]
        keys = [(box.width, box.height) for box in boxed]
        for batch in alike(keys, fixed_batch or batch_size):
            pixels = np.stack([boxed[number].draw(images[number]) for number in batch])
            found, *prototypes = self._session.run(None, {given.name: pixels})
            for row, number in enumerate(batch):
                own = prototypes[0][row] if prototypes else None
                yield number, self._read(found[row], own, boxed[number], min_score, overlap)

    def _read(
        self,
        predictions: NDArray[np.float32],
        prototypes: NDArray[np.float32] | None,
        boxed: Letterbox,
        min_score: float,
        overlap: float,
    ) -> Seen:
        """`predictions` [4 + classes (+ coefficients of a mask), places]: centre x, centre y, width, height; scores."""
        of_classes = predictions[4 : 4 + len(self.names)]
        classes, scores = of_classes.argmax(axis=0), of_classes.max(axis=0)
        sure = np.flatnonzero(scores >= min_score)
        boxes = boxed.relative(from_centres(predictions[:4, sure].T))
        kept = suppress(boxes, scores[sure], classes[sure], overlap)[:_MAX_OBJECTS]
        places = sure[kept]
        coefficients = predictions[4 + len(self.names) :, places].T
        return Seen(boxed, boxes[kept], classes[places], scores[places], coefficients, prototypes)

    @cached_property
    def _session(self) -> Any:
        return onnx_session(self.path, self._name, self._device)

    @cached_property
    def _about(self) -> dict[str, Any]:
        """What ultralytics wrote into the file."""
        about: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        (given,) = self._session.get_inputs()
        problems = {
            "it does not name its classes": not {"names", "imgsz", "stride"} <= about.keys(),
            f"its task is {about.get('task')}": about.get("task") not in self._tasks,
            "it chooses among its boxes itself": about.get("end2end") == "True" or "'nms': True" in about.get("args", ""),
            f"its numbers are {given.type}": given.type != "tensor(float)",
            f"its batches are of {given.shape[0]}": isinstance(given.shape[0], int) and given.shape[0] > 1,
        }  # fmt: skip
        if wrong := [problem for problem, is_so in problems.items() if is_so]:
            raise ModelUnavailableError(f"{self.path} is no YOLO as {EXPORT} makes it: {', '.join(wrong)}")
        return {name: ast.literal_eval(about[name]) for name in ("names", "imgsz", "stride")}
