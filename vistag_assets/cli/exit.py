"""The end of the process: no message of a library after the command's own."""

from __future__ import annotations

import atexit
import os
import sys


def end_quietly() -> None:
    """Mute standard error once everything else has ended; to be called before the heavy imports.

    DuckDB's bindings list their own types as leaked when the interpreter ends with torch loaded. It happens
    after all Python code, harms nothing, and nobody who reads it can act on it.
    """
    atexit.register(_mute_standard_error)


def _mute_standard_error() -> None:
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
