"""The task API of DeepDataSpace, version 2, as its own SDK (dds-cloudapi-sdk, Apache-2.0) speaks it.

A task is posted with the header `Token` and a JSON body; the answer names it, and its status is asked for until it is
`success` or `failed`. Every answer is `{"code": 0, "msg": "ok", "data": {...}}`, another code being an error.
"""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from resources.http_client import NoConnectionError, NoReplyInTimeError, OddReplyError, ask, excerpt
from resources.secrets import without_secret

API_VERSION = "v2"
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class TaskError(RuntimeError):
    """A task without a result; the message says what the server answered, or that it did not."""


class _TryAgain(Exception):
    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a task may take, in seconds."""

    request: float = 30.0
    """for one answer"""
    task: float = 180.0
    """from its start to its result"""
    poll: float = 0.5
    """between two questions about its status"""
    tries: int = 5
    """of one request that the server was too busy for, or that did not get through"""
    pause: float = 1.0
    """before the second try, at most; then twice, four times, ..., unless the server says how long"""


@dataclass(frozen=True, slots=True)
class DeepDataSpace:
    """A client of one account. Safe to use from several threads."""

    endpoint: str
    """https://..., without a slash at its end"""
    token: str
    patience: Patience = Patience()

    def run(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a task at `path` (/v2/task/...). Raises TaskError.

        A request that is sent again has the same idempotency key, so that the task is not paid for twice.
        """
        deadline = time.monotonic() + self.patience.task
        key = uuid.uuid4().hex
        try:
            task = self._ask(path, deadline, body, {"Idempotency-Key": key})["task_uuid"]
            if not isinstance(task, str) or not _TASK_ID.fullmatch(task):  # it becomes a part of an address
                raise TaskError("an answer is not as published: `task_uuid` is no name of a task")
            while (status := self._ask(f"/{API_VERSION}/task_status/{task}", deadline))[
                "status"
            ] != "success":
                if status["status"] == "failed":
                    raise TaskError(
                        f"the task failed: {self._told(status.get('error') or 'the server gives no reason')}"
                    )
                if time.monotonic() + self.patience.poll > deadline:
                    raise TaskError(
                        f"the task was still {self._told(status['status'])} after {self.patience.task:g} s"
                    )
                time.sleep(self.patience.poll)
            result: dict[str, Any] = status["result"]
        except KeyError as error:
            raise TaskError(f"an answer is not as published: it lacks {error}") from error
        return result

    def _ask(
        self,
        path: str,
        deadline: float,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """`data` of an answer, asked for as often as patience allows."""
        patience = self.patience
        for attempt in count(1):
            try:
                return self._ask_once(path, body, headers or {})
            except _TryAgain as error:
                pause = max(error.after, random.uniform(0, patience.pause * 2 ** (attempt - 1)))
                if attempt == patience.tries:
                    raise TaskError(f"{error}, {patience.tries} times") from error
                if time.monotonic() + pause > deadline:
                    raise TaskError(
                        f"{error}, and the time of the task ({patience.task:g} s) is over"
                    ) from error
                time.sleep(pause)
        raise AssertionError  # for mypy: the loop has no end of its own

    def _ask_once(
        self, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            reply = ask(
                "GET" if body is None else "POST",
                self.endpoint + path,
                seconds=self.patience.request,
                headers={"Token": self.token, **headers},
                body=body,
            )
        except (NoConnectionError, NoReplyInTimeError) as error:
            raise _TryAgain(f"no answer ({self._told(str(error))})") from None
        except OddReplyError as error:
            raise TaskError(f"the server gave no usable answer: {self._told(str(error))}") from None
        if reply.status != 200:
            said = self._told(reply.content[:500].decode(errors="replace"))
            reason = f"the server answered {reply.elsewhere or f'{reply.status} {reply.phrase}'}"
            reason = self._told(reason) + (f" ({said})" if said else "")
            if reply.status in _BUSY:
                raise _TryAgain(reason, reply.retry_after_s)
            raise TaskError(reason)
        try:
            answer = reply.json()
        except OddReplyError as error:
            raise TaskError(f"the server did not answer in JSON: {self._told(str(error))}") from None
        if (
            not isinstance(answer, dict)
            or answer.get("code") != 0
            or not isinstance(answer.get("data"), dict)
        ):
            raise TaskError(f"the server refused: {self._told(answer)}")
        data: dict[str, Any] = answer["data"]
        return data

    def _told(self, said: Any) -> str:
        """What the server said, without the key in it, as one line."""
        text = said if isinstance(said, str) else json.dumps(said)
        return excerpt(without_secret(text, self.token))
