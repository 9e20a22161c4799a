"""Exports of small lakes, for tests: the hand-made home, and exiftool as a reader."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from resources.home import Home
from resources.workspace import open_workspace
from vistag_assets.exports.formats import FORMATS
from vistag_assets.exports.job import Job, Outcome
from vistag_assets.exports.records import Selection

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def export(home: Home, name: str, to: Path, *, selection: Selection | None = None, **options: Any) -> Outcome:
    format_ = FORMATS[name]
    return Job(
        open_workspace(home), format_, to, selection=selection, options=format_.options(**options)
    ).run()


def exiftool(*files: Path) -> list[dict[str, Any]]:
    """What exiftool reads of files, with groups and structures. It may have no complaint, but that it ends Microsoft's
    namespace without the slash that Windows and exiv2 write.
    """
    command = ["exiftool", "-j", "-struct", "-G1", "-n", "-charset", "utf8", *map(str, files)]
    read: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for found in read:
        complaints = [value for key, value in found.items() if key.endswith(("Warning", "Error"))]
        assert set(complaints) <= {"[minor] Fixed incorrect URI for xmlns:MicrosoftPhoto"}
    return read


def content(folder: Path) -> dict[str, bytes]:
    """Path below a folder -> what is in it, of all files."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
