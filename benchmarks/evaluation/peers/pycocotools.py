"""pycocotools, the reference for COCO."""

from pathlib import Path
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.evaluation.peers import coco_style
from benchmarks.evaluation.peers.coco_style import recall

__all__ = ["evaluate", "load", "recall"]


def load(folder: Path) -> tuple[Any, Any]:
    return coco_style.load(COCO, folder)


def evaluate(loaded: tuple[Any, Any]) -> Any:
    return coco_style.evaluate(COCOeval(*loaded, "bbox"))
