"""The task API of DeepDataSpace, version 2, as its own SDK (dds-cloudapi-sdk, Apache-2.0) speaks it.

A task is posted with the header `Token` and a JSON body; the answer names it, and its status is asked for until it is
`success` or `failed`. Every answer is `{"code": 0, "msg": "ok", "data": {...}}`, another code being an error.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from resources.secrets import without_secret

API_VERSION = "v2"
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


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
            while (status := self._ask(f"/{API_VERSION}/task_status/{task}", deadline))[
                "status"
            ] != "success":
                if status["status"] == "failed":
                    reason = without_secret(
                        str(status.get("error") or "the server gives no reason"), self.token
                    )
                    raise TaskError(f"the task failed: {reason}")
                if time.monotonic() + self.patience.poll > deadline:
                    raise TaskError(f"the task was still {status['status']} after {self.patience.task:g} s")
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
        request = urllib.request.Request(
            self.endpoint + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Token": self.token, "Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.patience.request) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            said = without_secret(error.read(500).decode(errors="replace"), self.token).strip()
            reason = f"the server answered {error.code} {error.reason}" + (f" ({said})" if said else "")
            if error.code in _BUSY:
                after = error.headers.get("Retry-After", "")
                raise _TryAgain(reason, float(after) if after.isdigit() else 0.0) from error
            raise TaskError(reason) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _TryAgain(f"no answer ({getattr(error, 'reason', None) or error!r})") from error
        except ValueError as error:
            raise TaskError(f"the server did not answer in JSON ({error})") from error
        if (
            not isinstance(answer, dict)
            or answer.get("code") != 0
            or not isinstance(answer.get("data"), dict)
        ):
            raise TaskError(f"the server refused: {without_secret(json.dumps(answer), self.token)[:500]}")
        data: dict[str, Any] = answer["data"]
        return data
