"""A program that ends as soon as it has read a table ends well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import services

from resources.lake.store import write_parquet

ENDINGS = 300
# A child of a fork has nothing to import: it reads, ends as Python does, and the next one starts.
_ENDS = """
import os, sys
from pathlib import Path
from resources.lake.store import read_parquet
cpus = sorted(os.sched_getaffinity(0))
for number in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {cpus[number % len(cpus)]})
        rows = read_parquet(Path(sys.argv[1]))
        sys.exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"ended with the status {status} after {number} good ones"
"""


@pytest.mark.slow
def test_no_thread_of_arrow_is_left_with_memory_of_python_s(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(
        path,
        pa.table({f"c{column}": [f"{column} {row}" * 5 for row in range(20_000)] for column in range(24)}),
    )
    command = [sys.executable, "-c", _ENDS, str(path), str(ENDINGS)]
    ended = subprocess.run(command, env=services.environment(), capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stderr
