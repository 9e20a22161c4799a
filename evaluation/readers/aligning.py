"""Predictions aligned with a ground truth: the same ids on both sides, and what does not fit is named."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.region_tables import positions
from evaluation.readers.tables import Predictions, Rows, Truth, UnusableFile, refuse

_REPEATED = """
select again, first from (
    select max(row) as again, min(row) as first from given group by {keys} having count(*) > 1
) order by again
"""
_EDGE_TOLERANCE_PX, _EDGE_TOLERANCE = 1.0, 0.01
# Boxes given as corners: none ends before it starts, and at least this share would reach beyond its image.
_CORNERS_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Aligned:
    """Predictions by the ids of the ground truth; boxes in its unit."""

    tags: pa.Table  # id, concept_id, score: given as tags, else the best box of each concept
    boxes: pa.Table | None  # id, region_id, concept_id, bbox (xywh), score
    unknown_concept_rows: int  # left out: about concepts that are not evaluated
    other_image_rows: int  # left out: about images that are not evaluated


def align(truth: Truth, predictions: Predictions) -> Aligned:
    """Join predictions with the ground truth they are about.

    Raises:
        UnusableFile: predictions name images, or category ids, that the ground truth lacks; none of their
            concepts is in it; one is given twice; boxes are corners, or in another unit that cannot be
            converted.
    """
    tags = predictions.tags and _known(truth, predictions, predictions.tags)
    boxes = predictions.boxes and _known(truth, predictions, predictions.boxes)
    if predictions.boxes and boxes:
        _refuse_corners(truth, predictions, predictions.boxes, boxes)
    kept = [part for part in (tags, boxes) if part]
    if not any(part.table.num_rows for part in kept) and any(part.unknown_concept_rows for part in kept):
        raise UnusableFile(_nothing_known(truth, predictions))
    regions = boxes and _regions(truth, predictions, boxes.table)
    return Aligned(
        tags.table.select(["id", "concept_id", "score"]) if tags else _implied(regions),
        regions,
        sum(part.unknown_concept_rows for part in kept),
        sum(part.other_image_rows for part in kept),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    table: pa.Table  # row, id, concept_id, score, image (position in the truth's), of boxes bbox
    unknown_concept_rows: int
    other_image_rows: int


def _known(truth: Truth, predictions: Predictions, rows: Rows) -> _Known:
    table, origin = rows.table, rows.origin
    key, concept_key = ("id", "id") if predictions.by_id else ("name", "concept_id")
    image = positions(table["image"], truth.images[key].combine_chunks())
    concept = positions(table["concept"], truth.concepts[concept_key].combine_chunks())
    strange = np.flatnonzero((image < 0) & (not predictions.other_images))
    row = table["row"].to_numpy()
    what, shown = ("image id", str) if predictions.by_id else ("image name", repr)

    def problems() -> Iterator[str]:
        for i in strange:
            yield (
                f"{origin.place(row[i], 'image')}: {shown(table['image'][i].as_py())} is no {what} "
                f"of {truth.path}, such as {shown(truth.images[key][0].as_py())}; evaluate on the images that both have"
            )
        for i in np.flatnonzero((concept < 0) & (not predictions.open_vocabulary)):
            yield (
                f"{origin.place(row[i], 'concept')}: {table['concept'][i].as_py()} is no id of the categories "
                f"of {truth.path}"
            )

    refuse(origin.path, problems())
    chosen = pa.array((image >= 0) & (concept >= 0))
    _refuse_repeated(table.filter(chosen), rows)
    kept = {
        "row": table["row"],
        "id": truth.images["id"].take(pa.array(image, mask=image < 0)),
        "concept_id": truth.concepts["concept_id"].take(pa.array(concept, mask=concept < 0)),
        "score": table["score"],
        "image": pa.array(image),
        **({"bbox": table["bbox"]} if "bbox" in table.column_names else {}),
    }
    other = image < 0
    return _Known(pa.table(kept).filter(chosen), int(((concept < 0) & ~other).sum()), int(other.sum()))


def _refuse_repeated(table: pa.Table, rows: Rows) -> None:
    keys = [name for name in ("image", "concept", "bbox") if name in table.column_names]
    keys += ["score"] if "bbox" in keys else []
    with duckdb.connect() as sql:
        sql.register("given", table)
        found = sql.sql(_REPEATED.format(keys=", ".join(keys))).fetchall()
    refuse(
        rows.origin.path,
        (
            f"{rows.origin.place(again, 'concept')}: the prediction of {rows.origin.row.format(first)} is given "
            "again; keep one"
            for again, first in found
        ),
    )


def _refuse_corners(truth: Truth, predictions: Predictions, rows: Rows, known: _Known) -> None:
    box = _matrix(known.table)
    width, height = _sizes(truth, predictions.relative_boxes, known.table["image"].to_numpy())
    slack = _EDGE_TOLERANCE if predictions.relative_boxes else _EDGE_TOLERANCE_PX
    sized = ~np.isnan(width)
    beyond = (box[:, 0] + box[:, 2] > width + slack) | (box[:, 1] + box[:, 3] > height + slack)
    corners = (box[:, 2] >= box[:, 0]) & (box[:, 3] >= box[:, 1])
    fits = (box[:, 2] <= width + slack) & (box[:, 3] <= height + slack)
    if sized.any() and (corners & fits)[sized].all() and beyond[sized].mean() >= _CORNERS_SHARE:
        i = int(np.flatnonzero(sized & beyond)[0])
        raise UnusableFile(
            f"{rows.origin.path}: its boxes look like corners (x1, y1, x2, y2), but x, y, width, height is "
            f"read: {int(beyond.sum()):,} of {len(box):,} would reach beyond their image, such as "
            f"{rows.origin.place(known.table['row'][i].as_py(), 'bbox')}: {box[i].round(2).tolist()} in an image of "
            f"{width[i]:g} x {height[i]:g}. Write x2 - x1 and y2 - y1 in place of x2 and y2."
        )


def _regions(truth: Truth, predictions: Predictions, table: pa.Table) -> pa.Table:
    """The boxes in the unit of the ground truth, where that has any; their ids order as the rows do."""
    box = _matrix(table)
    if truth.boxes is not None and predictions.relative_boxes != truth.relative_boxes:
        width, height = _sizes(truth, False, table["image"].to_numpy())
        unsized = np.flatnonzero(np.isnan(width))
        if unsized.size:
            raise UnusableFile(
                f"{predictions.path}: one side gives boxes in pixels, the other as fractions of the image, and "
                f"{truth.path} does not say how large {unsized.size:,} of the images are; add their width and "
                "height, or convert the boxes"
            )
        sides = np.stack([width, height, width, height], axis=1)
        box = box * sides if predictions.relative_boxes else box / sides
    flat = pa.array(box.ravel(), pa.float64())
    return pa.table(
        {
            "id": table["id"],
            "region_id": pc.utf8_lpad(table["row"].cast(pa.string()), width=12, padding="0"),
            "concept_id": table["concept_id"],
            "bbox": pa.FixedSizeListArray.from_arrays(flat, 4),
            "score": table["score"],
        }
    )


def _implied(regions: pa.Table | None) -> pa.Table:
    """A concept of an image scores as its best box does."""
    assert regions is not None, "predictions are tags or boxes"
    best = regions.group_by(["id", "concept_id"]).aggregate([("score", "max")])
    return best.rename_columns(["id", "concept_id", "score"])


def _sizes(
    truth: Truth, relative: bool, image: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height of the image of each row, NaN where they are not known; 1 and 1 of fractions."""
    if relative:
        return np.ones(len(image)), np.ones(len(image))
    width, height = (truth.images[side].to_numpy() for side in ("width", "height"))
    return width[image], height[image]


def _nothing_known(truth: Truth, predictions: Predictions) -> str:
    rows = predictions.tags or predictions.boxes
    assert rows is not None
    named, known = (
        ", ".join(map(str, pc.unique(column).slice(0, 3).to_pylist()))
        for column in (rows.table["concept"], truth.concepts["concept_id"])
    )
    return (
        f"{predictions.path}: none of its tags, such as {named}, is among the {truth.concepts.num_rows:,} of "
        f"{truth.path}, such as {known}; call them the same in both"
    )


def _matrix(table: pa.Table) -> NDArray[np.float64]:
    return pc.list_flatten(table["bbox"]).to_numpy().reshape(-1, 4)
