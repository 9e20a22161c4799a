"""What a program costs: seconds, seconds of processors, memory at its peak."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VISTAG = (sys.executable, "-c", "from vistag_assets.cli import app; app()")
"""Begins a command line of `vistag`, by this Python and this code."""
_SHOWN_CHARACTERS = 2_000
_WATCH = """
import json, os, sys, time
started = time.perf_counter()
child = os.fork()
if not child:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
seconds, worked = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, worked, usage.ru_maxrss / 1024]))
"""
"""Runs a program and tells its exit code, seconds, seconds of processors and MiB at the peak."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one program (`vistag run`) took: all in all, of processors, of memory at its peak, and by step of Dagster's run."""

    seconds: float
    processor_seconds: float
    peak_mib: float
    step_seconds: Mapping[str, float] = field(default_factory=dict)


def cost_of(command: Sequence[str]) -> Cost:
    """A program and the processes that it waits for. Raises CalledProcessError where it fails, with what it said."""
    with tempfile.TemporaryFile() as said:
        # by a small program: the peak of one that this program starts would be this program's at the least
        watched = [sys.executable, "-S", "-c", _WATCH, *command]
        told = subprocess.run(watched, stdout=subprocess.PIPE, stderr=said, check=True).stdout
        code, seconds, processor_seconds, peak = json.loads(told)
        if code:
            said.seek(0)
            complaint = said.read().decode(errors="replace")
            error = subprocess.CalledProcessError(code, list(command), stderr=complaint)
            error.add_note(complaint[-_SHOWN_CHARACTERS:])
            raise error
    return Cost(seconds, processor_seconds, peak)


def peak_mib() -> float:
    """Of this program since it began; getrusage counts what the one that started it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024
