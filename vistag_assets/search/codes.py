"""FAISS's compact codes of many vectors: an inverted file with a scalar quantiser, which is mapped, not loaded.

What was chosen, and against what: `make bench-search`, docs/search.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.lake.files import replace_file

PROBED = 96
"""Lists that are looked through for a query."""
PROPOSED = 100
"""Rows that are looked at again by their vectors, at least."""
_PROPOSED_FOR_ONE = 4
_LISTS_BY_ROOT = 3
_TRAINED_ON_A_LIST = 40
_TRAINING_ROUNDS = 6
_BATCH = 1 << 16
_SEED = 1


def write_codes(path: Path, vectors: NDArray[np.float16]) -> None:
    """Train on a sample of mapped vectors [n, dimension] and code them all, some at a time."""
    import faiss

    count, dimension = vectors.shape
    lists = _LISTS_BY_ROOT * math.isqrt(count)
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        lists,
        faiss.ScalarQuantizer.QT_4bit,
        faiss.METRIC_INNER_PRODUCT,
        True,  # of what differs from the centre of its list, by residual
    )
    index.cp.niter, index.cp.seed, index.cp.spherical = _TRAINING_ROUNDS, _SEED, True
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, _TRAINED_ON_A_LIST
    step = max(1, count // (_TRAINED_ON_A_LIST * lists))
    index.train(vectors[::step].astype(np.float32))
    for start in range(0, count, _BATCH):
        index.add(vectors[start : start + _BATCH].astype(np.float32))
    with replace_file(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


@dataclass(frozen=True)
class Codes:
    """The codes of a segment as FAISS searches them."""

    mapped: Any
    card: Any = None
    """the same on the first GPU, which knows no filters, and is asked by one thread at a time"""
    turn: Lock = field(default_factory=Lock)


def read_codes(path: Path, *, on_card: bool = False) -> Codes:
    """The index of FAISS, its lists mapped; `on_card`: also on the first GPU, where faiss-gpu is installed and there is one.

    Raises RuntimeError.
    """
    import faiss

    # FAISS takes UTF-8 alone, and a path need not be that
    with path.open("rb") as file:
        mapped = faiss.read_index(f"/dev/fd/{file.fileno()}", faiss.IO_FLAG_MMAP)
    if not (on_card and faiss.get_num_gpus()):
        return Codes(mapped)
    return Codes(mapped, faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, mapped))


def search_codes(
    codes: Codes, query: NDArray[np.float32], most: int, allowed: NDArray[np.bool_] | None
) -> NDArray[np.intp]:
    """Rows that are likely among the `most` nearest, in no order. The fewer rows are allowed, the more lists are
    looked through, so that a filter leaves as many to choose from.
    """
    import faiss

    index = codes.mapped
    proposed = max(PROPOSED, _PROPOSED_FOR_ONE * most)
    options: dict[str, Any] = {"nprobe": PROBED}
    if allowed is not None:
        share = max(float(allowed.mean()), 1 / index.nlist)
        bits = np.packbits(allowed, bitorder="little")
        options = {"nprobe": min(index.nlist, math.ceil(PROBED / share)), "sel": faiss.IDSelectorBitmap(bits)}
    parameters = faiss.SearchParametersIVF(**options)
    if codes.card is not None and allowed is None:
        with codes.turn:
            _, rows = codes.card.search(query[None], proposed, params=parameters)
    else:
        _, rows = index.search(query[None], proposed, params=parameters)
    return np.asarray(rows[0][rows[0] >= 0], np.intp)


def scan(
    vectors: NDArray[np.float16], query: NDArray[np.float32], most: int, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Rows and scores of the `most` nearest of mapped vectors [n, dimension], in no order: FAISS reads the half floats
    where they lie.
    """
    import faiss

    most = min(most, len(vectors))
    scores, rows = np.full(most, -np.inf, np.float32), np.full(most, -1, np.int64)
    if most:
        halves = faiss.ScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16)
        selector = (
            None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        )
        scanner = halves.select_InvertedListScanner(faiss.METRIC_INNER_PRODUCT, None, True, selector, False)
        query = np.ascontiguousarray(query, np.float32)
        scanner.set_query(faiss.swig_ptr(query))
        scanner.set_list(0, 0.0)
        content = np.asarray(vectors).view(np.uint8)
        scanner.scan_codes(
            len(vectors), faiss.swig_ptr(content), None, faiss.swig_ptr(scores), faiss.swig_ptr(rows), most
        )
    return np.asarray(rows[rows >= 0], np.intp), scores[rows >= 0]
