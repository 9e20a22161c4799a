"""A table of images and tags: CSV, Parquet or flat JSON Lines with columns such as `image,tag` or `image,tag,score`.

In a ground truth a row with an empty tag stands for an image without tags, one with an empty image for a tag
that no image carries. Predictions without scores all count the same. Boxes may stand beside the tags, as corners
(`filename,width,height,class,xmin,ymin,xmax,ymax`) or as `x,y,width,height`, in pixels.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.readers.named import named_truth
from evaluation.readers.sheets import Sheet, header_of, parsed_json, read_sheet
from evaluation.readers.tables import (
    PREDICTED_BOXES,
    PREDICTED_TAGS,
    TRUE_BOXES,
    Origin,
    Predictions,
    Rows,
    Truth,
    UnusableFile,
    refuse,
)
from evaluation.readers.values import box_lists, check_boxes, numbers

_CORNERS = {
    "x_min": ("xmin", "x1"),
    "y_min": ("ymin", "y1"),
    "x_max": ("xmax", "x2"),
    "y_max": ("ymax", "y2"),
}
_SIDES = {"x": ("x", "left"), "y": ("y", "top"), "width": ("width", "w"), "height": ("height", "h")}
_FIELDS = {
    "image": ("image", "file_name", "filename", "file", "filepath", "path", "image_name", "image_id"),
    "concept": ("tag", "tags", "label", "labels", "class", "class_name", "category", "concept"),
    "score": ("score", "scores", "confidence", "conf", "probability"),
    **_CORNERS,
    **_SIDES,
}
_OPTIONAL = frozenset({"score", *_CORNERS, *_SIDES})


def recognises(path: Path, head: str) -> bool:
    names = header_of(path, head)
    return all(names & set(_FIELDS[column]) for column in ("image", "concept"))


def read_truth(path: Path) -> Truth:
    """Raises UnusableFile as `sheets.read_sheet` does, for boxes that are none, and for a file with scores."""
    sheet = _read(path)
    table = sheet.table
    if "score" in table.column_names:
        raise UnusableFile(
            f"{path}: has a column score, which ground truth has not. Are the two files swapped? "
            "If not, take the column out."
        )
    has_image, has_tag = (pc.not_equal(table[name], "") for name in ("image", "concept"))
    tagged = pc.and_(has_image, has_tag)
    boxes = None
    if "bbox" in sheet.origin.fields:
        tagged_sheet = Sheet(table.filter(tagged), sheet.origin)
        columns = [
            tagged_sheet.table["image"],
            tagged_sheet.table["concept"],
            box_lists(_boxes(tagged_sheet), 4),
        ]
        boxes = pa.table([*columns, pa.array(np.zeros(tagged_sheet.table.num_rows, bool))], schema=TRUE_BOXES)
    return named_truth(
        path,
        table["image"].filter(has_image),
        table.filter(tagged),
        vocabulary=table["concept"].filter(has_tag),
        boxes=boxes,
        sizes=_sizes(table),
        remarks=sheet.remarks,
    )


def read_predictions(path: Path) -> Predictions:
    """Raises UnusableFile as `sheets.read_sheet` does, for an empty tag, a box that is none or a score that is no number."""
    sheet = _read(path)
    table, origin, row = sheet.table, sheet.origin, sheet.row
    for name in ("image", "concept"):
        empty = np.flatnonzero(pc.equal(table[name], "").to_numpy())
        refuse(path, (f"{origin.place(row[i], name)}: is empty; leave the row out" for i in empty))
    scored = "score" in table.column_names
    score = numbers(table["score"], row, origin, "score") if scored else np.ones(len(row))
    remarks = sheet.remarks if scored else (*sheet.remarks, no_scores(path))
    columns = [table["row"], table["image"], table["concept"], score]
    if "bbox" in origin.fields:
        boxes = Rows(pa.table([*columns, box_lists(_boxes(sheet))], schema=PREDICTED_BOXES), origin)
        return Predictions(path, boxes=boxes, remarks=remarks)
    return Predictions(path, tags=Rows(pa.table(columns, schema=PREDICTED_TAGS), origin), remarks=remarks)


def no_scores(path: Path) -> str:
    return (
        f"{path.name}: has no scores, so all predictions of an image count the same and go by the tag's name."
    )


def _read(path: Path) -> Sheet:
    sheet = _one_tag_a_row(read_sheet(path, _FIELDS, _OPTIONAL))
    edges = next(
        (names for names in (_CORNERS, _SIDES) if names.keys() <= set(sheet.table.column_names)), None
    )
    if edges is None:
        return sheet
    fields = sheet.origin.fields
    box = ", ".join(fields[name] for name in edges)
    return Sheet(sheet.table, Origin(path, sheet.origin.row, {**fields, "bbox": box}), sheet.remarks)


def _one_tag_a_row(sheet: Sheet) -> Sheet:
    """Cells of a column of several tags or labels hold a JSON list, or parts between bars."""
    if not sheet.origin.fields["concept"].lower().endswith("s"):
        return sheet
    cells = [_parts(cell) for cell in sheet.table["concept"].to_pylist()]
    if all(len(cell) == 1 for cell in cells):
        return sheet
    index = np.repeat(np.arange(len(cells)), [max(1, len(cell)) for cell in cells])
    names = [name for cell in cells for name in cell or [""]]
    column = sheet.table.column_names.index("concept")
    rows = sheet.table.take(pa.array(index)).set_column(column, "concept", pa.array(names, pa.string()))
    if "score" in rows.column_names:
        scores = [score for cell in sheet.table["score"].to_pylist() for score in _parts(cell)]
        if len(scores) == len(names):
            rows = rows.set_column(rows.column_names.index("score"), "score", pa.array(scores, pa.string()))
    return Sheet(rows, sheet.origin, sheet.remarks)


def _parts(cell: str) -> list[str]:
    if cell[:1] == "[":
        try:
            return [str(part) for part in parsed_json(cell)]
        except ValueError:
            return [part.strip(" '\"") for part in cell.strip("[] ").split(",") if part.strip(" '\"")]
    return [part.strip() for part in cell.split("|")] if "|" in cell else [cell]


def _boxes(sheet: Sheet) -> NDArray[np.float64]:
    """float64 [rows, 4]: x, y, width, height in pixels."""
    corners = _CORNERS.keys() <= set(sheet.table.column_names)
    values = [
        numbers(sheet.table[name], sheet.row, sheet.origin, name)
        for name in (_CORNERS if corners else _SIDES)
    ]
    boxes = np.stack(values, axis=1)
    if corners:
        boxes[:, 2:] -= boxes[:, :2]
    check_boxes(boxes, sheet.row, sheet.origin)
    return boxes


def _sizes(table: pa.Table) -> dict[str, tuple[float, float]]:
    """Width and height of the images, where they stand beside corners."""
    if not {"width", "height", *_CORNERS} <= set(table.column_names):
        return {}
    sides = (
        pc.cast(pc.if_else(pc.equal(table[s], ""), None, table[s]), pa.float64()) for s in ("width", "height")
    )
    rows = zip(table["image"].to_pylist(), *(side.to_pylist() for side in sides), strict=True)
    return {image: (width, height) for image, width, height in rows if width and height}
