"""hotcoco, by its drop-in for lvis-api."""

from pathlib import Path
from typing import Any

from hotcoco import LVIS, LVISEval, LVISResults

from benchmarks.evaluation import RESULTS, TRUTH
from benchmarks.evaluation.peers.mean_recall import Recall, mean_recall


def load(folder: Path) -> tuple[Any, Any]:
    truth = LVIS(str(folder / TRUTH))
    return truth, LVISResults(truth, str(folder / RESULTS))


def evaluate(loaded: tuple[Any, Any]) -> Any:
    evaluation = LVISEval(*loaded, "bbox")
    evaluation.run()
    return evaluation


def recall(evaluation: Any) -> Recall:
    categories = evaluation.coco_gt.load_cats(evaluation.params.cat_ids)
    return mean_recall(evaluation.eval["recall"][:, :, 0, -1], categories)
