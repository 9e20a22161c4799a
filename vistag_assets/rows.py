"""What a stage makes of a folder: the rows that it wants, and how those that are missing are made, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
from PIL import Image

from resources.lake.ranges import IdRange
from resources.models.encoders import prefetch
from vistag_assets.isolation import Batch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """What a folder's table is to hold, and how the rows that it lacks are made."""

    wanted: pa.Table
    """(id, fingerprint), each id once"""
    compute: Callable[[list[str]], Iterator[Batch]]
    """not called where nothing is missing, so that a model stays unloaded"""
    load: Callable[[], None] | None = None
    """loads the model before the first batch; its time is not the stage's"""
    without_rows: frozenset[str] = frozenset()
    """ids that have no rows whatever a model says: it is not asked"""
    dimension: int | None = None
    """of the vectors of the table, where it has any"""


def in_batches(
    size: int,
    step: Callable[[list[str]], Batch | Sequence[Mapping[str, Any]] | pa.Table],
    at_once: int = 1,
) -> Callable[[list[str]], Iterator[Batch]]:
    """A `compute` of `Rows` that calls `step` for so many ids at a time.

    `at_once`: so many steps in threads, for a step that waits for others.
    """

    def made(batch: list[str]) -> Batch:
        rows = step(batch)
        return rows if isinstance(rows, Batch) else Batch(batch, rows)

    def compute(ids: list[str]) -> Iterator[Batch]:
        return _each(made, (ids[start : start + size] for start in range(0, len(ids), size)), at_once)

    return compute


def in_batches_of_images(
    size: int,
    open_image: Callable[[str], Image.Image],
    step: Callable[[list[str], list[Image.Image]], Batch | Sequence[Mapping[str, Any]]],
    at_once: int = 1,
) -> Callable[[list[str]], Iterator[Batch]]:
    """The same with the pictures of the ids, which are opened while the step before is at work."""

    def made(batch: list[tuple[str, Image.Image]]) -> Batch:
        names = [id_ for id_, _ in batch]
        rows = step(names, [image for _, image in batch])
        return rows if isinstance(rows, Batch) else Batch(names, rows)

    def compute(ids: list[str]) -> Iterator[Batch]:
        opened = prefetch(ids, open_image, workers=2, depth=min(2 * size, size + 16))
        return _each(made, iter(lambda: list(islice(opened, size)), []), at_once)

    return compute


def _each(made: Callable[[T], Batch], batches: Iterable[T], at_once: int) -> Iterator[Batch]:
    """What is made of each, in their order."""
    if at_once == 1:
        yield from map(made, batches)
    else:
        yield from (batch for _, batch in prefetch(batches, made, workers=at_once, depth=at_once))


def range_by_range(ranges: Sequence[IdRange], rows_of: Callable[[IdRange], Rows]) -> Rows:
    """The rows of all images by what makes those of a range, of which one is held at a time.

    It is asked twice for ranges of which something is missing: for what they want, and for how it is computed.
    """
    held: dict[IdRange, Rows] = {}

    def of(ids: IdRange) -> Rows:
        if ids not in held:
            held.clear()  # first: two of them are never there
            held[ids] = rows_of(ids)
        return held[ids]

    def compute(ids: list[str]) -> Iterator[Batch]:
        for range_ in ranges:
            if own := [id_ for id_ in ids if id_ in range_]:
                yield from of(range_).compute(own)

    every = [_without_compute(of(ids)) for ids in ranges]
    return replace(
        every[-1],
        wanted=pa.concat_tables([made.wanted for made in every]),
        without_rows=frozenset().union(*(made.without_rows for made in every)),
        compute=compute,
    )


def _without_compute(made: Rows) -> Rows:
    """What it says, without the tables that it is computed from."""
    return replace(made, compute=lambda ids: iter(()))
