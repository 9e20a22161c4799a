"""A folder of image files to the rows of `images`, `rejects` and `proxies`; only what is new is read."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.images.budget import PixelBudget, affordable, memory_bytes
from resources.images.describing import NOTES as NOTES_OF_DESCRIPTIONS
from resources.images.describing import Describer
from resources.images.picture import Limits
from resources.images.proxies import proxies_there
from resources.images.reading import (
    Content,
    Read,
    Reader,
    ingest_fingerprint,
    proxy_fingerprints,
    rejected,
    settled,
)
from resources.images.rejects import Reject
from resources.images.scan import Found, Rejected, pair_raws, scan_folder
from resources.object_store import Location
from resources.tables import IMAGES, PROXIES, REJECTS

# of `images`, as they stand in `Content`
CONTENT_COLUMNS = (
    *("width", "height", "format", "mode", "frames"),
    *("taken_at", "phash", "pixel_hash", "colour", "notes"),
)
FILE_TIMES = frozenset(["modified_at", "changed_at"])
# Nothing about such a file need change before it can be used.
ALWAYS_RETRIED = frozenset(["unreadable", "changed_while_reading", "out_of_memory"])


@dataclass(frozen=True, slots=True)
class Ingested:
    """The rows of one folder, in the order of file names; `decoded` + `kept` is the number of images."""

    images: pa.Table
    rejects: pa.Table
    proxies: pa.Table
    decoded: int
    kept: int


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
    read_again: bool = False,
    exclude: Sequence[str] = (),
) -> Ingested:
    """Read the image files directly in `directory` and write a proxy for each new content.

    The known tables are what this function returned for the folder last time. A file whose path, size, times and
    inode are those of a known row, and whose proxy exists, is not opened, but for `read_again`; a content known under
    another name is hashed but not decoded. Rejected files are tried again when they, or the limits, have changed. A file
    that vanishes before it is read is passed over. No file makes the call fail; a home that cannot be written
    to does (OSError), and so does a directory that is missing (see `scan_folder`) or loses all its files on
    the way. `on_progress(done, total)` is called with numbers of files, from the calling thread.
    `workers` threads, as many as there are cores if None, share one budget of `limits.max_megapixels`; both are less
    where the memory of the machine does not allow for them (`affordable`).
    A raw file beside the JPEG or HEIF of its stem is not read unless that is rejected: it is another name of it.
    `exclude` has gitignore's patterns of what is passed over.
    """
    entries = scan_folder(directory, library_root, exclude)
    contents = _known_contents(home_root, known_images, known_proxies, limits)
    known_files = {} if read_again else _known_files(entries, known_images, contents)
    known_failures = {} if read_again else _known_failures(known_rejects, rejects_fingerprint(limits))

    outcomes: list[Read | Rejected | None] = [None] * len(entries)
    pixels, threads = affordable(limits.max_pixels, workers or os.cpu_count() or 1, memory_bytes())
    reader = Reader(library_root, home_root, limits, contents, PixelBudget(pixels))
    index_of = {entry.path: index for index, entry in enumerate(entries)}
    raw_of = {index_of[raw]: index_of[of] for raw, of in pair_raws(entries).items()}
    done, report = 0, on_progress or (lambda done, total: None)

    def read_all(indices: Iterable[int]) -> None:
        nonlocal done
        unread: list[tuple[int, Found]] = []
        for index in indices:
            entry = entries[index]
            outcomes[index] = _without_reading(entry, known_files, known_failures)
            if isinstance(entry, Found) and outcomes[index] is None:
                unread.append((index, entry))
            else:
                done += 1
        report(done, len(entries))
        for index, outcome in _in_threads(reader.read, unread, threads):
            outcomes[index] = outcome
            done += 1
            report(done, len(entries))

    read_all(index for index in range(len(entries)) if index not in raw_of)
    beside: dict[str, list[Found | Rejected]] = {}
    paired: set[int] = set()
    for raw, of in raw_of.items():
        outcome = outcomes[of]
        if isinstance(outcome, Read) and outcome.id not in reader.failures:
            beside.setdefault(entries[of].path, []).append(entries[raw])
            paired.add(raw)
    done += len(paired)
    if raw_of:
        read_all(sorted(raw_of.keys() - paired))
    vanished = any(outcome is None for index, outcome in enumerate(outcomes) if index not in paired)
    if vanished and not scan_folder(directory, library_root, exclude):
        raise FileNotFoundError(
            errno.ENOENT,
            "all files vanished while it was read; check that its disk is mounted",
            str(directory),
        )
    told = [settled(outcome, reader.failures) for outcome in outcomes if outcome is not None]
    known = {row["id"]: row for row in _rows(known_images) if row["id"] in contents}
    describer = Describer(library_root, limits, known, reader.described, read_again)
    return _tables(told, contents, reader.decoded_ids, beside, limits, describer, threads)


def _known_contents(
    home_root: Path, images: pa.Table | None, proxies: pa.Table | None, limits: Limits
) -> dict[str, Content]:
    """The contents that need no decoding: a row of the current fingerprint, and its proxy there."""
    if images is None or proxies is None:
        return {}
    usable = proxy_fingerprints(limits)
    stored = {row["id"]: row for row in proxies.to_pylist() if row["fingerprint"] in usable}
    there = proxies_there(home_root, {row["path"] for row in stored.values()})
    return {
        row["id"]: Content(
            **{name: row[name] for name in CONTENT_COLUMNS if name != "notes"},
            notes=tuple(note for note in row["notes"] or () if note not in NOTES_OF_DESCRIPTIONS),
            proxy=stored[row["id"]]["path"],
            proxy_width=stored[row["id"]]["width"],
            proxy_height=stored[row["id"]]["height"],
            proxy_fingerprint=stored[row["id"]]["fingerprint"],
        )
        for row in _rows(images)
        if row["fingerprint"] == usable[0] and row["id"] in stored and stored[row["id"]]["path"] in there
    }


def _known_files(
    entries: list[Found | Rejected], images: pa.Table | None, contents: dict[str, Content]
) -> dict[str, Read]:
    """Path -> what was read, of files that are as they were. Only first names: for the others the table keeps no time.

    Some file systems number their files anew each time they are mounted: where no file of the folder has the inode
    that it had, the times alone tell.
    """
    known = {row["path"]: row for row in _rows(images) if row["id"] in contents}
    there = [
        (entry, known[entry.path]) for entry in entries if isinstance(entry, Found) and entry.path in known
    ]
    has_inodes = any(entry.inode == row["inode"] for entry, row in there)
    return {
        entry.path: Read(entry, entry.bytes, entry.modified_us, entry.changed_us, entry.inode, row["id"])
        for entry, row in there
        if (entry.bytes, entry.modified_us, entry.changed_us)
        == (row["bytes"], row["modified_at"], row["changed_at"])
        and (not has_inodes or entry.inode == row["inode"])
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
    for name in FILE_TIMES.intersection(table.column_names):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.int64()))
    return table.to_pylist()


def _without_reading(
    entry: Found | Rejected,
    known_files: dict[str, Read],
    known_failures: dict[tuple[str, int, int], Reject],
) -> Read | Rejected | None:
    """What can be said of a file that is as it was; None if it has to be read."""
    if isinstance(entry, Rejected):
        return entry
    if entry.path in known_files:
        return known_files[entry.path]
    failure = known_failures.get((entry.path, entry.bytes, entry.changed_us))
    return rejected(entry, failure) if failure is not None else None


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
    outcomes: list[Read | Rejected],
    contents: dict[str, Content],
    decoded_ids: set[str],
    beside: dict[str, list[Found | Rejected]],
    limits: Limits,
    describer: Describer,
    threads: int,
) -> Ingested:
    names: dict[str, list[Read]] = {}
    for outcome in outcomes:
        if isinstance(outcome, Read):
            names.setdefault(outcome.id, []).append(outcome)
    current = ingest_fingerprint(limits)
    files = {id_: [read.found, *_found(beside.get(read.found.path, ()))] for id_, (read, *_) in names.items()}
    with ThreadPoolExecutor(threads, thread_name_prefix="describe") as pool:
        described = dict(zip(files, pool.map(describer.columns, files.keys(), files.values()), strict=True))
    images = [
        _image_row(reads, contents[image_id], beside, current, described[image_id])
        for image_id, reads in names.items()
    ]
    proxies = [_proxy_row(image_id, contents[image_id]) for image_id in names]
    failed = rejects_fingerprint(limits)
    rejects = [_reject_row(outcome, failed) for outcome in outcomes if isinstance(outcome, Rejected)]
    return Ingested(
        images=pa.Table.from_pylist(images, schema=IMAGES.schema),
        rejects=pa.Table.from_pylist(rejects, schema=REJECTS.schema),
        proxies=pa.Table.from_pylist(proxies, schema=PROXIES.schema),
        decoded=len(decoded_ids),
        kept=len(images) - len(decoded_ids),
    )


def _image_row(
    reads: list[Read],
    content: Content,
    beside: dict[str, list[Found | Rejected]],
    current: str,
    described: dict[str, Any],
) -> dict[str, Any]:
    first, *others = reads
    pairs = [
        path
        for read in reads
        for path in (*(raw.path for raw in beside.get(read.found.path, ())), *read.found.beside)
    ]
    return {
        "id": first.id,
        "path": first.found.path,
        "also_at": [*(read.found.path for read in others), *pairs],
        "bytes": first.bytes,
        "modified_at": first.modified_us,
        "changed_at": first.changed_us,
        "inode": first.inode,
        **{name: getattr(content, name) for name in CONTENT_COLUMNS},
        **described,
        "notes": [*content.notes, *described["notes"]],
        "fingerprint": current,
    }


def _found(entries: Iterable[Found | Rejected]) -> list[Found]:
    return [entry for entry in entries if isinstance(entry, Found)]


def _proxy_row(image_id: str, content: Content) -> dict[str, Any]:
    return {
        "id": image_id,
        "path": content.proxy,
        "width": content.proxy_width,
        "height": content.proxy_height,
        "fingerprint": content.proxy_fingerprint,
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
