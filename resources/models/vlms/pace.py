"""How many questions a server is asked at once: half as many when it says that it is busy, more again with each answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

_SAME_S = 1.0
"""Replies of one moment are one sign."""
_LONGEST_S = 0.05
"""One question may go out slowly, as where its connection is new."""

_log = logging.getLogger(__name__)


class Pace:
    """Of one server; used in one event loop. Grows by one a round of answers, halves when the server is busy, as TCP does
    (additive increase, multiplicative decrease: Chiu and Jain 1989).
    """

    def __init__(self, url: str, most: int) -> None:
        """`most`: questions at once, and as many as there are at first."""
        self._url, self._most = url, most
        self._limit, self._at_work, self._halved_s = float(most), 0, 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._going_out, self._all_out = 0, asyncio.Event()

    @property
    def limit(self) -> int:
        return int(self._limit)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """Waits until fewer than `limit` questions are at work, and all that came before are. What it yields is to be
        called as soon as the question is on its way.
        """
        if self._waiting or self._at_work >= self.limit:
            await self._called()
        else:
            self._begin()
        going_out = True

        def out() -> None:
            nonlocal going_out
            if going_out:
                going_out = False
                self._out()

        try:
            yield out
        finally:
            out()
            self._end()

    async def calm(self) -> None:
        """Waits while questions go out, though not for long: what is to be computed is not in the way of what keeps the
        server at work.
        """
        if self._going_out:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_S):
                    await self._all_out.wait()

    async def _called(self) -> None:
        called = asyncio.get_running_loop().create_future()
        self._waiting.append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(called)
            else:  # called and stopped at the same time
                self._out()
                self._end()
            raise

    def _call_next(self) -> None:
        """One question more for each that there is room for: whoever is called counts as at work."""
        while self._waiting and self._at_work < self.limit:
            called = self._waiting.popleft()
            if not called.done():  # stopped, and not yet told so
                self._begin()
                called.set_result(None)

    def _begin(self) -> None:
        self._at_work += 1
        self._going_out += 1
        self._all_out.clear()

    def _out(self) -> None:
        self._going_out -= 1
        if not self._going_out:
            self._all_out.set()

    def _end(self) -> None:
        self._at_work -= 1
        self._call_next()

    def answered(self) -> None:
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def busy(self) -> None:
        now_s = time.monotonic()
        if now_s - self._halved_s < _SAME_S:
            return
        self._halved_s = now_s
        self._limit = max(1.0, self._limit / 2)
        _log.warning(
            "%s is busy: it is asked %d at a time, and more again as it answers", self._url, self.limit
        )
