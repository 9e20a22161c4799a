"""Vectors as Parquet columns: fixed-size lists of float16, half the size and enough for unit vectors."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def embedding_column(vectors: npt.NDArray[np.floating]) -> pa.FixedSizeListArray:
    """A column of type fixed_size_list<float16>[dim] from an array [n, dim], n >= 0, dim >= 1.

    Raises ValueError if the shape is another one, or a value is not finite in float16 (beyond 65504).
    """
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"embeddings must have the shape [n, dim], dim >= 1, not {list(vectors.shape)}")
    with np.errstate(over="ignore"):  # reported below, with the row
        halves = np.ascontiguousarray(vectors, dtype=np.float16)
    broken = np.flatnonzero(~np.isfinite(halves).all(axis=1))
    if broken.size:
        raise ValueError(f"{broken.size} embeddings are not finite in float16, the first in row {broken[0]}")
    return pa.FixedSizeListArray.from_arrays(pa.array(halves.reshape(-1)), vectors.shape[1])


def embedding_matrix(column: pa.FixedSizeListArray | pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """The vectors of a column of fixed-size lists of floats as float32 [n, dim], n >= 0.

    One copy is made, from float16 to float32; none if the column is one chunk of float32.
    Raises ValueError if the column is of another type or holds nulls.
    """
    if not pa.types.is_fixed_size_list(column.type) or not pa.types.is_floating(column.type.value_type):
        raise ValueError(f"embeddings are fixed-size lists of floats, not {column.type}")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_chunk_matrix(chunk) for chunk in chunks]
    if len(parts) == 1:
        return parts[0].astype(np.float32, copy=False)
    matrix = np.empty((len(column), column.type.list_size), np.float32)
    start = 0
    for part in parts:
        matrix[start : start + len(part)] = part
        start += len(part)
    return matrix


def _chunk_matrix(chunk: pa.FixedSizeListArray) -> npt.NDArray[np.floating]:
    # flatten() keeps to the slice and leaves null lists out.
    values = chunk.flatten()
    if chunk.null_count or values.null_count:
        raise ValueError("embeddings hold nulls")
    return values.to_numpy(zero_copy_only=True).reshape(len(chunk), chunk.type.list_size)
