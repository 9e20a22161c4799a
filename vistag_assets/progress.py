"""How far a stage has come, told to whoever watches (the command line's progress bars, or nobody)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from resources.models.load_counter import model_loads

T = TypeVar("T")
Watcher = Callable[[str, int, int], None]
"""Called with a stage, the images done so far and how many are known of."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Send the progress of everything inside to `watcher`."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Meter:
    """Adds up the progress of one stage over its folders, the seconds that it worked and the models that it loaded."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.seconds = 0.0
        self._told_seconds = 0.0
        self._told_loads = model_loads().total()
        self._of_folders: list[tuple[int, int]] = []
        self._working = 0
        self._since = 0.0
        self._lock = threading.Lock()

    def folder(self) -> Callable[[int, int], None]:
        """An `on_progress(done, total)` for the next folder."""
        place = len(self._of_folders)
        self._of_folders.append((0, 0))

        def on_progress(done: int, total: int) -> None:
            self._of_folders[place] = (done, total)
            if watcher := _watcher.get():
                done, total = (sum(figure) for figure in zip(*self._of_folders, strict=True))
                watcher(self.stage, done, total)

        return on_progress

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What several threads do at once counts once."""
        self._count_worker(1)
        try:
            yield
        finally:
            self._count_worker(-1)

    def _count_worker(self, more: int) -> None:
        with self._lock:
            now = time.perf_counter()
            self.seconds += now - self._since if self._working else 0.0
            self._since, self._working = now, self._working + more

    def timed_each(self, batches: Iterator[T]) -> Iterator[T]:
        """The batches, with the time that each took to make."""
        while True:
            with self.timed():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @property
    def model_loads(self) -> int:
        """Models that were loaded since the meter was made or `speed` last asked."""
        return model_loads().total() - self._told_loads

    def speed(self, images: int, device: str) -> dict[str, float | int | str]:
        """Metadata of how fast so many images were done since this was last asked, which is a folder's; nothing where
        there was nothing to do.
        """
        seconds = self.seconds - self._told_seconds
        speed: dict[str, float | int | str] = {}
        if images:
            rate = float(f"{images / seconds:.3g}")
            speed |= {"device": device, "images_per_second": rate}
        if self.model_loads:
            speed["model_loads"] = self.model_loads
        self._told_seconds, self._told_loads = self.seconds, model_loads().total()
        return speed
