"""A lake on an S3 server, a real process: the rows of a local lake, and nothing lost when the store fails."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import services
from s3_server import BUCKET, Request, Server, proxied, running_server, upload
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home import Home, SettingsError, read_settings, write_settings
from resources.images import Ingested, Limits, find_folders, ingest_folder, open_proxy, shared_proxies
from resources.lake import Lake, read_stored, update_partition
from resources.lake.files import replace_file
from resources.lake.object_store import ForeignLake
from resources.object_store import Location, ObjectPath, ObjectReplaced, StoreError, StoreUrlError
from resources.previews import preview_page
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app

TABLE, FOLDER = "tag_scores", "photos"
SCHEMA = pa.schema([("id", pa.string()), ("score", pa.float64()), ("fingerprint", pa.string())])
LARGE_BYTES = 14 * 2**20
"""An upload in parts; one of less than 10 MiB is a single request."""
SMALL_BYTES = 4 * 2**20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as environment, running_server(environment) as server:
        yield server


@pytest.fixture
def lake(server: Server, tmp_path: Path) -> Lake:
    """An empty lake of its own."""
    return Lake(ObjectPath.parse(f"s3://{BUCKET}/{tmp_path.name}/it's a [lake]"), tmp_path / "pending")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_siglip(tmp_path_factory.mktemp("siglip"))


def rows(*ids: str, score: float = 0.5) -> pa.Table:
    return pa.table({"id": ids, "score": [score] * len(ids), "fingerprint": ["1"] * len(ids)}, schema=SCHEMA)


def without_times(found: pa.Table) -> pa.Table:
    """An object's time is when it was put, and it lies on no disk."""
    of_disk = {"modified_at", "changed_at", "inode"}
    return found.drop_columns([name for name in found.column_names if name in of_disk])


def vistag(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return f"{result.exit_code} {' '.join(result.output.split())}"


# ---- the same rows


@pytest.mark.slow
def test_lake_and_library_on_a_store_give_the_rows_of_local_ones(
    server: Server, checkpoint: Path, tmp_path: Path
) -> None:
    local = tiny_home(tmp_path, checkpoint)
    upload(server, tmp_path / "library", "library")
    there = Home(tmp_path / "elsewhere")
    write_settings(there, read_settings(local))
    tag(local, tmp_path / "library")
    place = ("--lake", f"s3://{BUCKET}/rows", "--home", there.root)
    library = ("run", f"s3://{BUCKET}/library", "--library", "lib")
    assert vistag(*library, *place).startswith("0 ")

    assert there.lake.tables() == local.lake.tables()
    for table in local.lake.tables():
        assert there.lake.folders(table) == local.lake.folders(table)
        for folder in local.lake.folders(table) or [None]:
            found, expected = there.lake.read(table, folder), local.lake.read(table, folder)
            assert without_times(found) == without_times(expected)
    assert not (there.root / "lake").exists()
    assert verify_home(there, deep=True).findings == ()
    assert "nothing is wrong" in vistag("verify", "--home", there.root)
    counted = "select folder, count(*) from tags group by all order by all"
    assert vistag("sql", counted, "--home", there.root) == vistag("sql", counted, "--home", local.root)

    before = server.client.list_objects_v2(Bucket=BUCKET, Prefix="rows/")["Contents"]
    assert vistag(*library, "--home", there.root).startswith("0 ")
    assert server.client.list_objects_v2(Bucket=BUCKET, Prefix="rows/")["Contents"] == before

    assert "has its lake in" in vistag(*library, "--home", local.root, "--lake", f"s3://{BUCKET}/other")
    assert "s3://bucket/prefix" in vistag(*library, "--home", local.root, "--lake", "s3://key:secret@host/x")

    assert_proxies_lie_beside_the_lake(there, library)

    damaged = there.lake.data_file("tag_scores", "lib--a")
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert {fault.kind for fault in verify_home(there).faults} == {"damaged_file"}
    assert "moved to" in vistag(*library, "--home", there.root)
    [quarantined] = (there.root / "quarantine" / "tag_scores" / "folder=lib--a").iterdir()
    assert quarantined.stat().st_size == 100
    assert there.lake.read_all("tag_scores") == local.lake.read_all("tag_scores")
    assert "is not a folder" in vistag("run", f"s3://{BUCKET}/librar", "--home", there.root)
    assert verify_home(there, deep=True).faults == ()


def assert_proxies_lie_beside_the_lake(home: Home, library: tuple[str, ...]) -> None:
    """A home that lost them has them from the store; one of before puts them there; what is lost is told and made again."""
    on_store, named = shared_proxies(home), home.lake.read_all("proxies", ["path"])["path"].to_pylist()
    assert on_store is not None
    assert sorted(on_store) == sorted(named)
    shutil.rmtree(home.proxies_dir)
    assert verify_home(home, deep=True).findings == ()
    for path in named:
        assert open_proxy(home.root, path).mode == "RGB"
    pages = {preview_page(home, "images", key) for key in home.lake.folders("images")}
    assert all(b"data:image/jpeg" in page.read_bytes() for page in pages)

    for there in on_store.values():
        there.unlink()
    [alone] = verify_home(home).findings
    assert (alone.kind, alone.count, alone.is_fault) == ("proxies_not_shared", len(named), False)
    assert vistag(*library, "--home", home.root).startswith("0 ")
    assert verify_home(home, deep=True).findings == ()

    on_store[named[0]].unlink()
    (home.root / named[0]).unlink()
    assert {fault.kind for fault in verify_home(home).faults} == {"missing_proxy"}
    assert vistag(*library, "--home", home.root).startswith("0 ")
    assert verify_home(home, deep=True).findings == ()


def test_partitions_are_written_listed_queried_and_removed(lake: Lake, server: Server) -> None:
    assert (lake.tables(), lake.folders(TABLE), lake.read_or_none(TABLE, FOLDER)) == ([], [], None)
    lake.write(TABLE, rows("a"), "one")
    lake.write("bands", rows("b"))
    sql = lake.connect()
    lake.write(TABLE, rows("a", "b"), "two")  # a view sees what is written later
    counted = sql.sql(f"select folder, count(*) from {TABLE} group by all order by all").fetchall()
    assert counted == [("one", 1), ("two", 2)]
    assert sql.sql("select id from bands").fetchall() == [("b",)]
    assert lake.read_all(TABLE)["folder"].to_pylist() == ["one", "two", "two"]
    assert lake.read(TABLE, "two", ["id"]) == rows("a", "b").select(["id"])
    lake.delete(TABLE, "one")
    assert lake.folders(TABLE) == ["two"]
    assert [path.name for path in lake.files()] == ["data.parquet"] * 2
    lake.delete(TABLE, "two")
    assert lake.tables() == ["bands"]


def test_an_update_resumes_from_the_batches_of_the_one_that_failed(lake: Lake) -> None:
    def compute(ids: list[str]) -> Iterator[pa.Table]:
        computed.append(ids)
        for id_ in ids:
            if id_ == fails_at:
                raise ConnectionError("the model is gone")
            yield rows(id_)

    computed: list[list[str]] = []
    wanted = rows("a", "b", "c").select(["id", "fingerprint"])
    fails_at = "c"
    with pytest.raises(ConnectionError):
        update_partition(lake, TABLE, FOLDER, wanted, SCHEMA, compute)
    assert not lake.exists(TABLE, FOLDER)
    fails_at = ""
    assert update_partition(lake, TABLE, FOLDER, wanted, SCHEMA, compute).resumed == 2
    assert computed == [["a", "b", "c"], ["c"]]
    assert lake.read(TABLE, FOLDER) == rows("a", "b", "c")


# ---- one home writes


def test_another_home_may_read_and_not_write(lake: Lake, tmp_path: Path) -> None:
    lake.write(TABLE, rows("a"), FOLDER)
    other = Lake(lake.root, tmp_path / "other" / "pending")
    assert other.read(TABLE, FOLDER) == rows("a")
    for attempt in (other.write, lambda table, rows, folder: other.delete(table, folder)):
        with pytest.raises(ForeignLake, match=f"written to by the home {tmp_path}"):
            attempt(TABLE, rows("b"), FOLDER)
    assert lake.read(TABLE, FOLDER) == rows("a")
    (lake.root / ".vistag-home").unlink()  # as the message says
    other.write(TABLE, rows("b"), FOLDER)
    with pytest.raises(ForeignLake):
        lake.write(TABLE, rows("a"), FOLDER)


def test_a_place_that_is_no_bucket_is_refused(tmp_path: Path) -> None:
    for url in (
        "s3://",
        "s3://b",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "https://bucket/a",
        "s3://k:s@b/c",
    ):
        with pytest.raises(StoreUrlError, match="s3://bucket/prefix"):
            ObjectPath.parse(url)
    home = Home(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"lake": "/mnt/lake"}))
    with pytest.raises(SettingsError, match="s3://bucket/prefix"):
        _ = home.lake


# ---- a library


@pytest.fixture
def library(server: Server, tmp_path: Path) -> ObjectPath:
    """Two pictures in the folder a, one in b/c, and what is no picture; tmp_path/library is its local twin."""
    local = tmp_path / "library"
    for seed, name in enumerate(("a/1.png", "a/zwei & ü+%20.png", "b/c/3.png", "b/.hidden/4.png")):
        draw(local / name, seed)
    for name in ("a/broken.jpg", "a/raw.CR2", "a/notes.txt"):
        (local / name).write_text("no image")
    upload(server, local, f"{tmp_path.name}/library")
    return ObjectPath.parse(f"s3://{BUCKET}/{tmp_path.name}/library")


def ingest(root: Location, home: Path, folder: str = "a", known: Ingested | None = None) -> Ingested:
    tables = (known.images, known.rejects, known.proxies) if known else ()
    return ingest_folder(root / folder, root, home, Limits(max_file_mib=1), *tables, workers=2)


def test_an_object_is_read_once_and_again_when_it_was_replaced(
    library: ObjectPath, server: Server, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    assert list(map(str, find_folders(library))) == list(map(str, find_folders(tmp_path / "library")))
    found, local = ingest(library, home), ingest(tmp_path / "library", tmp_path / "other")
    for table in ("images", "rejects", "proxies"):
        assert without_times(getattr(found, table)) == without_times(getattr(local, table))
    assert (found.decoded, found.kept) == (2, 0)

    assert ingest(library, home, known=found).decoded == 0
    draw(tmp_path / "library" / "a" / "1.png", seed=9)
    (library / "a/1.png").write_bytes((tmp_path / "library" / "a" / "1.png").read_bytes() + bytes(7))
    (library / "a/broken.jpg").unlink()
    again = ingest(library, home, known=found)
    assert (again.decoded, again.kept) == (1, 1)
    assert again.rejects["code"].to_pylist() == ["unsupported"]

    (library / "a/1.png").write_bytes(bytes(2 * 2**20))
    assert ingest(library, home, known=again).rejects["code"].to_pylist() == ["too_large", "unsupported"]


def test_keys_that_no_file_could_have_are_passed_over_and_told(
    library: ObjectPath, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = (tmp_path / "library" / "a" / "1.png").read_bytes()
    prefix = f"{tmp_path.name}/library"
    for key in ("a//1.png", "a/../1.png", "./1.png", "a/tab\t.png", "../1.png", "d/e.png/"):
        server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=picture)
    for marker in ("a/", "empty/", "f.png/"):
        server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{marker}", Body=b"")
    folders = find_folders(library)
    assert "5 objects" in caplog.text
    assert [str(folder) for folder in folders if str(folder) != "d"] == ["a", "b/c"]
    assert ingest(library, tmp_path / "home").images.num_rows == 2
    # a key that ends with a slash is listed as a file at first, with what lies below the library
    nothing = ingest(library, tmp_path / "home", "d")
    assert (nothing.images.num_rows, nothing.rejects.num_rows) == (0, 0)


def test_a_library_that_cannot_be_reached_loses_no_row(
    library: ObjectPath, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, known = tmp_path / "home", ingest(library, tmp_path / "home")
    (library / "a/1.png").write_bytes(b"another picture")
    with proxied(server, monkeypatch) as proxy:
        for refused in ("", "1.png"):  # everything; only what is to be read
            proxy.refuse = lambda request, part=refused: (
                (403, "AccessDenied") if part in request.path else None
            )
            with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
                ingest(library, home, known=known)
        proxy.refuse = lambda request: (404, "NoSuchBucket")
        for ask in (lambda: ingest(library, home, known=known), lambda: find_folders(library)):
            with pytest.raises(StoreError, match="no such bucket"):
                ask()
    with pytest.raises(FileNotFoundError):  # as a folder whose disk is not mounted
        ingest(library, home, "nowhere", known)
    assert ingest(library, home, known=known).kept == 1


# ---- half of something


def test_a_write_that_ends_with_an_error_leaves_the_object_as_it_was(lake: Lake) -> None:
    path = lake.root / "some.parquet"
    path.write_bytes(b"before")

    def write_half() -> None:
        with replace_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"before"


def test_an_upload_of_which_a_part_fails_leaves_the_object_as_it_was(
    lake: Lake, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lake.root / "some.parquet"
    path.write_bytes(b"before")
    with proxied(server, monkeypatch) as proxy:
        proxy.refuse = lambda request: (403, "AccessDenied") if "partNumber=2" in request.query else None
        with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
            path.write_bytes(bytes(LARGE_BYTES))
        assert any("partNumber=1" in request.query for request in proxy.requests)
    assert path.read_bytes() == b"before"


def test_readers_see_one_version_while_another_is_put(
    lake: Lake, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes between two requests of one read: as long as the first, so that its pages fit."""
    old, new = rows("a", "b", score=0.25), rows("a", "b", score=0.75)
    lake.write(TABLE, new, FOLDER)
    path = lake.data_file(TABLE, FOLDER)
    content = path.read_bytes()
    lake.write(TABLE, old, FOLDER)
    sql = lake.connect()
    sql.execute("set parquet_metadata_cache = false")
    with proxied(server, monkeypatch) as proxy:
        gets = 0

        def put_when_it_is_read(request: Request) -> None:
            nonlocal gets
            gets += request.method == "GET" and request.path.endswith("parquet")
            if gets == 2:
                key = "/".join(path.parts[1:])
                server.client.put_object(Bucket=BUCKET, Key=key, Body=content)

        proxy.before_reply = put_when_it_is_read
        assert lake.read(TABLE, FOLDER) == new
        lake.write(TABLE, old, FOLDER)
        gets = 1
        with path.open() as file, pytest.raises(ObjectReplaced):
            file.read(4)
        lake.write(TABLE, old, FOLDER)
        gets = 0
        with pytest.raises(duckdb.Error, match="replaced while it was read"):
            sql.sql(f"select score from {TABLE}").fetchall()


# ---- a store that fails


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "AWS_ACCESS_KEY_ID"),
        (301, "PermanentRedirect", "AWS_REGION"),
        (404, "NoSuchBucket", "no such bucket"),
    ],
)
def test_a_store_that_refuses_is_not_an_empty_one(
    lake: Lake, server: Server, monkeypatch: pytest.MonkeyPatch, status: int, code: str, advice: str
) -> None:
    lake.write(TABLE, rows("a"), FOLDER)
    other = Lake(lake.root.parent / "other", lake.pending_root)
    with proxied(server, monkeypatch) as proxy:
        proxy.refuse = lambda request: (status, code)
        for ask in (
            lambda: lake.read_or_none(TABLE, FOLDER),
            lambda: lake.exists(TABLE, FOLDER),
            lambda: lake.folders(TABLE),
            lake.tables,
            lake.files,
            lake.connect,
            lake.root.is_dir,
            lambda: other.read_or_none(TABLE, FOLDER),
            lambda: lake.write(TABLE, rows("b"), FOLDER),
            lambda: lake.delete(TABLE, FOLDER),
        ):
            with pytest.raises(StoreError, match=f"{advice}.*s3://{BUCKET}") as told:
                ask()
            assert "not-to-be-told" not in str(told.value)
    assert lake.read(TABLE, FOLDER) == rows("a")


def test_a_store_that_fails_in_the_middle_of_a_read_is_no_damage(
    lake: Lake, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever request is the first that fails: a damaged partition would be moved and computed again."""
    lake.write(TABLE, rows("a"), FOLDER)
    with proxied(server, monkeypatch) as proxy:
        left = iter(())
        proxy.refuse = lambda request: next(left, (403, "AccessDenied"))
        for answered in range(5):
            left = iter([None] * answered)
            with pytest.raises(StoreError):
                read_stored(lake, TABLE, FOLDER, SCHEMA)
    assert not lake.quarantine_root.exists()
    assert read_stored(lake, TABLE, FOLDER, SCHEMA).rows == rows("a")


@pytest.mark.slow
def test_a_lake_that_was_copied_to_a_store_is_evaluated_as_it_was(
    server: Server, checkpoint: Path, tmp_path: Path
) -> None:
    home = tiny_home(tmp_path, checkpoint)
    names, carried = [f"a/{number}.png" for number in range(5)], [0, 1, 1, 2, 2]
    truth = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [
            {"id": number, "name": name} for number, name in enumerate(("vase", "bowl", "bronze"))
        ],
        "annotations": [],
        "image_tags": [{"image_id": number, "category_id": tag} for number, tag in enumerate(carried)],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    option = ("--home", home.root)
    run = (
        "run",
        tmp_path / "library",
        "--library",
        "lib",
        "--ground-truth",
        tmp_path / "truth.json",
        *option,
    )
    vistag(*run)
    figures = home.reports_dir / "long_tail.json"
    local = json.loads(figures.read_text())
    figures.unlink()

    upload(server, home.root / "lake", "copied")
    shutil.rmtree(home.root / "lake")
    write_settings(home, read_settings(home).model_copy(update={"lake": f"s3://{BUCKET}/copied"}))
    vistag(*run)
    found = json.loads(figures.read_text())
    assert found["tag_recall"] == local["tag_recall"]
    assert found["bands"] == local["bands"]
    assert found["images"] == 5
    assert not (home.root / "lake").exists()
    assert verify_home(home, deep=True).faults == ()


@pytest.mark.slow
def test_a_run_whose_store_fails_is_told_and_the_next_one_goes_on(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tiny_home(tmp_path, checkpoint)
    with running_server(monkeypatch) as server:
        run = ("run", tmp_path / "library", "--library", "lib", "--home", home.root)
        with proxied(server, monkeypatch) as proxy:
            proxy.refuse = lambda request: (403, "AccessDenied") if "/tag_scores/" in request.path else None
            told = vistag(*run, "--lake", f"s3://{BUCKET}/lake")
            assert "Error: s3://museum/lake/tag_scores/folder=lib--a/data.parquet: the store refuses" in told
            assert told.startswith("1 ")
        assert home.lake.folders("global_embeddings") == ["lib--a", "lib--b"]
        assert vistag(*run).startswith("0 ")
        assert verify_home(home, deep=True).findings == ()
        server.stop()
        told = vistag("verify", "--home", home.root)
        assert told.startswith("1 Error: s3://museum/lake: check AWS_ENDPOINT_URL")
    content = "".join(path.read_text() for path in home.root.glob("*.json"))
    assert "not-to-be-told" not in content


# ---- kill -9


@pytest.mark.slow
@pytest.mark.parametrize(("size_bytes", "pause_s"), [(LARGE_BYTES, 0.05), (SMALL_BYTES, 0.15)])
def test_a_writer_killed_in_the_middle_of_an_upload_leaves_the_last_good_object(
    lake: Lake, server: Server, monkeypatch: pytest.MonkeyPatch, size_bytes: int, pause_s: float
) -> None:
    """Parts of a large object, and the single request of a small one; then the next run puts it."""
    before = rows("a")
    lake.write(TABLE, before, FOLDER)
    arguments = [str(lake.root), str(lake.pending_root), str(size_bytes)]
    command = [sys.executable, __file__, *arguments]
    environment = services.environment()
    with proxied(server, monkeypatch) as proxy:
        environment["AWS_ENDPOINT_URL"] = proxy.url
        for share, how in ((0.5, signal.SIGKILL), (0.3, signal.SIGINT)):
            proxy.pause_s, proxy.uploaded_bytes = pause_s, 0
            proxy.holds_at_bytes = share * size_bytes  # however slow we are, it is in the middle
            writer = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            try:
                while proxy.uploaded_bytes < share * size_bytes and writer.poll() is None:
                    assert lake.read(TABLE, FOLDER) == before
                    time.sleep(0.2)
                writer.send_signal(how)
                proxy.holds_at_bytes = math.inf
                proxy.pause_s = 0.0 if how == signal.SIGINT else pause_s
                assert writer.wait() != 0
            finally:
                writer.kill()
                writer.wait()
            if how == signal.SIGKILL:
                assert lake.read(TABLE, FOLDER) == before
    assert lake.read(TABLE, FOLDER) in (before, large(size_bytes))  # Ctrl-C lets an upload end
    subprocess.run(command, env=environment | {"AWS_ENDPOINT_URL": server.url}, check=True)
    assert lake.read(TABLE, FOLDER) == large(size_bytes)
    assert [path.name for path in lake.files()] == ["data.parquet"]


def large(size_bytes: int) -> pa.Table:
    """Rows that take so much room, for they do not compress."""
    scores = np.random.default_rng(1).random(size_bytes // 8)
    ids = pa.repeat("a", len(scores))
    return pa.table([ids, scores, ids], schema=SCHEMA)


if __name__ == "__main__":
    # a shell that runs the tests in the background has all their children ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root, pending, size = sys.argv[1:]
    Lake(ObjectPath.parse(root), Path(pending)).write(TABLE, large(int(size)), FOLDER)
