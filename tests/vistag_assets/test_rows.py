"""What a stage makes of a folder, range by range: one range is held at a time, and asked only for what is missing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from resources.fingerprint import fingerprint
from resources.lake import Lake, UpdateStats, ranges, update_partition
from resources.lake.ranges import IdRange, ranges_of
from vistag_assets.folder_asset import Batch, Rows, in_batches
from vistag_assets.lineage import by_id
from vistag_assets.rows import range_by_range

IDS = sorted(fingerprint(number=number) for number in range(30))
SCHEMA = pa.schema([("id", pa.string()), ("fingerprint", pa.string())])


class Inputs:
    """The tables of a range."""


class Stage:
    def __init__(self) -> None:
        self.opened: list[IdRange] = []
        self.loads = 0
        self.asked: list[str] = []
        self.fails_at: str | None = None
        self.held: weakref.WeakSet[Inputs] = weakref.WeakSet()

    def load(self) -> None:
        self.loads += 1

    def rows_of(self, ids: IdRange) -> Rows:
        self.opened.append(ids)
        gc.collect()
        assert not self.held  # the range before was let go
        inputs = Inputs()
        self.held.add(inputs)

        def step(batch: list[str]) -> Batch:
            assert inputs in self.held
            assert all(id_ in ids for id_ in batch)
            if self.fails_at in batch:
                raise KeyboardInterrupt
            self.asked += batch
            return Batch(batch, by_id(dict.fromkeys(batch, "1")))

        silent = frozenset(id_ for id_ in IDS if id_ in ids and id_.endswith("0"))
        return Rows(by_id({id_: "1" for id_ in IDS if id_ in ids}), in_batches(2, step), self.load, silent)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[IdRange]:
    monkeypatch.setattr(ranges, "MOST_IMAGES", 6)
    return ranges_of(pa.chunked_array([IDS]))


def test_one_range_is_held_and_only_those_of_missing_ids_are_opened_again(found: list[IdRange]) -> None:
    stage = Stage()
    made = range_by_range(found, stage.rows_of)
    assert made.wanted["id"].to_pylist() == IDS
    assert made.without_rows == {id_ for id_ in IDS if id_.endswith("0")}
    assert stage.opened == found
    stage.opened.clear()
    missing = [IDS[0], IDS[1], IDS[-1]]
    assert [id_ for batch in made.compute(missing) for id_ in batch.ids] == missing == stage.asked
    assert stage.opened == [found[0], found[-1]]
    assert made.load is not None
    made.load()
    assert stage.loads == 1


def test_a_run_that_is_cut_in_a_range_goes_on_there(found: list[IdRange], tmp_path: Path) -> None:
    lake, stage = Lake(tmp_path / "lake", tmp_path / "pending"), Stage()

    def update() -> UpdateStats:
        made = range_by_range(found, stage.rows_of)

        def compute(ids: list[str]) -> Iterator[pa.Table]:
            yield from (batch.rows for batch in made.compute(ids))

        return update_partition(lake, "tags", "f", made.wanted, SCHEMA, compute)

    stage.fails_at = next(id_ for id_ in IDS if id_ in found[2])
    with pytest.raises(KeyboardInterrupt):
        update()
    finished, stage.fails_at = list(stage.asked), None
    assert finished == [id_ for id_ in IDS if id_ in found[0] or id_ in found[1]]
    stage.asked.clear()
    assert update() == UpdateStats(0, len(IDS) - len(finished), 0, len(finished))
    assert stage.asked == IDS[len(finished) :]
    assert lake.read("tags", "f")["id"].to_pylist() == IDS
