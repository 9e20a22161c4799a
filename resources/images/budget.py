"""A bound on what the threads of one process hold decoded at the same time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Condition
from typing import Protocol


class Budget(Protocol):
    """Who says when a decoder may hold its pixels."""

    def hold(self, pixels: int) -> AbstractContextManager[None]:
        """Wait until that many pixels are free, and hold them for the length of the block."""


class PixelBudget:
    """Shared by threads: together they hold `pixels` pixels at most, so many cores need no more memory.

    One holder may always have the whole budget to itself; a larger wish counts as the whole.
    """

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._free = pixels
        self._returned = Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until that many pixels are free, and hold them for the length of the block."""
        pixels = min(pixels, self._pixels)
        with self._returned:
            self._returned.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._returned:
                self._free += pixels
                self._returned.notify_all()
