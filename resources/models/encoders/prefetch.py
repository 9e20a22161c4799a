"""Loading ahead: decode the next images while the model works on these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    items: Iterable[T], load: Callable[[T], R], *, workers: int, depth: int
) -> Iterator[tuple[T, R]]:
    """Yield `(item, load(item))` in order, with at most `depth` loads ahead of the consumer.

    An error of `load` is raised at the item's turn. Loads that were not reached are cancelled.
    """
    if workers < 1 or depth < 1:
        raise ValueError(f"workers and depth must be at least 1, got {workers} and {depth}")
    source = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="prefetch") as pool:
        ahead: deque[tuple[T, Future[R]]] = deque(
            (item, pool.submit(load, item)) for item in islice(source, depth)
        )
        try:
            while ahead:
                item, future = ahead.popleft()
                loaded = future.result()
                ahead.extend((item, pool.submit(load, item)) for item in islice(source, 1))
                yield item, loaded
        finally:
            for _, future in ahead:
                future.cancel()
