"""The lake: atomic partitions that every Parquet reader understands, updated incrementally."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from resources.fingerprint import fingerprint
from resources.lake import (
    CorruptPartition,
    Lake,
    LakeError,
    MissingPartition,
    UpdateStats,
    embedding_column,
    embedding_matrix,
    empty_ids,
    failed_ids,
    update_partition,
    with_empty_ids,
    with_failed_ids,
)

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("rank", pa.int16()),
        ("taken_at", pa.timestamp("s")),
        ("embedding", pa.list_(pa.float16(), 2)),
        ("fingerprint", pa.string()),
    ]
)
OLD, NEW = fingerprint(model="old"), fingerprint(model="new")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", tmp_path / "pending")


def rows_of(wanted: dict[str, str], rows_an_id: int = 2) -> pa.Table:
    """What the stage of these tests computes: `rows_an_id` rows for each id."""
    pairs = [(id, rank, print_) for id, print_ in wanted.items() for rank in range(rows_an_id)]
    return pa.table(
        {
            "id": [id for id, _, _ in pairs],
            "rank": [rank for _, rank, _ in pairs],
            "taken_at": [1_700_000_000 + rank for _, rank, _ in pairs],
            "embedding": [[float(rank), 0.5] for _, rank, _ in pairs],
            "fingerprint": [print_ for _, _, print_ in pairs],
        },
        schema=SCHEMA,
    )


class Stage:
    """Computes `rows_of` in batches, remembers the ids it was asked for, can fail after some batches."""

    def __init__(self, lake: Lake, batch_ids: int = 4) -> None:
        self.lake = lake
        self.batch_ids = batch_ids
        self.asked: list[list[str]] = []

    def update(self, wanted: dict[str, str], fail_after: int | None = None) -> UpdateStats:
        def compute(ids: list[str]) -> Iterator[pa.Table]:
            self.asked.append(ids)
            for number, start in enumerate(range(0, len(ids), self.batch_ids)):
                if number == fail_after:
                    raise RuntimeError("out of memory")
                yield rows_of({id: wanted[id] for id in ids[start : start + self.batch_ids]})

        return update(self.lake, wanted, compute)

    def rows(self) -> pa.Table:
        return self.lake.read("tags", "f")


def update(
    lake: Lake,
    wanted: dict[str, str],
    compute: Callable[[list[str]], Iterator[pa.Table]],
    on_progress: Callable[[int, int], None] | None = None,
) -> UpdateStats:
    table = pa.table({"id": list(wanted), "fingerprint": list(wanted.values())})
    return update_partition(lake, "tags", "f", table, SCHEMA, compute, on_progress)


def never(ids: list[str]) -> Iterator[pa.Table]:
    raise AssertionError(f"computed {ids}")


def ids(count: int, print_: str = OLD) -> dict[str, str]:
    return {f"{number:04d}": print_ for number in range(count)}


def stored(wanted: dict[str, str]) -> pa.Table:
    """`rows_of` as Parquet gives it back: it has no timestamp[s]."""
    index = SCHEMA.get_field_index("taken_at")
    return rows_of(wanted).cast(SCHEMA.set(index, pa.field("taken_at", pa.timestamp("ms"))))


# ---- reading and writing


def test_what_is_written_is_read_back(lake: Lake) -> None:
    table = pa.table({"id": ["b", "a"], "n": [1, 2]})
    lake.write("images", table, "photos")
    lake.write("bands", table)

    assert lake.read("images", "photos") == table
    assert lake.read("bands") == table
    assert lake.read("images", "photos", columns=["n"]) == table.select(["n"])
    assert lake.folders("images") == ["photos"]
    assert lake.folders("nothing") == []
    assert lake.tables() == ["bands", "images"]


def test_a_missing_partition_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(
        MissingPartition, match=r"folder=photos/data\.parquet does not exist: materialise images"
    ):
        lake.read("images", "photos")
    with pytest.raises(MissingPartition, match="has no partitions"):
        lake.read_all("images")
    assert lake.read_or_none("images", "photos") is None
    assert not lake.exists("images", "photos")
    assert lake.tables() == []


def test_a_missing_column_is_named_with_those_that_are_there(lake: Lake) -> None:
    lake.write("bands", pa.table({"id": ["a"], "n": [1]}))
    with pytest.raises(LakeError, match=r"no column size; it has id, n"):
        lake.read("bands", columns=["id", "size"])


def test_a_flipped_bit_in_the_data_is_noticed_or_harmless(lake: Lake) -> None:
    table = pa.table({"id": [f"{n:032x}" for n in range(40)]})
    lake.write("bands", table)
    path = lake.data_file("bands")
    whole = path.read_bytes()
    noticed = 0
    data_bytes = pq.read_metadata(path).row_group(0).column(0).total_compressed_size
    for position in range(4, 4 + data_bytes):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            assert lake.read("bands") == table
        except CorruptPartition:
            noticed += 1
    assert noticed > data_bytes / 2


@pytest.mark.parametrize("kept_bytes", [0, 3, 200, -1])
def test_a_truncated_file_is_corrupt_and_named(lake: Lake, kept_bytes: int) -> None:
    lake.write("images", rows_of(ids(20)), "photos")
    path = lake.data_file("images", "photos")
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CorruptPartition, match=r"folder=photos/data\.parquet is not a whole Parquet file"):
        lake.read("images", "photos")


def test_read_all_adds_the_folder_and_fills_columns_a_partition_lacks(lake: Lake) -> None:
    lake.write("images", pa.table({"id": ["c"], "extra": [1]}), "b")
    lake.write("images", pa.table({"id": ["a", "b"]}), "2024")

    rows = lake.read_all("images")
    assert rows.to_pydict() == {
        "id": ["a", "b", "c"],
        "folder": ["2024", "2024", "b"],
        "extra": [None, None, 1],
    }
    assert lake.read_all("images", columns=["id"]).column_names == ["id", "folder"]


def test_partitions_that_do_not_fit_together_are_an_error(lake: Lake) -> None:
    lake.write("vectors", pa.table({"embedding": embedding_column(np.eye(2))}), "a")
    lake.write("vectors", pa.table({"embedding": embedding_column(np.eye(3))}), "b")
    with pytest.raises(LakeError, match="materialise vectors for every folder"):
        lake.read_all("vectors")


def test_delete_leaves_nothing_behind(lake: Lake) -> None:
    lake.write("images", rows_of(ids(3)), "a")
    lake.write("images", rows_of(ids(3)), "b")
    lake.pending("images", "a").mkdir(parents=True)
    lake.delete("images", "a")
    lake.delete("images", "a")

    assert lake.folders("images") == ["b"]
    assert not lake.pending("images", "a").exists()
    assert [path.name for path in (lake.root / "images").iterdir()] == ["folder=b"]


@pytest.mark.parametrize(
    ("table", "folder"), [("Images", "a"), ("../x", "a"), ("images", "a/b"), ("images", "")]
)
def test_names_that_leave_the_layout_are_refused(lake: Lake, table: str, folder: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        lake.write(table, rows_of(ids(1)), folder)
    assert not lake.root.exists()


def test_a_table_cannot_be_partitioned_and_whole(lake: Lake) -> None:
    rows = pa.table({"id": ["a"]})
    lake.write("images", rows, "a")
    lake.write("bands", rows)
    with pytest.raises(LakeError, match="exists with partitions"):
        lake.write("images", rows)
    with pytest.raises(LakeError, match="exists without partitions"):
        lake.write("bands", rows, "a")
    with pytest.raises(ValueError, match="'folder'"):
        lake.write("images", pa.table({"folder": ["a"]}), "a")


def test_a_failed_write_leaves_the_old_rows_and_no_temporary(lake: Lake) -> None:
    lake.write("bands", pa.table({"id": ["a"]}))
    not_parquet = pa.table({"interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(pa.ArrowNotImplementedError):
        lake.write("bands", not_parquet)
    assert lake.read("bands")["id"].to_pylist() == ["a"]
    assert [path.name for path in (lake.root / "bands").iterdir()] == ["data.parquet"]


def test_what_a_killed_writer_left_is_seen_by_no_reader_and_cleared_by_the_next_writer(lake: Lake) -> None:
    lake.write("images", pa.table({"id": ["a"]}), "f")
    left = lake.data_file("images", "f").parent / ".data.parquet-0123abcd.tmp"
    left.write_bytes(b"PAR1 half a file")

    assert lake.read_all("images").num_rows == 1
    assert lake.connect().sql("SELECT id, folder FROM images").fetchall() == [("a", "f")]
    assert ds.dataset(lake.root / "images").count_rows() == 1
    lake.write("images", pa.table({"id": ["b"]}), "f")
    assert not left.exists()


# ---- other readers

HIVE = ds.partitioning(pa.schema([("folder", pa.string())]), flavor="hive")
KEYS = ["2024", "fotos--münchen", "संग्रह--मूर्ति"]


@pytest.fixture
def three_folders(lake: Lake) -> pa.Table:
    for number, key in enumerate(KEYS):
        lake.write("tags", rows_of(ids(number + 1)).drop_columns("embedding"), key)
    return lake.read_all("tags")


def test_duckdb_reads_the_layout_unaided(lake: Lake, three_folders: pa.Table) -> None:
    sql = duckdb.connect()
    rows = sql.sql(f"FROM read_parquet('{lake.root}/tags/**/*.parquet') ORDER BY folder, id, rank")
    assert rows.to_arrow_table().to_pylist() == three_folders.to_pylist()


def test_pyarrow_reads_the_layout_unaided(lake: Lake, three_folders: pa.Table) -> None:
    rows = ds.dataset(lake.root / "tags", partitioning=HIVE).to_table()
    assert rows.sort_by([("folder", "ascending"), ("id", "ascending")]) == three_folders


def test_polars_reads_the_layout_unaided(lake: Lake, three_folders: pa.Table) -> None:
    polars = pytest.importorskip("polars")
    rows = polars.scan_parquet(lake.root / "tags/**/*.parquet", hive_schema={"folder": polars.String})
    assert rows.sort("folder", "id", "rank").collect().to_dicts() == three_folders.to_pylist()


def test_sql_sees_a_view_for_each_table_with_the_folder_as_text(lake: Lake) -> None:
    lake.write("images", pa.table({"id": ["a"], "extra": [1]}), "2024")
    lake.write("bands", pa.table({"band": ["tail"]}))
    (lake.root / "empty").mkdir()
    sql = lake.connect()

    views = sql.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()
    assert views == [("bands",), ("images",)]
    assert sql.sql("SELECT folder, typeof(folder) FROM images").fetchall() == [("2024", "VARCHAR")]

    lake.write("images", pa.table({"id": ["b"]}), "2025")
    assert sql.sql("SELECT id, extra, folder FROM images ORDER BY id").fetchall() == [
        ("a", 1, "2024"),
        ("b", None, "2025"),
    ]
    assert sql.sql("SELECT id FROM images WHERE folder = '2025'").fetchall() == [("b",)]


def test_sql_works_under_a_path_full_of_special_characters(tmp_path: Path) -> None:
    root = tmp_path / "it's [a] *?{b} {{ü}}"
    lake = Lake(root / "lake", root / "pending")
    lake.write("images", pa.table({"id": ["a"]}), "f")
    lake.write("bands", pa.table({"id": ["b"]}))
    assert lake.connect().sql("SELECT id FROM images UNION SELECT id FROM bands ORDER BY 1").fetchall() == [
        ("a",),
        ("b",),
    ]


def test_a_home_whose_path_reads_as_a_partition_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "id=5" / "lake", tmp_path / "id=5" / "pending")
    with pytest.raises(LakeError, match="without '='"):
        lake.connect()


# ---- embeddings


@pytest.mark.parametrize("count", [0, 1, 5])
def test_embeddings_survive_the_lake(lake: Lake, count: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    lake.write("vectors", pa.table({"embedding": embedding_column(vectors)}), "f")
    column = lake.read("vectors", "f")["embedding"]

    assert column.type == pa.list_(pa.float16(), 3)
    matrix = embedding_matrix(column)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, vectors.astype(np.float16).astype(np.float32))


def test_slices_and_chunks_give_their_own_vectors() -> None:
    vectors = np.arange(20, dtype=np.float32).reshape(10, 2)
    column = embedding_column(vectors)
    np.testing.assert_array_equal(embedding_matrix(column.slice(3, 4)), vectors[3:7])
    chunked = pa.chunked_array([column.slice(0, 2), column.slice(5, 0), column.slice(7)])
    np.testing.assert_array_equal(embedding_matrix(chunked), vectors[[0, 1, 7, 8, 9]])
    assert embedding_matrix(pa.chunked_array([], column.type)).shape == (0, 2)


def test_one_chunk_of_float32_is_not_copied() -> None:
    values = pa.array(np.arange(6, dtype=np.float32))
    matrix = embedding_matrix(pa.FixedSizeListArray.from_arrays(values, 3))
    assert np.shares_memory(matrix, values.to_numpy())


def test_vectors_that_cannot_be_stored_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[n, dim\]"):
        embedding_column(np.zeros(3))
    with pytest.raises(ValueError, match="first in row 1"):
        embedding_column(np.array([[1.0, 2.0], [1e6, 0.0]]))
    with pytest.raises(ValueError, match="hold nulls"):
        embedding_matrix(pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)))
    with pytest.raises(ValueError, match="fixed-size lists"):
        embedding_matrix(pa.array([[1.0]]))


def test_sql_computes_with_embeddings(lake: Lake) -> None:
    vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
    lake.write("vectors", pa.table({"id": ["a", "b"], "embedding": embedding_column(vectors)}), "f")
    sql = lake.connect()

    assert sql.sql("SELECT DISTINCT typeof(embedding) FROM vectors").fetchall() == [("FLOAT[]",)]
    cosine = sql.sql(
        "SELECT array_cosine_similarity(x.embedding::FLOAT[2], y.embedding::FLOAT[2]) "
        "FROM vectors x, vectors y WHERE x.id = 'a' AND y.id = 'b'"
    ).fetchall()[0][0]
    assert cosine == pytest.approx(0.6, abs=1e-3)
    fixed = sql.sql("SELECT embedding::FLOAT[2] AS embedding FROM vectors ORDER BY id").to_arrow_table()
    np.testing.assert_allclose(embedding_matrix(fixed["embedding"]), vectors, atol=1e-3)


# ---- incremental update


def test_one_new_image_among_500_is_the_only_one_computed(lake: Lake) -> None:
    stage = Stage(lake, batch_ids=64)
    assert stage.update(ids(500)) == UpdateStats(kept=0, computed=500, dropped=0, resumed=0)
    assert stage.update(ids(501)) == UpdateStats(kept=500, computed=1, dropped=0, resumed=0)
    assert stage.asked[1:] == [["0500"]]
    assert stage.rows() == stored(ids(501))


def test_an_unchanged_folder_computes_nothing_and_keeps_its_file(lake: Lake) -> None:
    Stage(lake).update(ids(10))
    before = lake.data_file("tags", "f").stat()
    assert update(lake, ids(10), never) == UpdateStats(kept=10, computed=0, dropped=0, resumed=0)
    after = lake.data_file("tags", "f").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_changed_fingerprint_recomputes_only_the_changed_ids(lake: Lake) -> None:
    stage = Stage(lake)
    stage.update(ids(10))
    wanted = ids(10) | {"0003": NEW, "0007": NEW}
    assert stage.update(wanted) == UpdateStats(kept=8, computed=2, dropped=0, resumed=0)
    assert stage.asked[-1] == ["0003", "0007"]
    assert stage.rows() == stored(wanted)


def test_vanished_ids_are_dropped_without_computing(lake: Lake) -> None:
    Stage(lake).update(ids(10))
    assert update(lake, ids(7), never) == UpdateStats(kept=7, computed=0, dropped=3, resumed=0)
    assert lake.read("tags", "f") == stored(ids(7))


def test_an_empty_folder_has_an_empty_partition_with_its_schema(lake: Lake) -> None:
    assert update(lake, {}, never) == UpdateStats(kept=0, computed=0, dropped=0, resumed=0)
    assert lake.read("tags", "f").schema.names == SCHEMA.names
    Stage(lake).update(ids(2))
    assert update(lake, {}, never).dropped == 2
    assert lake.read("tags", "f").num_rows == 0


def test_rows_are_sorted_by_id_and_keep_their_order_within_one(lake: Lake) -> None:
    stage = Stage(lake, batch_ids=3)
    shuffled = dict.fromkeys(sorted(ids(20), key=lambda id: fingerprint(id=id)), OLD)
    stage.update(shuffled)
    assert stage.asked == [list(shuffled)]
    assert stage.rows() == stored(ids(20))


def test_a_run_that_failed_is_resumed_from_its_batches(lake: Lake) -> None:
    stage = Stage(lake)
    stage.update(ids(3))
    with pytest.raises(RuntimeError, match="out of memory"):
        stage.update(ids(20, NEW), fail_after=2)
    assert stage.rows() == stored(ids(3))

    with pytest.raises(RuntimeError):
        stage.update(ids(20, NEW), fail_after=1)
    assert stage.update(ids(20, NEW)) == UpdateStats(kept=0, computed=8, dropped=0, resumed=12)
    assert stage.asked[-1] == list(ids(20))[12:]
    assert stage.rows() == stored(ids(20, NEW))
    assert not lake.pending("tags", "f").exists()


def test_batches_of_a_failed_run_that_are_wanted_no_longer_are_not_taken(lake: Lake) -> None:
    stage = Stage(lake)
    with pytest.raises(RuntimeError):
        stage.update(ids(8, OLD), fail_after=1)
    assert stage.update(ids(8, NEW)) == UpdateStats(kept=0, computed=8, dropped=0, resumed=0)
    assert stage.rows() == stored(ids(8, NEW))


def test_batches_left_after_the_replacement_are_not_taken_twice(lake: Lake) -> None:
    Stage(lake).update(ids(4))
    pending = lake.pending("tags", "f")
    pending.mkdir(parents=True)
    pq.write_table(rows_of(ids(4)), pending / "000001.parquet")
    assert update(lake, ids(4), never) == UpdateStats(kept=4, computed=0, dropped=0, resumed=0)
    assert not pending.exists()


def test_a_note_of_ids_that_does_not_read_is_a_corrupt_partition(lake: Lake) -> None:
    lake.write("tags", with_empty_ids(rows_of(ids(3)), {"nobody": NEW}), "f")
    path = lake.data_file("tags", "f")
    content = bytearray(path.read_bytes())
    content[content.index(b'{"nobody"')] = 0
    path.write_bytes(content)
    with pytest.raises(CorruptPartition, match=str(path)):
        lake.read("tags", "f")


def test_a_corrupt_batch_is_computed_again(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(lake)
    with pytest.raises(RuntimeError):
        stage.update(ids(8), fail_after=1)
    (batch,) = lake.pending("tags", "f").iterdir()
    batch.write_bytes(batch.read_bytes()[:100])
    assert stage.update(ids(8)) == UpdateStats(kept=0, computed=8, dropped=0, resumed=0)
    assert "pending batch is discarded" in caplog.text


def test_a_corrupt_partition_goes_to_quarantine_and_is_computed_again(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(lake)
    stage.update(ids(8))
    path = lake.data_file("tags", "f")
    path.write_bytes(path.read_bytes()[:-50])
    damaged = path.read_bytes()

    assert stage.update(ids(8)).computed == 8
    (quarantined,) = (lake.root.parent / "quarantine" / "tags" / "folder=f").iterdir()
    assert quarantined.read_bytes() == damaged
    assert str(quarantined) in caplog.text
    assert stage.rows() == stored(ids(8))


def test_rows_of_another_schema_are_computed_again(lake: Lake) -> None:
    lake.write("tags", rows_of(ids(3)).drop_columns("rank"), "f")
    assert Stage(lake).update(ids(3)).computed == 3
    assert lake.read("tags", "f") == stored(ids(3))


def test_progress_counts_the_ids_that_are_computed(lake: Lake) -> None:
    Stage(lake).update(ids(2))
    seen: list[tuple[int, int]] = []
    update(
        lake,
        ids(7),
        lambda missing: (rows_of(dict.fromkeys(missing[n : n + 2], OLD)) for n in range(0, len(missing), 2)),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_wanting_an_id_twice_is_an_error(lake: Lake) -> None:
    wanted = pa.table({"id": ["a", "b", "a"], "fingerprint": [OLD, OLD, NEW]})
    with pytest.raises(ValueError, match="1 ids are wanted twice in tags: a"):
        update_partition(lake, "tags", "f", wanted, SCHEMA, never)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([rows_of({"a": OLD})], "1 ids got no row in tags.*: b"),
        ([], "2 ids got no row in tags.*: a, b"),
        ([rows_of({"a": OLD, "c": OLD})], "not asked for.*: c"),
        ([rows_of({"a": NEW})], "not asked for.*: a"),
        ([rows_of({"a": OLD}), rows_of({"a": OLD})], "an id of an earlier batch: a"),
        ([rows_of({"a": OLD}).drop_columns("rank")], "does not fit its schema"),
    ],
)
def test_a_stage_that_breaks_its_contract_is_told_so(
    lake: Lake, batches: list[pa.Table], message: str
) -> None:
    Stage(lake).update({"z": OLD})
    with pytest.raises(ValueError, match=message):
        update(lake, {"a": OLD, "b": OLD}, lambda missing: iter(batches))
    assert lake.read("tags", "f") == stored({"z": OLD})


def test_the_second_writer_of_a_partition_waits_and_finds_the_work_done(lake: Lake) -> None:
    computing, go_on = threading.Event(), threading.Event()
    stats: dict[str, UpdateStats] = {}

    def slow(missing: list[str]) -> Iterator[pa.Table]:
        computing.set()
        assert go_on.wait(timeout=120)
        yield rows_of(dict.fromkeys(missing, OLD))

    first = threading.Thread(target=lambda: stats.update(first=update(lake, ids(3), slow)))
    second = threading.Thread(target=lambda: stats.update(second=update(lake, ids(3), never)))
    first.start()
    assert computing.wait(timeout=120)
    second.start()
    update_partition(
        lake,
        "tags",
        "other",
        pa.table({"id": ["a"], "fingerprint": [OLD]}),
        SCHEMA,
        lambda _: iter([rows_of({"a": OLD})]),
    )
    second.join(timeout=0.2)
    assert second.is_alive()
    go_on.set()
    first.join(timeout=120)
    second.join(timeout=120)

    assert stats["first"].computed == 3
    assert stats["second"] == UpdateStats(kept=3, computed=0, dropped=0, resumed=0)


@pytest.mark.slow
def test_a_folder_of_50000_images_is_updated(lake: Lake) -> None:
    count, rows_an_id = 50_000, 20
    names = [f"{number:032x}" for number in range(count)]
    schema = pa.schema([("id", pa.string()), ("rank", pa.int16()), ("fingerprint", pa.string())])

    def compute(missing: list[str]) -> Iterator[pa.Table]:
        for start in range(0, len(missing), 10_000):
            batch = missing[start : start + 10_000]
            yield pa.table(
                {
                    "id": pa.array(batch).take(pa.array(np.repeat(np.arange(len(batch)), rows_an_id))),
                    "rank": pa.array(np.tile(np.arange(rows_an_id, dtype=np.int16), len(batch))),
                    "fingerprint": pa.repeat(NEW, len(batch) * rows_an_id),
                }
            )

    def run(wanted: list[str]) -> UpdateStats:
        table = pa.table({"id": wanted, "fingerprint": pa.repeat(NEW, len(wanted))})
        return update_partition(lake, "tags", "f", table, schema, compute)

    assert run(names[10:]) == UpdateStats(kept=0, computed=count - 10, dropped=0, resumed=0)
    assert run(names[:-10]) == UpdateStats(kept=count - 20, computed=10, dropped=10, resumed=0)
    assert lake.read("tags", "f").num_rows == (count - 10) * rows_an_id


class FindsLittle(Stage):
    """A stage that finds something in one image only, and says so."""

    def update(self, wanted: dict[str, str], fail_after: int | None = None) -> UpdateStats:
        def compute(ids: list[str]) -> Iterator[pa.Table]:
            self.asked.append(ids)
            for number, id_ in enumerate(ids):
                if number == fail_after:
                    raise RuntimeError("out of memory")
                found = rows_of({id_: wanted[id_]} if id_ == "a" else {})
                yield found if found.num_rows else with_empty_ids(found, {id_: wanted[id_]})

        return update(self.lake, wanted, compute)


def test_an_id_in_which_nothing_was_found_is_looked_at_once(lake: Lake) -> None:
    stage = FindsLittle(lake)
    assert stage.update({"a": OLD, "b": OLD, "c": OLD}) == UpdateStats(0, 3, 0, 0)
    assert set(stage.rows()["id"].to_pylist()) == {"a"}
    assert empty_ids(stage.rows()) == {"b": OLD, "c": OLD}
    assert stage.update({"a": OLD, "b": OLD, "c": OLD}) == UpdateStats(3, 0, 0, 0)
    assert stage.update({"b": NEW, "c": OLD}) == UpdateStats(1, 1, 1, 0)
    assert stage.rows().num_rows == 0
    assert empty_ids(stage.rows()) == {"b": NEW, "c": OLD}


def test_ids_without_rows_survive_a_run_that_fails(lake: Lake) -> None:
    stage, wanted = FindsLittle(lake), {"a": OLD, "b": OLD, "c": OLD}
    with pytest.raises(RuntimeError):
        stage.update(wanted, fail_after=2)
    assert stage.update(wanted) == UpdateStats(0, 1, 0, 2)
    assert stage.asked[-1] == ["c"]


class Fails(Stage):
    """A stage that finds nothing in the image c, and cannot compute those that it is told."""

    failing: frozenset[str] = frozenset()

    def update(self, wanted: dict[str, str], fail_after: int | None = None) -> UpdateStats:
        def compute(ids: list[str]) -> Iterator[pa.Table]:
            self.asked.append(ids)
            for number, id_ in enumerate(ids):
                if number == fail_after:
                    raise RuntimeError("out of memory")
                if id_ in self.failing:
                    yield with_failed_ids(SCHEMA.empty_table(), {id_: "too long"})
                elif id_ == "c":
                    yield with_empty_ids(SCHEMA.empty_table(), {id_: wanted[id_]})
                else:
                    yield rows_of({id_: wanted[id_]})

        return update(self.lake, wanted, compute)


def test_an_id_that_failed_has_no_row_and_is_computed_at_the_next_update(lake: Lake) -> None:
    stage, wanted = Fails(lake), {"a": OLD, "b": OLD, "c": OLD}
    stage.failing = frozenset({"b"})
    assert stage.update(wanted) == UpdateStats(kept=0, computed=2, dropped=0, resumed=0, failed=1)
    assert set(stage.rows()["id"].to_pylist()) == {"a"}
    assert failed_ids(stage.rows()) == {"b": "too long"}
    assert stage.update(wanted) == UpdateStats(kept=2, computed=0, dropped=0, resumed=0, failed=1)
    assert stage.asked == [["a", "b", "c"], ["b"]]
    stage.failing = frozenset()
    assert stage.update(wanted) == UpdateStats(kept=2, computed=1, dropped=0, resumed=0)
    assert failed_ids(stage.rows()) == {}
    assert empty_ids(stage.rows()) == {"c": OLD}
    assert set(stage.rows()["id"].to_pylist()) == {"a", "b"}


def test_an_id_that_failed_in_a_run_that_was_cut_is_computed_again(lake: Lake) -> None:
    stage, wanted = Fails(lake), {"a": OLD, "b": OLD, "c": OLD}
    stage.failing = frozenset({"a", "b"})
    with pytest.raises(RuntimeError):
        stage.update(wanted, fail_after=2)
    stage.failing = frozenset({"b"})
    assert stage.update(wanted) == UpdateStats(kept=0, computed=2, dropped=0, resumed=0, failed=1)
    assert stage.asked[-1] == ["a", "b", "c"]
    assert failed_ids(stage.rows()) == {"b": "too long"}


def test_an_id_cannot_both_fail_and_have_rows(lake: Lake) -> None:
    def compute(ids: list[str]) -> Iterator[pa.Table]:
        yield with_failed_ids(rows_of({"a": OLD}), {"a": "too long"})

    with pytest.raises(ValueError, match="failed ids that have rows"):
        update(lake, {"a": OLD}, compute)


def test_a_batch_may_not_speak_for_ids_that_were_not_asked_for(lake: Lake) -> None:
    def compute(ids: list[str]) -> Iterator[pa.Table]:
        yield with_empty_ids(SCHEMA.empty_table(), {"stranger": OLD})

    with pytest.raises(ValueError, match="not asked for"):
        update(lake, {"a": OLD}, compute)


def test_tagged_images_join_by_folder_and_leave_out_what_is_gone(lake: Lake) -> None:
    """One content lies in two folders."""
    for folder in ("a", "b", "it's"):
        lake.write(
            "images", pa.table({"id": ["1"], "path": [f"{folder}/1.jpg"], "fingerprint": ["f"]}), folder
        )
        tags = {"id": ["1", "1"], "phrase": ["vase", "bowl"], "state": ["machine", "human"]}
        lake.write("tags", pa.table({**tags, "fingerprint": ["f", "f"]}), folder)
    for gone, paths in (((), ["a", "b", "it's"]), (("b", "it's"), ["a"])):
        with lake.connect(gone=gone) as sql:
            found = sql.execute("select path, phrase, state from tagged_images order by all").fetchall()
        assert found == [
            row
            for key in paths
            for row in ((f"{key}/1.jpg", "bowl", "human"), (f"{key}/1.jpg", "vase", "machine"))
        ]
    lake.delete("tags", "a")
    lake.delete("tags", "b")
    lake.delete("tags", "it's")
    with lake.connect() as sql:  # nothing to join
        assert sql.execute("select view_name from duckdb_views() where not internal").fetchall() == [
            ("images",)
        ]
