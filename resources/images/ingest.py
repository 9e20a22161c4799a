"""A folder of image files to the rows of `images`, `rejects` and `proxies`; only what is new is read."""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader, BytesIO
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import IO, Any

import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.images.budget import PixelBudget
from resources.images.decode import Decoded, Limits
from resources.images.isolated import decode_isolated
from resources.images.proxies import JPEG_QUALITY, proxy_path, save_proxy
from resources.images.rejects import Reject, unreadable
from resources.images.scan import Found, Rejected, microseconds, require_inside, scan_folder
from resources.object_store import Location, ObjectInfo, ObjectReplaced, StoreError

VERSION = 1  # to be raised when the same file would give another proxy or another row
ID_DIGITS = 32
MIB = 1024 * 1024
CONTENT_COLUMNS = ("width", "height", "format", "mode", "frames", "taken_at", "phash")
IN_MEMORY_BYTES = (
    64 * MIB
)  # files up to this size are read once; larger ones are hashed, then decoded from disk
CHANGED = (
    "changed_while_reading",
    "The file changed while it was read; something is still writing it. The next run tries again.",
)
# A file system tells time in such steps: a change within one of them may leave a file's time as it was.
TICK_NS = 20_000_000
# Nothing about such a file need change before it can be used.
ALWAYS_RETRIED = frozenset(["unreadable", "changed_while_reading", "out_of_memory"])

FILE_TIME = pa.timestamp("us", "UTC")
IMAGES_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "path": pa.string(),
        "also_at": pa.list_(pa.string()),
        "bytes": pa.int64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "format": pa.string(),
        "mode": pa.string(),
        "frames": pa.int32(),
        "modified_at": FILE_TIME,
        "taken_at": pa.timestamp("s"),
        "phash": pa.uint64(),
        "fingerprint": pa.string(),
    }
)
REJECTS_SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "bytes": pa.int64(),
        "modified_at": FILE_TIME,
        "code": pa.string(),
        "reason": pa.string(),
        "fingerprint": pa.string(),
    }
)
PROXIES_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "path": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "fingerprint": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class Ingested:
    """The rows of one folder, in the order of file names; `decoded` + `kept` is the number of images."""

    images: pa.Table
    rejects: pa.Table
    proxies: pa.Table
    decoded: int
    kept: int


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of one content, whatever its names; sizes in pixels, `proxy` relative to the home."""

    width: int
    height: int
    format: str
    mode: str
    frames: int
    taken_at: datetime | None
    phash: int
    proxy: str
    proxy_width: int
    proxy_height: int


@dataclass(frozen=True, slots=True)
class Read:
    """A file whose content is known: its own facts, and the id of the content."""

    found: Found
    bytes: int
    modified_us: int
    id: str


def ingest_fingerprint(limits: Limits) -> str:
    """What rows of `images` and `proxies` are computed by. The limits that only reject are not part of it."""
    return fingerprint(
        stage="images",
        version=VERSION,
        proxy_max_side_px=limits.proxy_max_side_px,
        jpeg_quality=JPEG_QUALITY,
    )


def rejects_fingerprint(limits: Limits) -> str:
    """What rows of `rejects` are computed by: raising a limit retries them, and decodes no image again."""
    return fingerprint(
        images=ingest_fingerprint(limits),
        max_megapixels=limits.max_megapixels,
        max_file_mib=limits.max_file_mib,
        max_decode_s=limits.max_decode_s,
    )


def ingest_folder(
    directory: Location,
    library_root: Location,
    home_root: Path,
    limits: Limits,
    known_images: pa.Table | None = None,
    known_rejects: pa.Table | None = None,
    known_proxies: pa.Table | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Ingested:
    """Read the image files directly in `directory` and write a proxy for each new content.

    The known tables are what this function returned for the folder last time. A file whose path, size and
    time are those of a known row, and whose proxy exists, is not opened; a content known under another name
    is hashed but not decoded. Rejected files are tried again when they, or the limits, have changed. A file
    that vanishes before it is read is passed over. No file makes the call fail; a home that cannot be written
    to does (OSError), and so does a directory that is missing (see `scan_folder`) or loses all its files on
    the way. `on_progress(done, total)` is called with numbers of files, from the calling thread.
    `workers` threads, as many as there are cores if None, share one budget of `limits.max_megapixels`.
    """
    entries = scan_folder(directory, library_root)
    contents = _known_contents(home_root, known_images, known_proxies, ingest_fingerprint(limits))
    known_files = _known_files(known_images, contents)
    known_failures = _known_failures(known_rejects, rejects_fingerprint(limits))

    outcomes = [_without_reading(entry, known_files, known_failures) for entry in entries]
    unread = [
        (index, entry)
        for index, entry in enumerate(entries)
        if isinstance(entry, Found) and outcomes[index] is None
    ]
    reader = _Reader(library_root, home_root, limits, contents)
    done = len(entries) - len(unread)
    report = on_progress or (lambda done, total: None)
    report(done, len(entries))
    for index, outcome in _in_threads(reader.read, unread, workers or os.cpu_count() or 1):
        outcomes[index] = outcome
        done += 1
        report(done, len(entries))
    if None in outcomes and not scan_folder(directory, library_root):
        raise FileNotFoundError(
            errno.ENOENT,
            "all files vanished while it was read; check that its disk is mounted",
            str(directory),
        )
    settled = [_settled(outcome, reader.failures) for outcome in outcomes if outcome is not None]
    return _tables(settled, contents, reader.decoded_ids, limits)


class _Reader:
    """What the threads of one call share: the contents known so far, and who decodes which.

    A content is claimed by the first file that turns out to hold it, and so decoded once however many names
    it has; when all files are read, each id is in `contents` or in `failures`.
    """

    def __init__(
        self, library_root: Location, home_root: Path, limits: Limits, contents: dict[str, Content]
    ) -> None:
        self.contents = contents
        self.failures: dict[str, Reject] = {}
        self.decoded_ids: set[str] = set()
        self._library_root = library_root
        self._home_root = home_root
        self._limits = limits
        self._budget = PixelBudget(limits.max_pixels)
        self._claimed = set(contents)
        self._lock = Lock()

    def read(self, found: Found) -> Read | Rejected | None:
        """Hash one file, and decode it if nobody has; None if it vanished since it was listed.

        Raises OSError only if its proxy cannot be written, or its object store does not answer.
        """
        if found.bytes > self._limits.max_file_mib * MIB:
            return _rejected(found, _file_too_large(found.bytes, self._limits))
        try:
            with _opened(found.file, self._library_root) as file:
                read, decoded = self._hash_and_decode(found, file)
        except Reject as reject:
            return _rejected(found, reject)
        except StoreError:  # of the store, not of this file: all the others would be rejects too
            raise
        except FileNotFoundError:
            return None
        except OSError as error:
            return _rejected(found, unreadable(error))
        if decoded is not None:
            self._store(read.id, decoded)
        return read

    def _hash_and_decode(self, found: Found, file: BufferedReader) -> tuple[Read, Decoded | None]:
        before = _status_at_rest(file)
        if before.st_size > self._limits.max_file_mib * MIB:
            raise _file_too_large(before.st_size, self._limits)
        source: BytesIO | BufferedReader = BytesIO(file.read()) if before.st_size <= IN_MEMORY_BYTES else file
        image_id = hashlib.file_digest(source, "sha256").hexdigest()[:ID_DIGITS]
        if _has_changed(file, before):
            raise Reject(*CHANGED)
        read = Read(found, before.st_size, microseconds(before.st_mtime_ns), image_id)
        if not self._claim(image_id):
            return read, None
        try:
            decoded = decode_isolated(source, self._limits, self._budget)
        except Reject as reject:
            self.failures[image_id] = Reject(*CHANGED) if _has_changed(file, before) else reject
            return read, None
        if source is file and _has_changed(file, before):
            self.failures[image_id] = Reject(*CHANGED)
            return read, None
        return read, decoded

    def _claim(self, image_id: str) -> bool:
        with self._lock:
            unclaimed = image_id not in self._claimed
            self._claimed.add(image_id)
        return unclaimed

    def _store(self, image_id: str, decoded: Decoded) -> None:
        path = proxy_path(image_id, ingest_fingerprint(self._limits))
        save_proxy(self._home_root, path, decoded.image)
        self.contents[image_id] = Content(
            width=decoded.source_width_px,
            height=decoded.source_height_px,
            format=decoded.format,
            mode=decoded.mode,
            frames=decoded.frames,
            taken_at=decoded.taken_at,
            phash=decoded.phash,
            proxy=str(path),
            proxy_width=decoded.image.width,
            proxy_height=decoded.image.height,
        )
        self.decoded_ids.add(image_id)


def _settled(outcome: Read | Rejected, failures: dict[str, Reject]) -> Read | Rejected:
    """A file whose content could not be decoded, under this name or another, is a reject."""
    if isinstance(outcome, Read) and outcome.id in failures:
        return _rejected(outcome.found, failures[outcome.id])
    return outcome


def _opened(file: Path | ObjectInfo, library_root: Location) -> AbstractContextManager[BufferedReader]:
    if isinstance(file, ObjectInfo):
        return _local_copy(file)
    assert isinstance(library_root, Path), "a library lies on a disk or on a store"
    return _open_regular(file, library_root)


@contextmanager
def _open_regular(file: Path, library_root: Path) -> Iterator[BufferedReader]:
    """Open a file that the scan found regular; if it is a pipe by now, that waits for no writer."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Reject(*CHANGED)
        require_inside(descriptor, file, library_root)
        yield opened


def _status_at_rest(file: BufferedReader) -> os.stat_result:
    """A file's status, so long after its last change that a later one shows in its times."""
    status = os.fstat(file.fileno())
    since_ns = time.time_ns() - status.st_ctime_ns
    if 0 <= since_ns < TICK_NS:
        time.sleep((TICK_NS - since_ns) / 1e9)
        status = os.fstat(file.fileno())
    return status


@contextmanager
def _local_copy(found: ObjectInfo) -> Iterator[BufferedReader]:
    """The content of an object as a file without a name, with the time that the scan saw.

    Where the object was replaced since then, the next scan sees another time, and it is read again.
    """
    copy: IO[bytes]
    with tempfile.TemporaryFile(buffering=0) as copy:
        try:
            with found.path.open() as source:
                shutil.copyfileobj(source, copy, IN_MEMORY_BYTES)
        except (ObjectReplaced, FileNotFoundError) as error:
            raise Reject(*CHANGED) from error
        copy.seek(0)
        os.utime(copy.fileno(), ns=(found.modified_us * 1000, found.modified_us * 1000))
        yield BufferedReader(copy)


def _has_changed(file: BufferedReader, before: os.stat_result) -> bool:
    """Also if who wrote it set its time back, as copying programs do: that changes the time of its status."""
    now = os.fstat(file.fileno())
    return any(
        getattr(now, name) != getattr(before, name) for name in ("st_size", "st_mtime_ns", "st_ctime_ns")
    )


def _file_too_large(size_bytes: int, limits: Limits) -> Reject:
    return Reject(
        "too_large",
        f"The file has {size_bytes / MIB:,.0f} MiB; the limit is {limits.max_file_mib:g}. "
        "If it is genuine, raise max_file_mib, or export a smaller copy.",
    )


def _rejected(found: Found, reject: Reject) -> Rejected:
    return Rejected(found.path, found.bytes, found.changed_us, reject.code, reject.reason)


def _known_contents(
    home_root: Path, images: pa.Table | None, proxies: pa.Table | None, current: str
) -> dict[str, Content]:
    """The contents that need no decoding: both rows of the current fingerprint, and the proxy there."""
    if images is None or proxies is None:
        return {}
    stored = {row["id"]: row for row in proxies.to_pylist() if row["fingerprint"] == current}
    return {
        row["id"]: Content(
            **{
                name: row[name]
                for name in ("width", "height", "format", "mode", "frames", "taken_at", "phash")
            },
            proxy=stored[row["id"]]["path"],
            proxy_width=stored[row["id"]]["width"],
            proxy_height=stored[row["id"]]["height"],
        )
        for row in _rows(images)
        if row["fingerprint"] == current
        and row["id"] in stored
        and (home_root / stored[row["id"]]["path"]).is_file()
    }


def _known_files(images: pa.Table | None, contents: dict[str, Content]) -> dict[tuple[str, int, int], str]:
    """(path, bytes, time) -> id. Only first names: for the others the table keeps no time."""
    return {
        (row["path"], row["bytes"], row["modified_at"]): row["id"]
        for row in _rows(images)
        if row["id"] in contents
    }


def _known_failures(rejects: pa.Table | None, current: str) -> dict[tuple[str, int, int], Reject]:
    """(path, bytes, time) -> why the file was rejected, and will be again."""
    return {
        (row["path"], row["bytes"], row["modified_at"]): Reject(row["code"], row["reason"])
        for row in _rows(rejects)
        if row["fingerprint"] == current and row["code"] not in ALWAYS_RETRIED
    }


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    """The rows of a table, file times as microseconds: they may lie beyond what datetime holds."""
    if table is None:
        return []
    index = table.schema.get_field_index("modified_at")
    return table.set_column(index, "modified_at", table["modified_at"].cast(pa.int64())).to_pylist()


def _without_reading(
    entry: Found | Rejected,
    known_files: dict[tuple[str, int, int], str],
    known_failures: dict[tuple[str, int, int], Reject],
) -> Read | Rejected | None:
    """What can be said of a file that is as it was; None if it has to be read."""
    if isinstance(entry, Rejected):
        return entry
    image_id = known_files.get((entry.path, entry.bytes, entry.modified_us))
    if image_id is not None:
        return Read(entry, entry.bytes, entry.modified_us, image_id)
    failure = known_failures.get((entry.path, entry.bytes, entry.changed_us))
    return _rejected(entry, failure) if failure is not None else None


def _in_threads(
    read: Callable[[Found], Read | Rejected | None], unread: Iterable[tuple[int, Found]], workers: int
) -> Iterator[tuple[int, Read | Rejected | None]]:
    """Yield (index, outcome) as files are done; never has more than a few tasks a worker waiting."""
    queue = iter(unread)
    with ThreadPoolExecutor(workers, thread_name_prefix="ingest") as pool:
        running = {pool.submit(read, found): index for index, found in islice(queue, 2 * workers)}
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
            running |= {pool.submit(read, found): index for index, found in islice(queue, len(finished))}


def _tables(
    outcomes: list[Read | Rejected], contents: dict[str, Content], decoded_ids: set[str], limits: Limits
) -> Ingested:
    names: dict[str, list[Read]] = {}
    for outcome in outcomes:
        if isinstance(outcome, Read):
            names.setdefault(outcome.id, []).append(outcome)
    current = ingest_fingerprint(limits)
    images = [_image_row(reads, contents[image_id], current) for image_id, reads in names.items()]
    proxies = [_proxy_row(image_id, contents[image_id], current) for image_id in names]
    failed = rejects_fingerprint(limits)
    rejects = [_reject_row(outcome, failed) for outcome in outcomes if isinstance(outcome, Rejected)]
    return Ingested(
        images=pa.Table.from_pylist(images, schema=IMAGES_SCHEMA),
        rejects=pa.Table.from_pylist(rejects, schema=REJECTS_SCHEMA),
        proxies=pa.Table.from_pylist(proxies, schema=PROXIES_SCHEMA),
        decoded=len(decoded_ids),
        kept=len(images) - len(decoded_ids),
    )


def _image_row(reads: list[Read], content: Content, current: str) -> dict[str, Any]:
    first, *others = reads
    return {
        "id": first.id,
        "path": first.found.path,
        "also_at": [read.found.path for read in others],
        "bytes": first.bytes,
        "width": content.width,
        "height": content.height,
        "format": content.format,
        "mode": content.mode,
        "frames": content.frames,
        "modified_at": first.modified_us,
        "taken_at": content.taken_at,
        "phash": content.phash,
        "fingerprint": current,
    }


def _proxy_row(image_id: str, content: Content, current: str) -> dict[str, Any]:
    return {
        "id": image_id,
        "path": content.proxy,
        "width": content.proxy_width,
        "height": content.proxy_height,
        "fingerprint": current,
    }


def _reject_row(rejected: Rejected, current: str) -> dict[str, Any]:
    return {
        "path": rejected.path,
        "bytes": rejected.bytes,
        "modified_at": rejected.changed_us,
        "code": rejected.code,
        "reason": rejected.reason,
        "fingerprint": current,
    }
