"""`kill -9` at any moment leaves every partition whole: 20 real processes, killed at random moments.

Run as a script, this file is the process that gets killed.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import services

from resources.fingerprint import fingerprint
from resources.lake import Lake, UpdateStats, update_partition

TABLE, FOLDER = "tags", "photos"
IDS = [f"{number:04d}" for number in range(48)]
BATCH_IDS = 4
BATCHES = len(IDS) // BATCH_IDS
ROWS_AN_ID = 1000  # makes the last write long enough to be hit
SCHEMA = pa.schema(
    [("id", pa.string()), ("rank", pa.int32()), ("score", pa.float64()), ("fingerprint", pa.string())]
)
MODELS = [fingerprint(model=name) for name in "abc"]
KILLS = 20


def lake_at(home: Path) -> Lake:
    return Lake(home / "lake", home / "pending")


def rows_of(ids: list[str], print_: str) -> pa.Table:
    """Rows that only these ids and this fingerprint give, and that do not compress."""
    scores = [np.random.default_rng([int(id), int(print_, 16)]).random(ROWS_AN_ID) for id in ids]
    return pa.table(
        {
            "id": np.repeat(ids, ROWS_AN_ID),
            "rank": np.tile(np.arange(ROWS_AN_ID, dtype=np.int32), len(ids)),
            "score": np.concatenate(scores),
            "fingerprint": [print_] * len(ids) * ROWS_AN_ID,
        },
        schema=SCHEMA,
    )


def update(home: Path, print_: str, log: Path) -> UpdateStats:
    """One run of the stage, which appends to `log` the ids it computes, a line a batch."""

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        for start in range(0, len(ids), BATCH_IDS):
            batch = ids[start : start + BATCH_IDS]
            with log.open("a") as file:
                file.write(" ".join(batch) + "\n")
            time.sleep(0.02)
            yield rows_of(batch, print_)

    wanted = pa.table({"id": IDS, "fingerprint": [print_] * len(IDS)})
    return update_partition(lake_at(home), TABLE, FOLDER, wanted, SCHEMA, compute)


# ---- the test


@pytest.mark.slow
def test_killed_runs_leave_whole_partitions_and_lose_no_finished_batch(tmp_path: Path) -> None:
    chance = random.Random(20)
    home, lake = tmp_path / "home", lake_at(tmp_path / "home")
    expected = {print_: rows_of(IDS, print_) for print_ in MODELS}
    print_ = MODELS[0]
    on_disk: str | None = None  # the generation of the partition
    kills = hits_in_the_last_write = 0

    for run in range(10 * KILLS):
        saved = finished_ids(lake, print_)
        log = tmp_path / f"run-{run}.log"
        killed, in_last_write = run_and_kill(home, print_, log, chance)
        assert saved.isdisjoint(computed_ids(log))

        generation = generation_on_disk(lake, expected)
        assert generation in ({on_disk, print_} if killed else {print_})
        on_disk = generation
        kills += killed
        hits_in_the_last_write += in_last_write and killed
        if kills == KILLS:
            break
        if not killed or chance.random() < 0.3:
            print_ = chance.choice([other for other in MODELS if other != print_])

    assert kills == KILLS
    assert hits_in_the_last_write > 0

    saved = finished_ids(lake, print_)
    log = tmp_path / "last.log"
    stats = update(home, print_, log)
    assert computed_ids(log) == set(IDS) - saved
    assert stats.kept + stats.resumed == len(saved)

    update(tmp_path / "never_killed", print_, tmp_path / "never_killed.log")
    undisturbed = lake_at(tmp_path / "never_killed")
    assert lake.data_file(TABLE, FOLDER).read_bytes() == undisturbed.data_file(TABLE, FOLDER).read_bytes()
    assert files_below(home) == files_below(tmp_path / "never_killed")


def run_and_kill(home: Path, print_: str, log: Path, chance: random.Random) -> tuple[bool, bool]:
    """Starts a run and kills it at a random moment, reading the lake all the while.

    Returns whether the kill came before the end of the run, and whether the last write had begun.
    """
    at_last_write = chance.random() < 0.4
    after_batches = chance.randrange(BATCHES + 1)
    jitter_seconds = chance.uniform(0, 0.03)
    worker = subprocess.Popen(
        [sys.executable, __file__, str(home), print_, str(log)], env=worker_environment()
    )
    try:
        while worker.poll() is None:
            batches = len(batches_in(log))
            if bool(temporaries(home / "lake")) if at_last_write else batches >= after_batches:
                break
            # Near the end looking takes all the time, so as to catch the last write.
            if not at_last_write or batches < BATCHES - 4:
                assert_readers_see_one_generation(home)
        time.sleep(0 if at_last_write else jitter_seconds)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode in (0, -9)
    return worker.returncode == -9, bool(temporaries(home / "lake"))


def worker_environment() -> dict[str, str]:
    return services.environment()


def temporaries(lake_root: Path) -> list[Path]:
    return list(lake_root.glob(f"{TABLE}/*/.*.tmp"))


def assert_readers_see_one_generation(home: Path) -> None:
    """What pyarrow, DuckDB and a glob find is one whole partition, or nothing before the first."""
    root = home / "lake" / TABLE
    files = list(root.glob("**/*.parquet"))
    assert files in ([], [root / f"folder={FOLDER}" / "data.parquet"])
    if not files:
        return
    table = ds.dataset(root, format="parquet").to_table(columns=["fingerprint"])
    assert table.num_rows == len(IDS) * ROWS_AN_ID
    assert len(table["fingerprint"].unique()) == 1
    assert counts_by_duckdb(root, files[0]) == [len(IDS) * ROWS_AN_ID]


def counts_by_duckdb(root: Path, file: Path) -> list[int]:
    """Rows by fingerprint. DuckDB opens a file by its name twice: an error is its own where the file was replaced between."""
    while True:
        before = file.stat().st_ino
        try:
            rows = duckdb.execute(
                f"SELECT fingerprint, count(*) FROM '{root}/**/*.parquet' GROUP BY ALL"
            ).fetchall()
        except duckdb.Error:
            if file.stat().st_ino == before:
                raise
        else:
            return [count for _, count in rows]


def generation_on_disk(lake: Lake, expected: dict[str, pa.Table]) -> str | None:
    rows = lake.read_or_none(TABLE, FOLDER)
    if rows is None:
        return None
    print_ = rows["fingerprint"][0].as_py()
    assert rows == expected[print_]
    return print_


def finished_ids(lake: Lake, print_: str) -> set[str]:
    """The ids whose rows of this fingerprint are on the disk, in the partition or in a pending batch."""
    pending = [ds.dataset(path).to_table() for path in lake.pending(TABLE, FOLDER).glob("*.parquet")]
    tables = [table for table in (*pending, lake.read_or_none(TABLE, FOLDER)) if table is not None]
    return {
        id
        for table in tables
        for id in table.filter(ds.field("fingerprint") == print_)["id"].unique().to_pylist()
    }


def batches_in(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def computed_ids(log: Path) -> set[str]:
    return set(" ".join(batches_in(log)).split())


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    update(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
