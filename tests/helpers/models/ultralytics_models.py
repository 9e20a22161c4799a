"""Ultralytics' own models with random weights, exported by itself; for the environment of `make test-extras`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiny_closed_sets import CLASS_NAMES


@contextmanager
def imported(folder: Path) -> Iterator[Any]:
    """The package, with nothing fetched and its files in `folder`, where it works."""
    before = Path.cwd()
    os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_CONFIG_DIR": str(folder)}
    os.chdir(folder)
    try:
        yield importlib.import_module("ultralytics")
    finally:
        os.chdir(before)


def export(ultralytics: Any, name: str, folder: Path, **options: Any) -> Path:
    """A model of its architecture with random weights, five classes and scores that are not all next to nothing."""
    import torch

    torch.manual_seed(0)
    model = ultralytics.YOLO(f"{name}.yaml")
    tasks = ultralytics.nn.tasks
    network = (tasks.SegmentationModel if "seg" in name else tasks.DetectionModel)(
        f"{name}.yaml", nc=len(CLASS_NAMES), verbose=False
    )
    network.names = dict(enumerate(CLASS_NAMES))
    network.args, network.task = model.model.args, model.task
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for boxes, classes in zip(network.model[-1].cv2, network.model[-1].cv3, strict=True):
            boxes[-1].weight.normal_(std=0.2)
            classes[-1].weight.normal_(std=0.1)
            classes[-1].bias.fill_(-1.0)
        network.train()(torch.rand(16, 3, 64, 64))  # without statistics hardly anything gets through
    model.model = network
    made = Path(model.export(format="onnx", imgsz=64, simplify=False, **options))
    return made.rename(folder / f"{len(list(folder.iterdir()))}.onnx")
