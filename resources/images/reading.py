"""One file of a library to the id of its content and, if nobody has it yet, to a proxy."""

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader, BytesIO
from pathlib import Path
from threading import Lock
from typing import IO

from resources.fingerprint import fingerprint
from resources.images.budget import PixelBudget
from resources.images.isolated import decode_isolated
from resources.images.metadata import Described
from resources.images.picture import Decoded, Limits
from resources.images.proxies import JPEG_QUALITY, encode_proxy, proxy_is, proxy_path, save_proxy
from resources.images.rejects import Reject, unreadable
from resources.images.scan import (
    EDITOR_SUFFIXES,
    RAW_SUFFIXES,
    Found,
    Rejected,
    changed_us,
    microseconds,
    require_inside,
    suffix_of,
)
from resources.object_store import Location, ObjectInfo, ObjectReplaced, StoreError

VERSION = 3  # to be raised when the same file would give another proxy or another row
ID_DIGITS = 32
MIB = 1024 * 1024
IN_MEMORY_BYTES = (
    64 * MIB
)  # files up to this size are read once; larger ones are hashed, then decoded from disk
BLOCK_BYTES = 4 * MIB
CHANGED = (
    "changed_while_reading",
    "The file changed while it was read; something is still writing it. The next run tries again.",
)
UNREAD = {
    **dict.fromkeys(
        RAW_SUFFIXES,
        (
            "unsupported",
            "This is a camera's raw format, or a kind of it, that LibRaw does not read, or it is damaged. Export it as "
            "TIFF or JPEG beside the original.",
        ),
    ),
    **dict.fromkeys(
        EDITOR_SUFFIXES,
        (
            "unsupported",
            "This is an editor's own format, which vistag does not decode. Export it as TIFF or JPEG beside the original.",
        ),
    ),
}
# A file system tells time in such steps: a change within one of them may leave a file's time as it was.
TICK_NS = 20_000_000


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
    pixel_hash: str
    colour: str
    notes: tuple[str, ...]
    proxy: str
    proxy_width: int
    proxy_height: int
    proxy_fingerprint: str


@dataclass(frozen=True, slots=True)
class Read:
    """A file whose content is known: its own facts, and the id of the content."""

    found: Found
    bytes: int
    modified_us: int
    changed_us: int
    inode: int | None
    id: str


def ingest_fingerprint(limits: Limits, version: int | None = None) -> str:
    """What rows of `images` and `proxies` are computed by, under a version, the current one if None.

    The limits that only reject are not part of it.
    """
    return fingerprint(
        stage="images",
        version=version or VERSION,
        proxy_max_side_px=limits.proxy_max_side_px,
        jpeg_quality=JPEG_QUALITY,
        **({} if limits.raw == "preview" else {"raw": limits.raw}),
    )


def proxy_fingerprints(limits: Limits) -> list[str]:
    """What a proxy may be of, the newest first: one that comes out as it did under an earlier version keeps its name
    and its fingerprint, so that no model is asked about it again."""
    return [ingest_fingerprint(limits, version) for version in range(VERSION, 0, -1)]


class Reader:
    """What the threads of one call share: the contents known so far, and who decodes which.

    A content is claimed by the first file that turns out to hold it, and so decoded once however many names
    it has; when all files are read, each id is in `contents` or in `failures`.
    """

    def __init__(
        self,
        library_root: Location,
        home_root: Path,
        limits: Limits,
        contents: dict[str, Content],
        budget: PixelBudget,
    ) -> None:
        self.contents = contents
        self.failures: dict[str, Reject] = {}
        self.decoded_ids: set[str] = set()
        self.described: dict[str, Described] = {}
        self._real_root = os.path.realpath(library_root) if isinstance(library_root, Path) else ""
        self._home_root = home_root
        self._limits = limits
        self._budget = budget
        self._claimed = set(contents)
        self._lock = Lock()

    def read(self, found: Found) -> Read | Rejected | None:
        """Hash one file, and decode it if nobody has; None if it vanished since it was listed.

        Raises OSError only if its proxy cannot be written, or its object store does not answer.
        """
        if found.bytes > self._limits.max_file_mib * MIB:
            return rejected(found, _file_too_large(found.bytes, self._limits))
        try:
            with open_file(found.file, self._real_root) as file:
                read, decoded = self._hash_and_decode(found, file)
        except Reject as reject:
            return rejected(found, reject)
        except StoreError:  # of the store, not of this file: all the others would be rejects too
            raise
        except FileNotFoundError:
            return None
        except OSError as error:
            return rejected(found, unreadable(error))
        if decoded is not None:
            self._store(read.id, decoded)
        return read

    def _hash_and_decode(self, found: Found, file: BufferedReader) -> tuple[Read, Decoded | None]:
        before = _status_at_rest(file)
        if before.st_size > self._limits.max_file_mib * MIB:
            raise _file_too_large(before.st_size, self._limits)
        image_id, source = _hashed(file, before.st_size)
        if _has_changed(file, before):
            raise Reject(*CHANGED)
        times = microseconds(before.st_mtime_ns), changed_us(before), before.st_ino or None
        if isinstance(found.file, ObjectInfo):  # of the copy, which is of no interest
            times = found.modified_us, found.changed_us, found.inode
        read = Read(found, before.st_size, *times, image_id)
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
        current, *earlier = proxy_fingerprints(self._limits)
        jpeg = encode_proxy(decoded.image)
        kept = (by for by in earlier if proxy_is(self._home_root, proxy_path(image_id, by), jpeg))
        by = next(kept, current)
        path = proxy_path(image_id, by)
        if by == current:
            save_proxy(self._home_root, path, jpeg)
        self.contents[image_id] = Content(
            width=decoded.source_width_px,
            height=decoded.source_height_px,
            format=decoded.format,
            mode=decoded.mode,
            frames=decoded.frames,
            taken_at=decoded.taken_at,
            phash=decoded.phash,
            pixel_hash=decoded.pixel_hash,
            colour=decoded.colour,
            notes=decoded.notes,
            proxy=str(path),
            proxy_width=decoded.image.width,
            proxy_height=decoded.image.height,
            proxy_fingerprint=by,
        )
        self.described[image_id] = decoded.described
        self.decoded_ids.add(image_id)


def settled(outcome: Read | Rejected, failures: dict[str, Reject]) -> Read | Rejected:
    """A file whose content could not be decoded, under this name or another, is a reject."""
    if isinstance(outcome, Read) and outcome.id in failures:
        return rejected(outcome.found, failures[outcome.id])
    return outcome


def open_file(file: Path | ObjectInfo, real_root: str) -> AbstractContextManager[BufferedReader]:
    """A file for reading, or a copy of an object. Raises Reject where it lies outside the library whose real path is
    `real_root`."""
    return _local_copy(file) if isinstance(file, ObjectInfo) else _open_regular(file, real_root)


@contextmanager
def _open_regular(file: Path, real_root: str) -> Iterator[BufferedReader]:
    """Open a file that the scan found regular; if it is a pipe by now, that waits for no writer."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Reject(*CHANGED)
        require_inside(descriptor, file, real_root)
        yield opened


def _status_at_rest(file: BufferedReader) -> os.stat_result:
    """A file's status, so long after its last change that a later one shows in its times.

    Raises Reject where it changes meanwhile.
    """
    status = os.fstat(file.fileno())
    since_ns = time.time_ns() - status.st_ctime_ns
    if 0 <= since_ns < TICK_NS:
        time.sleep((TICK_NS - since_ns) / 1e9)
        if _has_changed(file, status):
            raise Reject(*CHANGED)
    return status


def _hashed(file: BufferedReader, size_bytes: int) -> tuple[str, BytesIO | BufferedReader]:
    """The id of a file's content and where to read it again: from memory if it is small.

    Reads what the file had when it was looked at, and no more: one that grows has no end. Raises Reject where it has less.
    """
    digest, kept = hashlib.sha256(), BytesIO()
    left = size_bytes
    while block := file.read(min(left, BLOCK_BYTES)):
        digest.update(block)
        if size_bytes <= IN_MEMORY_BYTES:
            kept.write(block)
        left -= len(block)
    if left:
        raise Reject(*CHANGED)
    return digest.hexdigest()[:ID_DIGITS], kept if size_bytes <= IN_MEMORY_BYTES else file


@contextmanager
def _local_copy(found: ObjectInfo) -> Iterator[BufferedReader]:
    """The content of an object as a file without a name, with the time that the scan saw.

    Where the object was replaced since then, the next scan sees another time, and it is read again.
    """
    copy: IO[bytes]
    with tempfile.TemporaryFile(buffering=0) as copy:
        try:
            with found.path.open() as source:
                while block := source.read(min(found.bytes - copy.tell(), IN_MEMORY_BYTES)):
                    copy.write(block)
        except ObjectReplaced as error:
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


def rejected(found: Found, reject: Reject) -> Rejected:
    """The reject of a file; where its content says nothing, its name may tell what it should have been."""
    advice = UNREAD.get(suffix_of(found.path)) if reject.code in ("not_an_image", "damaged") else None
    code, reason = advice or (reject.code, reject.reason)
    return Rejected(found.path, found.bytes, found.changed_us, code, reason)
