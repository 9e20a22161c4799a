"""A CSV file with the header `image,tag` or `image,tag,score`.

In a ground truth a row with an empty tag stands for an image without tags, one with an empty image for a tag
that no image carries. Predictions without scores all count the same.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.readers.csv_columns import header_of, read_columns
from evaluation.readers.named import named_truth
from evaluation.readers.tables import PREDICTED_TAGS, Predictions, Rows, Truth, UnusableFile, refuse
from evaluation.readers.values import numbers

_FIELDS = {"image": "image", "concept": "tag", "score": "score"}
_OPTIONAL = frozenset({"score"})


def recognises(path: Path, head: str) -> bool:
    return {"image", "tag"} <= header_of(head)


def read_truth(path: Path) -> Truth:
    """Raises UnusableFile as `csv_columns.read_columns` does, and for a file with scores."""
    table, _ = read_columns(path, _FIELDS, _OPTIONAL)
    if "score" in table.column_names:
        raise UnusableFile(
            f"{path}: has a column score, which ground truth has not. Are the two files swapped? "
            "If not, take the column out."
        )
    has_image, has_tag = (pc.not_equal(table[name], "") for name in ("image", "concept"))
    return named_truth(
        path,
        table["image"].filter(has_image),
        table.filter(pc.and_(has_image, has_tag)),
        vocabulary=table["concept"].filter(has_tag),
    )


def read_predictions(path: Path) -> Predictions:
    """Raises UnusableFile as `csv_columns.read_columns` does, for an empty tag, or a score that is no number."""
    table, origin = read_columns(path, _FIELDS, _OPTIONAL)
    row = table["row"].to_numpy()
    for name in ("image", "concept"):
        empty = np.flatnonzero(pc.equal(table[name], "").to_numpy())
        refuse(path, (f"{origin.place(row[i], name)}: is empty; leave the row out" for i in empty))
    scored = "score" in table.column_names
    score = numbers(table["score"], row, origin, "score") if scored else np.ones(len(row))
    columns = [table["row"], table["image"], table["concept"], score]
    return Predictions(path, tags=Rows(pa.table(columns, schema=PREDICTED_TAGS), origin))
