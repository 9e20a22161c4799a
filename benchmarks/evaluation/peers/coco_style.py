"""What pycocotools and the packages made after it have in common.

Their cap of 100 regions of each concept is LVIS' 300 here, so that all peers count the same regions.
"""

from pathlib import Path
from typing import Any

from benchmarks.evaluation import DETECTIONS_AN_IMAGE, RESULTS, TRUTH
from benchmarks.evaluation.peers.mean_recall import Recall, mean_recall


def load(coco: type[Any], folder: Path) -> tuple[Any, Any]:
    truth = coco(str(folder / TRUTH))
    return truth, truth.loadRes(str(folder / RESULTS))


def evaluate(evaluation: Any) -> Any:
    evaluation.params.maxDets = [DETECTIONS_AN_IMAGE]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def recall(evaluation: Any) -> Recall:
    categories = evaluation.cocoGt.loadCats(evaluation.params.catIds)
    return mean_recall(evaluation.eval["recall"][:, :, 0, -1], categories)
