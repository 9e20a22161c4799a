"""A bound on what the threads of one process hold decoded at the same time, and on their number, by the memory there is."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from threading import Condition
from typing import Protocol

BYTES_A_PIXEL = 16
SPARE_BYTES = 384 * 1024 * 1024
"""What a decoder may map besides: the file itself (64 MiB at most, or its size), its threads, its tables."""
USED_SHARE = 0.8
"""of the memory there is; the rest is for everybody else"""
CGROUPS = {"": ("/sys/fs/cgroup", "memory.max"), "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")}
"""What a line of /proc/self/cgroup names -> where the group's files lie, and which of them is its limit (versions 2, 1)."""


def memory_bytes() -> int:
    """The memory of this machine, or of the container or service if that may have less."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, kind, path = line.split(":", 2)
        if kind in CGROUPS:
            root, limit = CGROUPS[kind]
            for group in (PurePosixPath(path), *PurePosixPath(path).parents):
                with suppress(OSError, ValueError):  # there is none, or no limit ("max")
                    amounts.append(int(Path(f"{root}{group}", limit).read_text()))
    return min(amounts)


def affordable(max_pixels: int, workers: int, memory: int) -> tuple[int, int]:
    """How many pixels may be held at a time, and by how many processes, so that all of their bounds fit into `memory`.

    As many as wished for where there is room; always one process, and the pixels of a small picture.
    """
    usable = int(memory * USED_SHARE)
    pixels = max(1_000_000, min(max_pixels, (usable - SPARE_BYTES) // BYTES_A_PIXEL))
    return pixels, max(1, min(workers, (usable - BYTES_A_PIXEL * pixels) // SPARE_BYTES))


class Budget(Protocol):
    """Who says when a decoder may hold its pixels."""

    def hold(self, pixels: int) -> AbstractContextManager[None]:
        """Wait until that many pixels are free, and hold them for the length of the block."""


class PixelBudget:
    """Shared by threads: together they hold `pixels` pixels at most, so many cores need no more memory.

    One holder may always have the whole budget to itself; a larger wish counts as the whole.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._free = pixels
        self._returned = Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until that many pixels are free, and hold them for the length of the block."""
        pixels = min(pixels, self.pixels)
        with self._returned:
            self._returned.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._returned:
                self._free += pixels
                self._returned.notify_all()
