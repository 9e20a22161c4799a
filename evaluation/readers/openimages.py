"""OpenImages CSV files: boxes, or labels of whole images.

https://storage.googleapis.com/openimages/web/download_v7.html describes both: boxes with
`ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,...`, sides as
fractions of the image; labels with `ImageID,Source,LabelName,Confidence`, where people wrote 1 for what is in
the image and 0 for what was verified to be absent. In predictions Confidence is the score.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.readers.csv_columns import header_of, read_columns
from evaluation.readers.named import named_truth
from evaluation.readers.tables import (
    PREDICTED_BOXES,
    PREDICTED_TAGS,
    TRUE_BOXES,
    Origin,
    Predictions,
    Rows,
    Truth,
    refuse,
)
from evaluation.readers.values import box_lists, check_boxes, numbers

_EDGES = {"x_min": "XMin", "x_max": "XMax", "y_min": "YMin", "y_max": "YMax"}
_FIELDS = {"image": "ImageID", "concept": "LabelName", "score": "Confidence", **_EDGES, "crowd": "IsGroupOf"}
_OPTIONAL = frozenset({*_EDGES, "crowd"})


def recognises(path: Path, head: str) -> bool:
    return {"ImageID", "LabelName"} <= header_of(head)


def read_truth(path: Path) -> Truth:
    """Labels with Confidence 1, or boxes. A label with 0 is evaluated and absent.

    Raises UnusableFile as `csv_columns.read_columns` does; for edges that are no numbers or in the wrong
    order; for a Confidence that is neither 0 nor 1.
    """
    table, row, score, origin = _read(path)
    between = np.flatnonzero((score != 0) & (score != 1))
    refuse(
        path,
        (
            f"{origin.place(row[i], 'score')}: {score[i]:g} is neither 1 (present) nor 0 (verified absent); "
            "keep the labels that people verified"
            for i in between
        ),
    )
    present = table.filter(pa.array(score == 1))
    if "x_min" not in table.column_names:
        return named_truth(path, table["image"], present, vocabulary=table["concept"])
    edges = _edges(table, row, origin)
    crowd = (
        numbers(table["crowd"], row, origin, "crowd") == 1
        if "crowd" in table.column_names
        else np.zeros_like(score, bool)
    )
    boxes = pa.table(
        [table["image"], table["concept"], box_lists(edges, 4), pa.array(crowd)], schema=TRUE_BOXES
    )
    return named_truth(
        path, table["image"], present, vocabulary=table["concept"], boxes=boxes, relative_boxes=True
    )


def read_predictions(path: Path) -> Predictions:
    """Boxes or labels with Confidence as score. Raises UnusableFile as `read_truth` does, but for scores."""
    table, row, score, origin = _read(path)
    columns = [table["row"], table["image"], table["concept"], pa.array(score)]
    if "x_min" not in table.column_names:
        return Predictions(path, tags=Rows(pa.table(columns, schema=PREDICTED_TAGS), origin))
    columns.append(box_lists(_edges(table, row, origin)))
    boxes = Rows(pa.table(columns, schema=PREDICTED_BOXES), origin)
    return Predictions(path, boxes=boxes, relative_boxes=True)


def _read(path: Path) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.float64], Origin]:
    table, origin = read_columns(path, _FIELDS, _OPTIONAL)
    found = _EDGES.keys() & set(table.column_names)
    lacking = [name for ours, name in _EDGES.items() if ours not in found] if found else []
    refuse(path, (f"row 1: has some of the four edges of a box, but no column {name}" for name in lacking))
    row = table["row"].to_numpy()
    origin = Origin(path, origin.row, {**origin.fields, "bbox": "XMin, XMax, YMin, YMax"})
    return table, row, numbers(table["score"], row, origin, "score"), origin


def _edges(table: pa.Table, row: NDArray[np.int64], origin: Origin) -> NDArray[np.float64]:
    """float64 [rows, 4]: x, y, width, height as fractions of the image."""
    edge = {name: numbers(table[name], row, origin, name) for name in _EDGES}
    outside = np.flatnonzero(np.any([(v < -0.01) | (v > 1.01) for v in edge.values()], axis=0))
    refuse(
        origin.path,
        (
            f"{origin.place(row[i], 'bbox')}: {[float(v[i]) for v in edge.values()]} are no fractions of the "
            "image; divide pixels by its width and height"
            for i in outside
        ),
    )
    boxes = np.stack(
        [edge["x_min"], edge["y_min"], edge["x_max"] - edge["x_min"], edge["y_max"] - edge["y_min"]], axis=1
    )
    check_boxes(boxes, row, origin)
    return boxes
