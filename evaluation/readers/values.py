"""Text to numbers and boxes; what is none is named by its row and field."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.readers.tables import Origin, refuse


def numbers(
    texts: pa.ChunkedArray, row: NDArray[np.int64], origin: Origin, column: str
) -> NDArray[np.float64]:
    """float64 [rows], all finite. Raises UnusableFile that names each text which is no such number."""
    number = _cast(texts, "double").to_numpy()
    bad = np.flatnonzero(~np.isfinite(number))
    refuse(origin.path, (f"{origin.place(row[i], column)}: {_shown(texts[i])} is no number" for i in bad))
    return number


def boxes(texts: pa.ChunkedArray, row: NDArray[np.int64], origin: Origin) -> NDArray[np.float64]:
    """float64 [rows, 4] of JSON lists x, y, width, height, checked as `check_boxes` does."""
    lists = _cast(texts, "double[]")
    length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    bad = np.flatnonzero(length != 4)
    shape = "a list of four numbers: x, y, width, height"
    refuse(
        origin.path,
        (f"{origin.place(row[i], 'bbox')}: {_shown(texts[i])} is not {shape}" for i in bad),
    )
    values = pc.list_flatten(lists).to_numpy().reshape(-1, 4)
    check_boxes(values, row, origin)
    return values


def check_boxes(values: NDArray[np.float64], row: NDArray[np.int64], origin: Origin) -> None:
    """Raise UnusableFile for boxes [rows, 4] with a side that is negative, or with a value that is not finite."""
    bad = np.flatnonzero(~(np.isfinite(values).all(axis=1) & (values[:, 2:] >= 0).all(axis=1)))
    refuse(origin.path, _box_problems(values, bad, row, origin))


def box_lists(values: NDArray[np.float64], size: int = -1) -> pa.Array:
    """[rows, 4] as a column of lists; of fixed size where `size` is 4."""
    flat = pa.array(values.ravel(), pa.float64())
    if size == 4:
        return pa.FixedSizeListArray.from_arrays(flat, 4)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32) * 4), flat)


def _box_problems(
    values: NDArray[np.float64], bad: NDArray[np.int64], row: NDArray[np.int64], origin: Origin
) -> Iterator[str]:
    for i in bad:
        what = "has a negative side" if np.isfinite(values[i]).all() else "holds what is no number"
        yield (
            f"{origin.place(row[i], 'bbox')}: {values[i].tolist()} {what}; a box is x, y, width, height, "
            "with sides of 0 or more"
        )


def _cast(texts: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    with duckdb.connect() as sql:
        sql.register("given", pa.table({"text": texts}))
        return sql.sql(f"select try_cast(text as {kind}) as value from given").to_arrow_table()["value"]


def _shown(text: pa.Scalar) -> str:
    """In quotes, unless it is JSON that has its own."""
    value = text.as_py()
    if value is None:
        return "nothing"
    short = value if len(value) <= 60 else f"{value[:57]}..."
    return short if short[:1] in ('"', "[", "{") else repr(short)
