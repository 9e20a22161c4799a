"""OpenImages CSV files: boxes, or labels of whole images.

https://storage.googleapis.com/openimages/web/download_v7.html describes both: boxes with
`ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,...`, sides as
fractions of the image; labels with `ImageID,Source,LabelName,Confidence`, where people wrote 1 for what is in
the image and 0 for what was verified to be absent. In predictions Confidence is the score.

Only some classes were looked for in an image: labels with any 0 make a federated ground truth.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.readers.named import named_truth
from evaluation.readers.sheets import Sheet, header_of, read_sheet
from evaluation.readers.tables import (
    PAIRS,
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
# Fractions that reach beyond the image are clipped by nobody; pixels lie far beyond 1.
_FRACTION_SLACK, _MOST_BEYOND = 0.5, 0.05


def recognises(path: Path, head: str) -> bool:
    return {"imageid", "labelname"} <= header_of(path, head)


def read_truth(path: Path) -> Truth:
    """Labels with Confidence 1, or boxes. A label with 0 is verified to be absent; a box with 0 is none.

    Raises UnusableFile as `sheets.read_sheet` does; for edges that are no numbers, no fractions or in the wrong
    order; for a Confidence that is neither 0 nor 1.
    """
    sheet, score = _read(path)
    table, origin = sheet.table, sheet.origin
    between = np.flatnonzero((score != 0) & (score != 1))
    refuse(
        path,
        (
            f"{origin.place(sheet.row[i], 'score')}: {score[i]:g} is neither 1 (present) nor 0 (verified absent); "
            "keep the labels that people verified"
            for i in between
        ),
    )
    is_there = pa.array(score == 1)
    present, absent = table.filter(is_there), table.filter(pa.array(score == 0))
    if "x_min" not in table.column_names:
        return _labels(path, sheet, present, absent)
    edges = _edges(sheet)
    crowd = (
        numbers(table["crowd"], sheet.row, origin, "crowd") == 1
        if "crowd" in table.column_names
        else np.zeros_like(score, bool)
    )
    boxes = pa.table(
        [table["image"], table["concept"], box_lists(edges, 4), pa.array(crowd)], schema=TRUE_BOXES
    )
    remarks = [*sheet.remarks, _unverified(path)]
    if absent.num_rows:
        remarks.append(f"{path.name}: {absent.num_rows:,} boxes with Confidence 0 are no boxes; left out.")
    truth = named_truth(
        path,
        table["image"],
        present,
        vocabulary=table["concept"],
        boxes=boxes.filter(is_there),
        relative_boxes=True,
        remarks=remarks,
    )
    return replace(truth, all_images=False)


def read_predictions(path: Path) -> Predictions:
    """Boxes or labels with Confidence as score. Raises UnusableFile as `read_truth` does, but for scores."""
    sheet, score = _read(path)
    table, origin = sheet.table, sheet.origin
    columns = [table["row"], table["image"], table["concept"], pa.array(score)]
    if "x_min" not in table.column_names:
        tags = Rows(pa.table(columns, schema=PREDICTED_TAGS), origin)
        return Predictions(path, tags=tags, remarks=sheet.remarks)
    columns.append(box_lists(_edges(sheet)))
    boxes = Rows(pa.table(columns, schema=PREDICTED_BOXES), origin)
    return Predictions(path, boxes=boxes, relative_boxes=True, remarks=sheet.remarks)


def _labels(path: Path, sheet: Sheet, present: pa.Table, absent: pa.Table) -> Truth:
    negatives = absent.select(["image", "concept"]).rename_columns(PAIRS.names) if absent.num_rows else None
    remarks = sheet.remarks if absent.num_rows else (*sheet.remarks, _unverified(path))
    return named_truth(
        path,
        sheet.table["image"],
        present,
        vocabulary=sheet.table["concept"],
        negatives=negatives,
        remarks=remarks,
    )


def _unverified(path: Path) -> str:
    return (
        f"{path.name}: does not say which classes were looked for in vain in each image, so what it does not name "
        "counts as absent; OpenImages verifies only some: --image-labels FILE."
    )


def _read(path: Path) -> tuple[Sheet, NDArray[np.float64]]:
    sheet = read_sheet(path, {ours: (name,) for ours, name in _FIELDS.items()}, _OPTIONAL)
    table, origin = sheet.table, sheet.origin
    found = _EDGES.keys() & set(table.column_names)
    lacking = [name for ours, name in _EDGES.items() if ours not in found] if found else []
    refuse(path, (f"row 1: has some of the four edges of a box, but no column {name}" for name in lacking))
    origin = Origin(path, origin.row, {**origin.fields, "bbox": "XMin, XMax, YMin, YMax"})
    return Sheet(table, origin, sheet.remarks), numbers(table["score"], sheet.row, origin, "score")


def _edges(sheet: Sheet) -> NDArray[np.float64]:
    """float64 [rows, 4]: x, y, width, height as fractions of the image."""
    table, row, origin = sheet.table, sheet.row, sheet.origin
    edge = {name: numbers(table[name], row, origin, name) for name in _EDGES}
    far = np.any([(v < -_FRACTION_SLACK) | (v > 1 + _FRACTION_SLACK) for v in edge.values()], axis=0)
    outside = np.flatnonzero(far) if far.size and far.mean() > _MOST_BEYOND else ()
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
