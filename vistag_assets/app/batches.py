"""Requests that wait at the same moment are answered together: one commit for many decisions, one batch for a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Full(RuntimeError):
    """More is waiting than can be answered soon."""


class Batches(Generic[Asked, Answer]):
    """Hands to `work`, in a thread and one batch after the other, whatever has come in since it began the last one."""

    def __init__(
        self,
        work: Callable[[list[Asked]], Sequence[Answer | Exception]],
        *,
        most_at_once: int,
        most_waiting: int,
    ) -> None:
        """`work` returns an answer, or what is to be raised, for each of what it gets."""
        self._work, self._most_at_once, self._most_waiting = work, most_at_once, most_waiting
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether who asks now is sent away."""
        return len(self._waiting) >= self._most_waiting

    async def ask(self, asked: Asked) -> Answer:
        """Raises Full, and what `work` raises or returns for it."""
        if self.is_full:
            raise Full
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work_off())
        return await answer

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = (
                    self._waiting[: self._most_at_once],
                    self._waiting[self._most_at_once :],
                )
                await self._answer([(asked, answer) for asked, answer in batch if not answer.done()])
        finally:
            self._worker = None

    async def _answer(self, batch: list[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        """`batch` is without those who no longer wait."""
        if not batch:
            return
        try:
            told = await asyncio.to_thread(self._work, [asked for asked, _ in batch])
        except Exception as error:
            told = [error] * len(batch)
        for (_, answer), one in zip(batch, told, strict=True):
            if answer.done():
                continue
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)
