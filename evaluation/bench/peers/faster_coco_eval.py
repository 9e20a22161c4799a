"""faster-coco-eval, whose matching is C++. Its 100 regions of each concept are LVIS' 300 here, so that all count alike."""

from pathlib import Path
from typing import Any

from faster_coco_eval import COCO, COCOeval_faster

from evaluation.bench import DETECTIONS_AN_IMAGE, RESULTS, TRUTH
from evaluation.bench.peers.mean_recall import Recall, mean_recall


def load(folder: Path) -> tuple[Any, Any]:
    truth = COCO(str(folder / TRUTH))
    return truth, truth.loadRes(str(folder / RESULTS))


def evaluate(loaded: tuple[Any, Any]) -> Any:
    evaluation = COCOeval_faster(*loaded, "bbox")
    evaluation.params.maxDets = [DETECTIONS_AN_IMAGE]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def recall(evaluation: Any) -> Recall:
    categories = evaluation.cocoGt.loadCats(evaluation.params.catIds)
    return mean_recall(evaluation.eval["recall"][:, :, 0, -1], categories)
