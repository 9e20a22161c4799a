"""lvis-api, the reference."""

from pathlib import Path
from typing import Any

import numpy as np
from lvis import LVIS, LVISEval, LVISResults

from benchmarks.evaluation import RESULTS, TRUTH
from benchmarks.evaluation.peers.mean_recall import Recall, mean_recall

np.float = float  # type: ignore[attr-defined]  # lvis 0.5.3 still says np.float


def load(folder: Path) -> tuple[Any, Any]:
    truth = LVIS(str(folder / TRUTH))
    return truth, LVISResults(truth, str(folder / RESULTS))


def evaluate(loaded: tuple[Any, Any]) -> Any:
    evaluation = LVISEval(*loaded, iou_type="bbox")
    evaluation.run()
    return evaluation


def recall(evaluation: Any) -> Recall:
    categories = evaluation.lvis_gt.load_cats(evaluation.params.cat_ids)
    return mean_recall(evaluation.eval["recall"][:, :, 0], categories)
