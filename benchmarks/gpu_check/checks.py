"""A check of a card: what it found, and the run of all of them within a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["passed", "failed", "skipped"]
Figures = Mapping[str, float | str]


class Skipped(Exception):
    """Why a check cannot be made here."""


class Failed(Exception):
    """What a check found to be wrong, with what it measured."""

    def __init__(self, reason: str, figures: Figures) -> None:
        super().__init__(reason)
        self.figures = figures


@dataclass(frozen=True, slots=True)
class Check:
    """Something to be measured: `run` gives the figures, raises Skipped, or Failed."""

    name: str
    subject: str
    run: Callable[[], Figures]
    needs_s: float = 10
    """about how long it takes on a card; not begun where less is left"""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check."""

    name: str
    subject: str
    status: Status
    seconds: float
    reason: str = ""
    figures: Figures = field(default_factory=dict)


def made(check: Check, left_s: float) -> Result:
    """A check made within what is left of the time. An error of a library is a failure with its message."""
    if left_s < check.needs_s:
        return Result(check.name, check.subject, "skipped", 0.0, f"{left_s:.0f} s were left")
    started_s = time.perf_counter()

    def result(status: Status, reason: str = "", figures: Figures | None = None) -> Result:
        return Result(
            check.name, check.subject, status, time.perf_counter() - started_s, reason, figures or {}
        )

    try:
        return result("passed", figures=check.run())
    except Skipped as skipped:
        return result("skipped", str(skipped))
    except Failed as failed:
        return result("failed", str(failed), failed.figures)
    except Exception as error:  # of any library on any card: the others are to be made
        return result("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
