"""A partition that is updated range by range: the rows of one that is updated as a whole, without all of them in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.fingerprint import fingerprint
from resources.lake import (
    CorruptPartition,
    Lake,
    UpdateStats,
    empty_ids,
    failed_ids,
    ranges,
    stored,
    update_partition,
    with_empty_ids,
    with_failed_ids,
)
from resources.lake.carry import carry_rows, drop_rows
from resources.lake.ranges import EVERY_ID, IdRange, ranges_of

SCHEMA = pa.schema(
    [("id", pa.string()), ("rank", pa.int16()), ("at", pa.timestamp("s")), ("fingerprint", pa.string())]
)
IDS = [fingerprint(number=number) for number in range(60)]
MOST = 7


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", tmp_path / "pending")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of a few images."""
    monkeypatch.setattr(ranges, "MOST_IMAGES", MOST)


def rows_of(id_: str, by: str) -> pa.Table:
    """One to four rows, which only this id and this fingerprint give."""
    count = 1 + int(id_[0], 16) % 4
    columns = [[id_] * count, list(range(count)), [int(by)] * count, [by] * count]
    return pa.table([pa.array(of, field.type) for of, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


class Stage:
    """Says of some ids that they have no rows and fails at others, by their fingerprint; can end after some batches."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.asked: list[str] = []

    def update(self, wanted: dict[str, str], failing: frozenset[str], end_after: int | None) -> UpdateStats:
        def compute(ids: list[str]) -> Iterator[pa.Table]:
            for place in range(0, len(ids), 4):
                if place == end_after:
                    raise RuntimeError("the end")
                some = ids[place : place + 4]
                self.asked += some
                failed = {id_: "why" for id_ in some if id_ in failing}
                empty = {id_: wanted[id_] for id_ in some if id_[1] == wanted[id_] and id_ not in failed}
                told = [rows_of(id_, wanted[id_]) for id_ in some if id_ not in failed | empty]
                yield with_failed_ids(
                    with_empty_ids(pa.concat_tables([SCHEMA.empty_table(), *told]), empty), failed
                )

        table = pa.table(
            {"id": pa.array(wanted, pa.string()), "fingerprint": pa.array(wanted.values(), pa.string())}
        )
        return update_partition(self.lake, "tags", "f", table, SCHEMA, compute)


def steps(chance: random.Random) -> Iterator[tuple[dict[str, str], frozenset[str], int | None]]:
    """What a folder wants, run after run: images come, go and change, fail, and runs are cut."""
    wanted: dict[str, str] = {}
    for _ in range(8):
        for id_ in chance.sample(IDS, chance.choice([0, 1, 5, 40])):
            if chance.random() < 0.3:
                wanted.pop(id_, None)
            else:
                wanted[id_] = str(chance.randrange(3))
        shuffled = dict(chance.sample(sorted(wanted.items()), len(wanted)))
        failing = frozenset(chance.sample(IDS, chance.choice([0, 0, 3])))
        yield shuffled, failing, chance.choice([None, None, 0, 4, 8])


@pytest.mark.parametrize("seed", range(12))
def test_an_update_by_ranges_gives_the_rows_of_one_as_a_whole(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    stages = {
        most: Stage(Lake(tmp_path / f"{most}" / "lake", tmp_path / f"{most}" / "pending"))
        for most in (MOST, 999)
    }
    for wanted, failing, end_after in steps(chance):
        outcomes = []
        for most, stage in stages.items():
            monkeypatch.setattr(ranges, "MOST_IMAGES", most)
            stage.asked.clear()
            try:
                stats = stage.update(wanted, failing, end_after)
            except RuntimeError:
                stats = None
            rows = stage.lake.read_or_none("tags", "f")
            outcomes.append((stats, sorted(stage.asked), rows, rows and (empty_ids(rows), failed_ids(rows))))
        assert outcomes[0] == outcomes[1]
        if (
            chance.random() < 0.3 and outcomes[0][2] is not None
        ):  # a file of another program, in another order
            rows = outcomes[0][2]
            rows = rows.take(pa.array(chance.sample(range(rows.num_rows), rows.num_rows), pa.int64()))
            for stage in stages.values():
                pq.write_table(rows, stage.lake.data_file("tags", "f"), row_group_size=10)


def test_one_range_at_a_time_is_in_memory(lake: Lake, few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most rows that were read or written at once, in a folder of eight times the images."""
    held: list[int] = []
    read = stored.StoredKeys.rows

    def watched(self: stored.StoredKeys, ids: IdRange) -> pa.Table:
        held.append(len(read(self, ids)["id"].unique()))
        return read(self, ids)

    monkeypatch.setattr(stored.StoredKeys, "rows", watched)
    stage, wanted = Stage(lake), dict.fromkeys(IDS, "1")
    stage.update(wanted, frozenset(), None)
    held.clear()
    stage.update(wanted | {"f" * 32: "2"}, frozenset(), None)
    assert 0 < max(held) <= MOST
    groups = pq.ParquetFile(lake.data_file("tags", "f")).metadata
    assert groups.num_row_groups == len(ranges_of(pa.chunked_array([[*IDS, "f" * 32]])))


def test_a_small_folder_is_one_row_group_as_ever(lake: Lake, tmp_path: Path) -> None:
    Stage(lake).update(dict.fromkeys(IDS, "1"), frozenset(), None)
    rows = pa.concat_tables([rows_of(id_, "1") for id_ in sorted(IDS) if id_[1] != "1"])
    rows = with_empty_ids(rows, {id_: "1" for id_ in IDS if id_[1] == "1"})
    pq.write_table(rows, tmp_path / "as_ever", compression="zstd", write_page_checksum=True)
    assert lake.data_file("tags", "f").read_bytes() == (tmp_path / "as_ever").read_bytes()


def test_duckdb_and_polars_see_row_groups_sorted_by_id(lake: Lake, few: None) -> None:
    polars = pytest.importorskip("polars")
    Stage(lake).update(dict.fromkeys(IDS, "7"), frozenset(), None)
    path = lake.data_file("tags", "f")
    bounds = duckdb.execute(
        "select stats_min_value, stats_max_value from parquet_metadata(?) "
        "where path_in_schema = 'id' order by row_group_id",
        [str(path)],
    ).fetchall()
    assert len(bounds) > 8
    ends = [end for pair in bounds for end in pair]
    assert ends == sorted(ends)
    expected = sorted(id_ for id_ in IDS if id_[1] != "7")
    assert [
        id_ for (id_,) in duckdb.execute(f"select distinct id from '{path}' order by id").fetchall()
    ] == expected
    assert polars.read_parquet(path)["id"].unique(maintain_order=True).to_list() == expected


def test_a_range_is_read_with_its_own_notes(lake: Lake, few: None) -> None:
    Stage(lake).update(dict.fromkeys(IDS, "7"), frozenset(IDS[:5]), None)
    whole = lake.read("tags", "f")
    parts = [lake.read("tags", "f", ids=ids) for ids in ranges_of(pa.chunked_array([IDS]))]
    assert pa.concat_tables(parts).replace_schema_metadata(None) == whole.replace_schema_metadata(None)
    for note in (empty_ids, failed_ids):
        told = [note(part) for part in parts]
        assert note(whole) == {id_: said for of in told for id_, said in of.items()}
        assert sum(map(len, told)) == len(note(whole)) > 0
    some = lake.read("tags", "f", ["rank"], IdRange("4", "8"))
    assert some == whole.filter([id_[0] in "4567" for id_ in whole["id"].to_pylist()]).select(
        ["rank"]
    ).replace_schema_metadata(some.schema.metadata)
    assert lake.read("tags", "f", [], EVERY_ID).num_rows == whole.num_rows


@pytest.mark.parametrize("name", ["rank", "id"])
def test_damage_anywhere_sends_the_file_to_quarantine(lake: Lake, few: None, name: str) -> None:
    """Also where nobody looked for keys, and also where nothing changed."""
    for change in ({}, {"f" * 32: "1"}):
        stage, wanted = Stage(lake), dict.fromkeys(IDS, "1")
        stage.update(wanted, frozenset(), None)
        before, path = lake.read("tags", "f"), lake.data_file("tags", "f")
        about = pq.read_metadata(path)
        chunk = about.row_group(3).column(about.schema.to_arrow_schema().names.index(name))
        content = bytearray(path.read_bytes())
        content[
            (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 3
        ] ^= 0xFF
        path.write_bytes(bytes(content))
        with pytest.raises(CorruptPartition):
            lake.read("tags", "f")
        stage.asked.clear()
        stats = stage.update(wanted | change, frozenset(), None)
        assert stats.quarantined is not None
        assert stats.quarantined.read_bytes() == content
        assert (stats.kept, stats.computed, stats.resumed) == (0, len(IDS) + len(change), 0)
        assert sorted(stage.asked) == sorted(wanted | change)
        assert (
            IdRange(None, "f" * 32).of(lake.read("tags", "f")) == before.replace_schema_metadata(None)
            or change == {}
        )
        lake.delete("tags", "f")


def test_an_old_file_of_one_large_row_group_is_read_and_updated(lake: Lake, few: None) -> None:
    wanted = dict.fromkeys(IDS, "1")
    rows = pa.concat_tables([rows_of(id_, "1") for id_ in sorted(IDS)])
    lake.write(
        "tags",
        rows.drop_columns("at").append_column(SCHEMA.field("at"), rows["at"]).select(SCHEMA.names),
        "f",
    )
    assert pq.read_metadata(lake.data_file("tags", "f")).num_row_groups == 1
    some = IdRange("5", "9")
    assert lake.read("tags", "f", ids=some)["id"].to_pylist() == [
        i for i in rows["id"].to_pylist() if i in some
    ]
    stage = Stage(lake)
    assert stage.update(wanted | {"f" * 32: "2"}, frozenset(), None) == UpdateStats(len(IDS), 1, 0, 0)
    assert stage.asked == ["f" * 32]
    assert pq.read_metadata(lake.data_file("tags", "f")).num_row_groups > 8


def test_statistics_that_hide_rows_are_damage(lake: Lake, few: None) -> None:
    stage, wanted = Stage(lake), dict.fromkeys(IDS, "1")
    stage.update(wanted, frozenset(), None)
    path = lake.data_file("tags", "f")
    last = pq.read_metadata(path).row_group(5).column(0).statistics.max.encode()
    content = path.read_bytes()
    footer = content.rindex(b"ARROW:schema") - 30_000 if len(content) > 40_000 else 0
    at = content.rindex(last, footer)  # in the statistics, which are behind the pages
    path.write_bytes(content[:at] + b"0" * 32 + content[at + 32 :])
    stats = stage.update(wanted | {"f" * 32: "1"}, frozenset(), None)
    assert (stats.kept, stats.computed, stats.quarantined is not None) == (0, len(IDS) + 1, True)


def test_ranges_stay_where_they_are_when_an_image_comes(few: None) -> None:
    cuts = {one.low for one in ranges_of(pa.chunked_array([IDS]))}
    more = {one.low for one in ranges_of(pa.chunked_array([[*IDS, "0" * 32]]))}
    assert cuts <= more
    assert len(more) <= len(cuts) + 1


def test_ranges_hold_every_id_once_and_few_each(few: None) -> None:
    assert ranges_of(pa.chunked_array([IDS[:MOST]])) == [EVERY_ID]
    found = ranges_of(pa.chunked_array([IDS]))
    for id_ in (*IDS, "", "~", "é"):
        assert sum(id_ in one for one in found) == 1
    rows = pa.table({"id": IDS})
    assert [one.of(rows)["id"].to_pylist() for one in found] == [
        [i for i in IDS if i in one] for one in found
    ]
    assert max(one.of(rows).num_rows for one in found) <= MOST
    # no hashes: correct, in however many ranges
    assert ranges_of(pa.chunked_array([[f"zebra {number}" for number in range(50)]])) == [EVERY_ID]


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_carried_and_dropped_by_ranges_as_by_the_whole(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    there, here = chance.sample(IDS, 40), chance.sample(IDS, 20)
    moved = [(id_, id_) for id_ in there[:25]]
    edited = [(id_, fingerprint(edited=id_)) for id_ in there[25:30]]
    twice = [(there[0], fingerprint(twice=1)), (there[0], fingerprint(twice=2))]
    found = []
    for most in (MOST, 999):
        monkeypatch.setattr(ranges, "MOST_IMAGES", most)
        lake = Lake(tmp_path / f"{most}" / "lake", tmp_path / f"{most}" / "pending")
        Stage(lake).update(dict.fromkeys(there, "7"), frozenset(there[:2]), None)
        lake.write("tags", lake.read("tags", "f"), "there")
        Stage(lake).update(dict.fromkeys(here, "8"), frozenset(here[:2]), None)
        carry_rows(lake, "tags", "f", {"there": [*moved, *edited, *twice], "nowhere": [("a", "b")]})
        carried = lake.read("tags", "f")
        drop_rows(lake, "tags", "f", here[5:15])
        found.append([told(carried), told(lake.read("tags", "f"))])
        assert told(carried) != told(lake.read("tags", "f"))
        assert len(set(carried["id"].to_pylist()) & {id_ for _, id_ in [*edited, *twice]}) > 3
        assert set(lake.read("tags", "f")["id"].to_pylist()).isdisjoint(here[5:15])
        carry_rows(lake, "tags", "new", {"there": moved})
        assert told(lake.read("tags", "new")) == told(of_ids(lake.read("tags", "there"), moved))
    assert found[0] == found[1]


def of_ids(rows: pa.Table, pairs: list[tuple[str, str]]) -> pa.Table:
    ids = {id_ for id_, _ in pairs}
    empty = {id_: by for id_, by in empty_ids(rows).items() if id_ in ids}
    rest = rows.filter([id_ in ids for id_ in rows["id"].to_pylist()])
    return with_failed_ids(with_empty_ids(rest, empty), {})


def told(rows: pa.Table) -> tuple[list[dict[str, object]], dict[str, str], dict[str, str]]:
    ordered = rows.sort_by([("id", "ascending"), ("rank", "ascending")])
    return ordered.to_pylist(), empty_ids(rows), failed_ids(rows)
