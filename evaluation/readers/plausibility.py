"""Which reading of boxes and category ids is the likely one, judged by shares and by how well each fits the other file.

A file of corners that is read as sizes, of fractions read as pixels, of centres read as corners, or with ids that count
from 0 gives low figures and no error. So each reading is tried on a sample: the one that a file is given in must not
fit much worse than another.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.region_tables import Rows as Indices
from evaluation.metrics.region_tables import equal_keys
from evaluation.readers.tables import UnusableFile
from resources.boxes import paired_iou

Boxes = NDArray[np.float64]
"""float64 [boxes, 4]"""

SAMPLE = 2_000
_FIT_IOU = 0.5
_SURE_IOU = 0.9
_FEWEST_GAINED, _GAINED_SHARE, _GAINED_PER_LOST = 3, 0.1, 5
_EDGE_SHARE, _CORNERS_BEYOND, _ORDERED = 0.01, 0.25, 0.98
_LARGEST_FRACTION, _SMALLEST_PIXELS = 1.5, 2.0
_PIXEL = 0.26
_OFFSETS: Mapping[tuple[int, int, int, int], str] = {
    (1, 1, 1, 1): "one pixel right and below: pixels that are counted from 1",
    (-1, -1, -1, -1): "one pixel left and above: the other file counts pixels from 1",
    (0, 0, 1, 1): "one pixel too wide and too high: sizes that count both ends",
    (0, 0, -1, -1): "one pixel too narrow and too low: the other file counts both ends of a size",
}


def _from_corners(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _from_centres(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


SHAPES: Mapping[str, Callable[[Boxes], Boxes]] = {
    "xywh": lambda boxes: boxes,
    "xyxy": _from_corners,
    "cxcywh": _from_centres,
}
"""What the four numbers of a box may be -> to x, y, width, height."""
_SHAPE_NAMES = {
    "xywh": "x, y, width, height",
    "xyxy": "corners (x1, y1, x2, y2)",
    "cxcywh": "centres (centre x, centre y, width, height)",
}

CATEGORY_IDS: Mapping[str, Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]] = {
    "as-given": lambda ids, known: ids,
    "plus-one": lambda ids, known: ids + 1,
    "minus-one": lambda ids, known: ids - 1,
    "positions": lambda ids, known: _at(known, ids),
    "positions-from-1": lambda ids, known: _at(known, ids - 1),
}
"""What the category ids of results may be -> to ids of the ground truth, whose ids are `known`, ascending."""
_ID_NAMES = {
    "plus-one": "one less than the ids of the ground truth",
    "minus-one": "one more than the ids of the ground truth",
    "positions": "positions in the list of categories, counted from 0",
    "positions-from-1": "positions in the list of categories, counted from 1",
}


def _at(known: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    inside = (index >= 0) & (index < len(known))
    return np.where(inside, known[np.where(inside, index, 0)], np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True)
class Side:
    """Boxes of one of the two files, by image."""

    boxes: Boxes  # x, y, width, height
    image: Indices  # position in the images of the truth
    relative: bool  # 0..1 of the image's sides, else pixels


@dataclass(frozen=True, slots=True)
class Likely:
    """A reading that fits much better than the given one."""

    shape: str
    relative: bool
    evidence: str

    @property
    def words(self) -> str:
        return _SHAPE_NAMES[self.shape] + (" as fractions of the image" if self.relative else "")

    @property
    def option(self) -> str:
        return self.shape + (" --relative" if self.relative else "")


def likely_reading(given: Side, other: Side, width: Boxes, height: Boxes) -> Likely | None:
    """The reading of the boxes of one file that fits those of the other much better than x, y, width, height does.

    Args:
        given: the boxes in question, the best first: a sample of them is taken.
        other: the boxes of the other file, read as they are given.
        width, height: float64 [images]: pixels, NaN where unknown.
    """
    rows = np.flatnonzero(np.isin(given.image, other.image))[:SAMPLE]
    if not rows.size:
        return None
    boxes, image = given.boxes[rows], given.image[rows]
    sides = np.stack([width, height, width, height], axis=1)[image]
    as_given = _best_iou(_in_unit_of(other, boxes, given.relative, sides), image, other)
    relative = (
        not given.relative and _are_fractions(boxes) and (other.relative or not _are_fractions(other.boxes))
    )
    unit = _in_unit_of(other, boxes, relative or given.relative, sides)
    known = ~np.isnan(unit).any(axis=1)
    shapes = [shape for shape in SHAPES if relative or shape != "xywh"]
    fits = {shape: _best_iou(SHAPES[shape](unit), image, other) for shape in shapes}
    best = max(fits, key=lambda shape: float((fits[shape] >= _FIT_IOU).sum()))
    if known.any() and _fits_better(fits[best][known], as_given[known]):
        then, now = (int((iou >= _FIT_IOU).sum()) for iou in (fits[best], as_given))
        evidence = f"{then:,} of {len(boxes):,} then lie on a box of the other file, {now:,} as they are read"
        return Likely(best, relative, evidence)
    if relative:
        return Likely("xywh", True, f"{len(boxes):,} are no larger than a pixel or so")
    return _corners_by_shares(
        boxes, image, as_given, unit, other, np.ones_like(sides) if given.relative else sides
    )


def beyond(boxes: Boxes, sides: Boxes) -> NDArray[np.bool_]:
    """Which boxes x, y, width, height reach beyond their image by more than a pixel and a hundredth of a side.

    `sides`: [boxes, 4] of width, height, width, height, NaN where unknown.
    """
    slack = np.maximum(1.0, _EDGE_SHARE * sides[:, :2]) if np.nanmax(sides, initial=0) > 1 else _EDGE_SHARE
    ends = boxes[:, :2] + boxes[:, 2:]
    return np.asarray(((boxes[:, :2] < -slack) | (ends > sides[:, :2] + slack)).any(axis=1))


def look_like_corners(boxes: Boxes, sides: Boxes) -> bool:
    """By shares alone: none ends before it starts, as corners they lie in their images, as sizes a quarter would not."""
    sized = ~np.isnan(sides).any(axis=1)
    if not sized.any():
        return False
    boxes, sides = boxes[sized], sides[sized]
    ordered = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1).mean()
    as_sizes, as_corners = beyond(boxes, sides).mean(), beyond(_from_corners(boxes), sides).mean()
    return bool(ordered >= _ORDERED and as_sizes >= _CORNERS_BEYOND and as_corners <= as_sizes / 4)


def _in_unit_of(other: Side, boxes: Boxes, relative: bool, sides: Boxes) -> Boxes:
    if relative == other.relative:
        return boxes
    return boxes * sides if relative else boxes / sides


def _corners_by_shares(
    boxes: Boxes, image: Indices, as_given: Boxes, unit: Boxes, other: Side, sides: Boxes
) -> Likely | None:
    fit, fit_of_corners = (
        float((iou >= _FIT_IOU).mean()) for iou in (as_given, _best_iou(_from_corners(unit), image, other))
    )
    if fit >= 0.5 or fit > fit_of_corners or not look_like_corners(boxes, sides):
        return None
    over = int(beyond(boxes, sides).sum())
    return Likely("xyxy", False, f"{over:,} of {len(boxes):,} would reach beyond their image")


def offset_words(given: Side, other: Side) -> tuple[str, float] | None:
    """A shift of a pixel between boxes that lie on each other: in words, and the share of boxes that have just it."""
    rows = np.flatnonzero(np.isin(given.image, other.image))[:SAMPLE]
    best, nearest = _nearest(given.boxes[rows], given.image[rows], other)
    on = best >= _FIT_IOU
    if given.relative or other.relative or on.sum() < _FEWEST_GAINED:
        return None
    found, true = given.boxes[rows][on], other.boxes[nearest[on]]
    edges = [np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1) for b in (found, true)]
    shift = edges[0] - edges[1]
    shares = {
        words: float((np.abs(shift - offset) <= _PIXEL).all(axis=1).mean())
        for offset, words in _OFFSETS.items()
    }
    words = max(shares, key=lambda name: shares[name])
    return (words, shares[words]) if shares[words] > 0 else None


def likely_ids(
    predicted: NDArray[np.int64], given: Side, known: NDArray[np.int64], true: NDArray[np.int64], other: Side
) -> str | None:
    """The reading of category ids, a key of CATEGORY_IDS, that agrees much better with the boxes that they lie on.

    Args:
        predicted: of the boxes of `given`, the best first.
        known: the ids of the ground truth.
        true: of the boxes of `other`.
    """
    rows = np.flatnonzero(np.isin(given.image, other.image))[:SAMPLE]
    overlap, nearest = _nearest(given.boxes[rows], given.image[rows], other)
    on = np.flatnonzero(overlap >= _FIT_IOU)
    ids, of = predicted[rows[on]], true[nearest[on]]
    known = np.sort(known)
    as_given = ids == of
    agreeing = {name: reading(ids, known) == of for name, reading in CATEGORY_IDS.items()}
    best = max(agreeing, key=lambda name: int(agreeing[name].sum()))
    gained, lost = int((agreeing[best] & ~as_given).sum()), int((as_given & ~agreeing[best]).sum())
    enough = gained >= max(_FEWEST_GAINED, _GAINED_SHARE * len(ids)) and gained >= _GAINED_PER_LOST * lost
    return best if enough else None


def ids_that_fit(predicted: NDArray[np.int64], known: NDArray[np.int64]) -> str | None:
    """The first reading by which all ids are known; None where ids as they are given, or no reading, are."""
    known = np.sort(known)
    fitting = (
        name for name, reading in CATEGORY_IDS.items() if np.isin(reading(predicted, known), known).all()
    )
    return next((name for name in fitting if name != "as-given"), None)


def id_words(name: str) -> str:
    """Such as `they look like positions ...; if they are: --category-ids positions`."""
    return f"they look like {_ID_NAMES[name]}; if they are: --category-ids {name}"


def whole_numbers(texts: pa.ChunkedArray | pa.Array) -> NDArray[np.int64] | None:
    """Ids as numbers; None where one is none."""
    if not pc.all(pc.match_substring_regex(texts, r"^-?\d{1,18}$")).as_py():
        return None
    return pc.cast(texts, pa.int64()).to_numpy()


def refuse_corners(path: Path, boxes: Boxes, sides: Boxes) -> None:
    """Raise UnusableFile where true boxes look like corners by shares alone; sides as `beyond` takes them."""
    if look_like_corners(boxes, sides):
        over = beyond(boxes, sides)
        i = int(np.flatnonzero(over)[0])
        raise UnusableFile(
            f"{path}: its boxes look like corners (x1, y1, x2, y2), but x, y, width, height is read: "
            f"{int(over.sum()):,} of {len(boxes):,} reach beyond their image, such as {boxes[i].tolist()} in an image "
            f"of {sides[i, 0]:g} x {sides[i, 1]:g}. If they are: --boxes xyxy,xywh (of the ground truth, of the "
            "predictions); if not: --boxes xywh,xywh"
        )


def beyond_remarks(path: Path, boxes: Boxes, sides: Boxes) -> Iterator[str]:
    over = int(beyond(boxes, sides).sum())
    if over:
        yield (
            f"{path.name}: {over:,} of {len(boxes):,} true boxes reach beyond their image; they are taken as they are "
            "(--clip cuts them)."
        )


def _are_fractions(boxes: Boxes) -> bool:
    largest = np.abs(boxes).max(axis=1, initial=0)
    return bool(len(boxes)) and float(np.quantile(largest, 0.95)) <= _LARGEST_FRACTION


def _fits_better(fit: Boxes, as_given: Boxes) -> bool:
    gained, lost = (fit >= _FIT_IOU) & (as_given < _FIT_IOU), (fit < _FIT_IOU) & (as_given >= _FIT_IOU)
    count = int(gained.sum())
    few_but_sure = count > 0 and count == len(fit) and float(fit[gained].min(initial=1)) >= _SURE_IOU
    enough = count >= max(_FEWEST_GAINED, _GAINED_SHARE * len(fit)) or few_but_sure
    return enough and count >= _GAINED_PER_LOST * int(lost.sum())


def _best_iou(boxes: Boxes, image: Indices, other: Side) -> Boxes:
    return _nearest(boxes, image, other)[0]


def _nearest(boxes: Boxes, image: Indices, other: Side) -> tuple[Boxes, Indices]:
    """Of each box, its IoU with the box of the other file on its image that it overlaps most, and which that is."""
    best, nearest = np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
    for row, there in equal_keys(np.where(usable, image, -1), other.image):
        iou = paired_iou(boxes[row], other.boxes[there])
        order = np.argsort(iou, kind="stable")
        np.maximum.at(best, row, iou)
        nearest[row[order]] = there[order]
    return best, nearest
