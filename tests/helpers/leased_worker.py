"""A process of a shared home that updates one partition, and may be made to stand still at the worst of moments.

python leased_worker.py HOME FINGERPRINT [WHERE]: WHERE is `batch` (in the middle of its work) or `rename` (in the instant
between the question for its lease and the replacement of the partition); it stops itself there, and goes on when told.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from resources.home import Home
from resources.lake import files, update_partition

TABLE, FOLDER = "tags", "photos"
IDS = [f"{number:04d}" for number in range(8)]
BATCH_IDS = 2
SCHEMA = pa.schema([("id", pa.string()), ("fingerprint", pa.string())])


def rows_of(ids: list[str], print_: str) -> pa.Table:
    return pa.table({"id": ids, "fingerprint": [print_] * len(ids)}, schema=SCHEMA)


def update(home: Home, print_: str, where: str = "") -> None:
    def compute(ids: list[str]) -> Iterator[pa.Table]:
        for start in range(0, len(ids), BATCH_IDS):
            yield rows_of(ids[start : start + BATCH_IDS], print_)
            if where == "batch" and start == BATCH_IDS:
                stand_still()

    update_partition(home.lake, TABLE, FOLDER, rows_of(IDS, print_), SCHEMA, compute)


def stand_still() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def stand_still_before_the_last_replacement(partition: Path) -> None:
    ask = files.require_held

    def asked_in_time() -> None:
        ask()
        if list(partition.glob(".*.tmp")):
            files.require_held = ask
            stand_still()

    files.require_held = asked_in_time


if __name__ == "__main__":
    root, print_, *where = sys.argv[1:]
    home = Home(Path(root))
    if where == ["rename"]:
        stand_still_before_the_last_replacement(Path(str(home.lake.data_file(TABLE, FOLDER).parent)))
    update(home, print_, *where)
