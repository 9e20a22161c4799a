"""One event loop beside the threads of a run, so that what several of them ask of a server is in one queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_starting = threading.Lock()


def in_background(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives, done in the loop. Raises what it raises; whoever stops waiting (Ctrl-C) stops it."""
    done = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return done.result()
    except BaseException:
        done.cancel()
        raise


async def gathered(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them at once, in their order. Where one raises, the others are stopped before that is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:  # a cache alone would let two threads start one each
        return _started()
