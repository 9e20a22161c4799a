"""Objects of an S3-compatible store, under paths with the methods of pathlib that files are used by here.

Where the store is and who asks is told by the environment alone, as to every S3 tool: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION (or AWS_DEFAULT_REGION), AWS_ENDPOINT_URL_S3 (or
AWS_ENDPOINT_URL), or a profile. docs/object-storage.md describes the whole.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import mmap
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs

SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")
_ATTEMPTS = 5
_CONNECT_TIMEOUT_S = 10.0
_STALL_TIMEOUT_S = 30.0
# What the store answers -> what to do. The last one fits every failure.
_REMEDIES = (
    ("NO_SUCH_BUCKET", "there is no such bucket: correct the name, or make the bucket"),
    (
        "ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|InvalidAccessKeyId|HTTP status 403",
        "the store refuses: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what that key may do "
        "(get, put and delete objects, list the bucket)",
    ),
    (
        "PermanentRedirect|AuthorizationHeaderMalformed|HTTP status 301",
        "the bucket lies in another region: set AWS_REGION to it",
    ),
    (
        "SLOW_DOWN|SlowDown|THROTTLING|TooManyRequests|HTTP status 503",
        "the store asks to slow down: run again later",
    ),
    ("", "check AWS_ENDPOINT_URL, the network and the store, then run again; what was finished is kept"),
)
_KIND = re.compile(r"AWS Error (.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class StoreError(OSError):
    """The store cannot be reached, refuses or fails: nothing is known of the object, not that it is absent.

    It carries a number (EIO) and the URL, as errors of a disk do.
    """


class ObjectReplaced(StoreError):
    """The object was replaced while it was read: what was read so far is of no use."""


class StoreUrlError(ValueError):
    """What was given is not the URL of a place on an object store."""


def location(text: str) -> Location:
    """The object path that an `s3://bucket/prefix` names, else the local path. Raises StoreUrlError."""
    return ObjectPath.parse(text) if text.startswith(SCHEME) else Path(text)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing tells of it; `modified_us`: when it was put, microseconds since 1970 UTC."""

    path: ObjectPath
    bytes: int
    modified_us: int


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object, or the prefix of some: "bucket/a/b".

    A prefix is a directory as long as there is an object below it; none is ever made. Every method that asks
    the store raises StoreError where the store does not tell, a bucket that is not there included.
    """

    key: PurePosixPath
    """the bucket, and the parts of the key"""

    @classmethod
    def parse(cls, url: str) -> ObjectPath:
        """Raises StoreUrlError unless `url` is s3://bucket or s3://bucket/prefix, of parts that can be names."""
        bucket, *parts = url.removeprefix(SCHEME).rstrip("/").split("/")
        if not url.startswith(SCHEME) or not _BUCKET.fullmatch(bucket) or not all(map(is_plain, parts)):
            # not the URL itself: some tools put keys and passwords into theirs
            raise StoreUrlError(
                "a place on an object store is given as s3://bucket/prefix, without '//', '.' or '..' in it; "
                "keys and endpoint are read from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL)"
            )
        return cls(PurePosixPath(bucket, *parts))

    # ---- names, as in pathlib

    def __str__(self) -> str:
        return f"{SCHEME}{self.key}"

    def __truediv__(self, name: str | PurePosixPath) -> ObjectPath:
        return ObjectPath(self.key / name)

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def parts(self) -> tuple[str, ...]:
        return self.key.parts

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.key.parent)

    def relative_to(self, other: Location) -> PurePosixPath:
        """Raises ValueError unless this lies below `other`."""
        if not isinstance(other, ObjectPath):
            raise ValueError(f"{self} does not lie below {other}")
        return self.key.relative_to(other.key)

    def absolute(self) -> ObjectPath:
        return self

    resolve = absolute

    # ---- asking

    def info(self) -> ObjectInfo:
        """Raises FileNotFoundError where there is no such object."""
        with _told(self):
            found = _filesystem().get_file_info(str(self.key))
        if found.type != pyarrow.fs.FileType.File:
            self._require_bucket()
            raise FileNotFoundError(errno.ENOENT, "no such object", str(self))
        return _info(found)

    def is_file(self) -> bool:
        try:
            self.info()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there is an object below."""
        return bool(self._below(recursive=False))

    exists = is_dir

    def listing(self, *, recursive: bool = True) -> list[ObjectInfo]:
        """Every object below, or directly below, whose key is a path that a file could have, sorted by key.

        The others are passed over, and so are the empty objects that stand for directories.
        """
        return self.listing_and_odd_keys(recursive=recursive)[0]

    def listing_and_odd_keys(self, *, recursive: bool = True) -> tuple[list[ObjectInfo], list[str]]:
        """`listing`, and the keys below that no file could have as its path ("a//b", "a/../b", control characters)."""
        listed, odd = [], []
        for found in sorted(self._below(recursive), key=lambda found: found.path.encode()):
            if found.type != pyarrow.fs.FileType.File:
                continue
            if all(map(is_plain, found.path.split("/"))):
                listed.append(_info(found))
            else:
                odd.append(found.path)
        return listed, odd

    def contents(self) -> tuple[list[ObjectInfo], list[str]]:
        """As far as a directory could hold them: the objects directly below, and the names of the prefixes there."""
        objects, prefixes = [], []
        for found in sorted(self._below(recursive=False), key=lambda found: found.path.encode()):
            if not is_plain(found.path.rsplit("/", 1)[-1]):
                continue
            if found.type == pyarrow.fs.FileType.File:
                objects.append(_info(found))
            else:
                prefixes.append(PurePosixPath(found.path).name)
        return objects, prefixes

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """The objects below that match, part by part; "**" is not known."""
        wanted = pattern.split("/")
        for found in self.listing():
            parts = found.path.relative_to(self).parts
            if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
                yield found.path

    # ---- reading and writing

    def open(self, mode: str = "rb") -> BinaryIO:
        """A file to read from, of one version of the object. Raises FileNotFoundError, and ObjectReplaced from
        a read that came after another version was put.
        """
        if mode != "rb":
            raise ValueError("an object is written as a whole: use write_bytes")
        return _ObjectFile(self)  # type: ignore[return-value]

    def read_bytes(self) -> bytes:
        """The content of one version. Raises FileNotFoundError."""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(ObjectReplaced), self.open() as file:
                return file.read()
        raise _replaced(self)

    def write_file(self, file: BinaryIO) -> None:
        """As `write_bytes`, of what was written to a file without a name, or in memory.

        All parts are in memory while they go up, once: a stream that a part fails of would become the object as far as it
        came, if parts were handed over one by one.
        """
        if isinstance(file, io.BytesIO):
            self.write_bytes(file.getbuffer())
        else:
            size = os.fstat(file.fileno()).st_size
            self.write_bytes(
                memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else b""
            )

    def write_bytes(self, content: bytes | memoryview) -> None:
        """Make the object hold `content`, wholly or not at all: readers see what was there before, or this.

        One request puts a small object; a larger one goes up in parts that become the object when the last
        request says that they are all there. What a kill leaves of them is no object; a lifecycle rule of
        the bucket (AbortIncompleteMultipartUpload) removes it.
        """

        # Closing a stream completes its upload, and so does forgetting it, even one that an exception left half
        # written. So all of the content is handed over in one call, in a thread that no Ctrl-C interrupts.
        def put() -> None:
            stream = _filesystem().open_output_stream(str(self.key))
            stream.write(buffer)
            stream.close()

        buffer = pa.py_buffer(content)
        with _told(self), ThreadPoolExecutor(1, thread_name_prefix="put") as putter:
            putter.submit(put).result()

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            with _told(self):
                _filesystem().delete_file(str(self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _below(self, recursive: bool = True) -> list[Any]:
        selector = pyarrow.fs.FileSelector(str(self.key), allow_not_found=True, recursive=recursive)
        with _told(self):
            below: list[Any] = _filesystem().get_file_info(selector)
        if not below:
            self._require_bucket()
        return below

    def _require_bucket(self) -> None:
        """Raises StoreError where the bucket is not there: the store answers as if only the object were not."""
        bucket = self.parts[0]
        with _told(self):
            found = _filesystem().get_file_info(bucket)
        if found.type == pyarrow.fs.FileType.NotFound:
            raise StoreError(errno.EIO, _REMEDIES[0][1], f"{SCHEME}{bucket}")


Location = Path | ObjectPath


def _info(found: Any) -> ObjectInfo:
    return ObjectInfo(ObjectPath(PurePosixPath(found.path)), found.size, (found.mtime_ns or 0) // 1000)


def is_plain(part: str) -> bool:
    """Whether a part of a key can be a name in a directory."""
    return part not in ("", ".", "..") and not _CONTROL.search(part)


class _ObjectFile(io.RawIOBase):
    """One version of an object, read in ranges: after each the store is asked whether it is still that one."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self._path = path
        with _told(path):
            try:
                self._file = _filesystem().open_input_file(str(path.key))
            except FileNotFoundError:
                path._require_bucket()
                raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from None
            self._version = self._file.metadata().get("ETag")
        self._size = self._file.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        rest = self._size - self.tell()
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted <= 0:
            return b""
        try:
            with _told(self._path):
                content: bytes = self._file.read(wanted)
        except StoreError:
            self._require_version()  # a shorter version lacks ranges of the one before
            raise
        self._require_version()
        if len(content) != wanted:
            raise StoreError(errno.EIO, f"the store sent {len(content)} of {wanted} bytes", str(self._path))
        return content

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _require_version(self) -> None:
        with _told(self._path):
            try:
                version = _filesystem().open_input_file(str(self._path.key)).metadata().get("ETag")
            except FileNotFoundError:
                version = None
        if version != self._version:
            raise _replaced(self._path)


def _replaced(path: ObjectPath) -> ObjectReplaced:
    return ObjectReplaced(errno.EIO, "the object was replaced while it was read: ask again", str(path))


@contextlib.contextmanager
def _told(path: ObjectPath) -> Iterator[None]:
    """Turns what the S3 client raises into a StoreError that names the object and says what to do."""
    try:
        yield
    except (StoreError, FileNotFoundError):
        raise
    except OSError as error:
        text = str(error)
        remedy = next(remedy for pattern, remedy in _REMEDIES if re.search(pattern, text, re.IGNORECASE))
        problem = _KIND.search(text)
        told = problem.group(1).strip() if problem else text
        raise StoreError(errno.EIO, f"{remedy} ({told})", str(path)) from error


def _filesystem() -> Any:
    """The client of the store that the environment names now."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return _client(endpoint, os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))


@functools.cache
def _client(endpoint: str | None, region: str | None) -> Any:
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_timeout=_STALL_TIMEOUT_S,
        allow_delayed_open=True,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )
