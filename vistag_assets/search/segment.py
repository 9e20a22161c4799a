"""One unchanging part of an index: vectors in half precision, what each is of, and FAISS's codes where they are many.

FAISS proposes, the stored vectors decide: a score is the product of the query with the vector as the lake holds it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.lake.files import replace_file
from vistag_assets.search.codes import Codes, read_codes, scan, search_codes, write_codes

EXACT_BELOW = 50_000
"""Vectors. Fewer are looked at one by one, which is exact and takes some milliseconds."""
VECTORS, ROWS, CODES = "vectors.f16", "rows.arrow", "codes.faiss"
_HALF_BYTES = 2

Vectors = NDArray[np.float32]
"""[n, dimension]"""


class DamagedIndex(Exception):
    """A file of an index is not what was written."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file was when it was written."""

    bytes: int
    crc32: int


@dataclass(frozen=True, eq=False)
class Segment:
    """A directory of an index. Vectors and codes are mapped: what of them is not looked at takes no memory."""

    directory: Path
    dimension: int
    files: Mapping[str, FileState]
    on_card: bool = False
    """whether codes are searched on a GPU where there is one"""

    @property
    def is_exact(self) -> bool:
        return CODES not in self.files

    @cached_property
    def rows(self) -> pa.Table:
        """What each vector is of, mapped. Raises DamagedIndex."""
        self.require(ROWS)
        try:
            with pa.memory_map(os.fsencode(self.directory / ROWS)) as source:
                return pa.ipc.open_file(source).read_all()
        except (pa.ArrowException, OSError) as error:
            raise DamagedIndex(f"{self.directory / ROWS}: {error}") from error

    @cached_property
    def vectors(self) -> NDArray[np.float16]:
        """[n, dimension], mapped. Raises DamagedIndex."""
        self.require(VECTORS)
        path = self.directory / VECTORS
        mapped = np.memmap(path, np.float16, "r") if path.stat().st_size else np.empty(0, np.float16)
        if mapped.size != self.rows.num_rows * self.dimension:
            raise DamagedIndex(f"{path} holds other vectors than {ROWS} names")
        return mapped.reshape(-1, self.dimension)

    @cached_property
    def codes(self) -> Codes:
        self.require(CODES)
        try:
            return read_codes(self.directory / CODES, on_card=self.on_card)
        except RuntimeError as error:  # what FAISS raises, at length
            raise DamagedIndex(f"{self.directory / CODES} is no index of FAISS") from error

    def require(self, name: str, *, content: bool | None = None) -> None:
        """Raises DamagedIndex where a file is not as it was written. What is looked at whole is read whole for it, and
        of the files of a large segment the size is held against what it was, unless `content` asks for more.
        """
        path, state = self.directory / name, self.files[name]
        try:
            size = path.stat().st_size
            if size != state.bytes:
                raise DamagedIndex(f"{path} has {size:,} bytes instead of {state.bytes:,}")
            if (self.is_exact if content is None else content) and _crc32(path) != state.crc32:
                raise DamagedIndex(f"{path} holds something else than was written")
        except FileNotFoundError:
            raise DamagedIndex(f"{path} is not there") from None

    def load(self) -> None:
        """Open all files. Raises DamagedIndex."""
        _ = self.rows, self.vectors, None if self.is_exact else self.codes

    def nearest(
        self, query: NDArray[np.float32], most: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Rows and scores of the `most` vectors with the largest product with a query [dimension], best first, ties by
        row. `allowed` [n]: the rows that may be found.
        """
        if self.is_exact:
            rows, scores = scan(self.vectors, query, most, allowed)
        else:
            rows = search_codes(self.codes, query, most, allowed)
            scores = self.read(rows) @ query
        best = np.lexsort((rows, -scores))[:most]
        return rows[best], scores[best]

    def read(self, rows: NDArray[np.intp]) -> Vectors:
        """Some vectors, by reads: what was mapped for them would stay in memory."""
        width = _HALF_BYTES * self.dimension
        content = b"".join(os.pread(self._descriptor, width, width * row) for row in rows.tolist())
        return np.frombuffer(content, np.float16).reshape(-1, self.dimension).astype(np.float32)

    @cached_property
    def _descriptor(self) -> int:
        return self._opened.fileno()

    @cached_property
    def _opened(self) -> Any:
        return (self.directory / VECTORS).open("rb", buffering=0)


def write_segment(
    directory: Path, dimension: int, batches: Iterator[tuple[pa.Table, NDArray[np.float16]]]
) -> Segment:
    """Write rows and vectors as they come, and codes where they are many. No batch is held after it was written."""
    directory.mkdir(parents=True)
    count = 0
    with replace_file(directory / VECTORS) as vectors, replace_file(directory / ROWS) as file:
        writer = None
        for rows, matrix in batches:
            writer = writer or pa.ipc.new_file(file, rows.schema)
            writer.write_table(rows)
            vectors.write(np.ascontiguousarray(matrix, np.float16).data)
            count += len(matrix)
        if writer is None:
            raise ValueError("a segment has rows")
        writer.close()
    names = [VECTORS, ROWS]
    if count >= EXACT_BELOW:
        stored = np.memmap(directory / VECTORS, np.float16, "r").reshape(count, dimension)
        write_codes(directory / CODES, stored)
        names.append(CODES)
    files = {name: FileState((directory / name).stat().st_size, _crc32(directory / name)) for name in names}
    return Segment(directory, dimension, files)


def _crc32(path: Path) -> int:
    found = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 22):
            found = zlib.crc32(block, found)
    return found
