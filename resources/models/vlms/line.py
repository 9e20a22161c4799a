"""What all who ask one server have in common: connections, the pace, and how much is made ready ahead of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from resources.http_client import client_for
from resources.models.vlms.pace import Pace

if TYPE_CHECKING:
    import httpx2


class Line:
    """To one server; used in one event loop alone.

    A request is made ready while as many as the server takes are at work, so that the server has the next one as soon
    as it has answered.
    """

    def __init__(self, url: str, most: int) -> None:
        """`most`: requests at work at once."""
        self.pace = Pace(url, most)
        self.places = asyncio.Semaphore(2 * most)
        """of requests that are made ready or at work: each holds a whole picture"""
        self.reading = asyncio.Lock()
        """replies are read one at a time, so that what goes out meanwhile waits for one at most"""
        self._url, self._users = url, 0
        self._client: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        """The same for all who ask at one time, and closed behind the last of them. Raises NoConnectionError."""
        client = self._client = self._client or client_for(self._url)
        self._users += 1
        try:
            yield client
        finally:
            self._users -= 1
            if not self._users:
                self._client = None
                await client.aclose()


@cache
def line_to(url: str, most: int) -> Line:
    """Of all models and threads of this process; called in the background loop alone."""
    return Line(url, most)
