"""How many questions a server is asked at once: half as many when it says that it is busy, more again with each answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_SAME_S = 1.0
"""Replies of one moment are one sign."""

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

    @property
    def limit(self) -> int:
        return int(self._limit)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until fewer than `limit` questions are at work, and all that came before are."""
        if self._waiting or self._at_work >= self.limit:
            await self._called()
        else:
            self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            self._call_next()

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
                self._at_work -= 1
                self._call_next()
            raise

    def _call_next(self) -> None:
        """One question more for each that there is room for: whoever is called counts as at work."""
        while self._waiting and self._at_work < self.limit:
            called = self._waiting.popleft()
            if not called.done():  # stopped, and not yet told so
                self._at_work += 1
                called.set_result(None)

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
