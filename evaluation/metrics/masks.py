"""Mean mask IoU of the regions that were matched with true ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.intervals import Interval, ratio_interval
from evaluation.metrics.matching import Matching


@dataclass(frozen=True, slots=True)
class MaskFigures:
    """The mean over matched regions with a mask on both sides; the interval is over images."""

    mean_iou: float  # 0..1
    support: int  # matched regions with a mask
    ci95: Interval | None = None


def mask_figures(
    matching: Matching,
    truth: pa.Table,
    regions: pa.Table,
    masks: pa.Table,
) -> MaskFigures | None:
    """Mean mask IoU over the regions that match a true one of their concept at box IoU >= 0.5.

    A true mask of another size (the predicted one has the proxy's) is resized to the predicted one's, nearest
    pixel. Matched regions without a mask do not count.

    Args:
        matching: of these `truth` and `regions`, both as given to `grounding.match_regions`.
        truth: also `height`, `width` (pixels), `counts` (COCO compressed RLE), null where there is no mask.
        regions: `id`, `region_id`.
        masks: `region_id`, `height`, `width`, `counts`; not every region has one.

    Returns:
        None where no matched region has both masks.
    """
    true_row = np.flatnonzero(matching.region[0] >= 0)
    predicted = regions["region_id"].take(pa.array(matching.region[0, true_row]))
    mask_row = pc.index_in(predicted, value_set=masks["region_id"].combine_chunks())
    both = pc.and_(pc.is_valid(mask_row), pc.is_valid(truth["counts"].take(pa.array(true_row))))
    if not pc.any(both).as_py():
        return None
    chosen = np.flatnonzero(both.to_numpy())
    true_row = true_row[chosen]
    ious = np.array(
        [
            mask_iou(true, mask)
            for true, mask in zip(
                truth.take(pa.array(true_row)).to_pylist(),
                masks.take(mask_row.take(pa.array(chosen))).to_pylist(),
                strict=True,
            )
        ]
    )
    by_image = np.zeros((len(matching.images), 2))
    np.add.at(by_image, matching.image[true_row], np.stack([ious, np.ones(len(ious))], axis=1))
    return MaskFigures(float(ious.mean()), len(ious), ratio_interval(by_image))


def mask_iou(true: dict[str, Any], predicted: dict[str, Any]) -> float:
    """IoU, 0..1, of two masks (`height`, `width`, `counts`), at the size of the predicted one."""
    from pycocotools import mask as coco

    if (true["height"], true["width"]) == (predicted["height"], predicted["width"]):
        return float(coco.iou([_rle(predicted)], [_rle(true)], [0])[0, 0])
    shape = (predicted["height"], predicted["width"])
    a, b = _resized(coco.decode(_rle(true)), shape), coco.decode(_rle(predicted)).astype(bool)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _rle(mask: dict[str, Any]) -> dict[str, Any]:
    return {"size": [mask["height"], mask["width"]], "counts": mask["counts"]}


def _resized(mask: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixel under the centre of each pixel of the new shape."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(mask.shape, shape, strict=True)
    )
    return mask[np.ix_(rows, columns)].astype(bool)
