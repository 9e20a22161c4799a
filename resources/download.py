"""Files fetched from published addresses: bounded, gone on with where they stopped, held to every checksum that is known.

A server's own checksums count where it gives any: Google's `x-goog-hash`, an ETag that is an MD5 (S3), the SHA-256 that
Hugging Face links (`x-linked-etag`).
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from resources.disk_errors import disk_error
from resources.http_client import CONNECT_S, excerpt, is_this_machine, retry_after_s

if TYPE_CHECKING:
    import httpx2

READ_S = 60.0
"""without a byte, after which a server is asked again"""
ATTEMPTS = 5
_REDIRECTS = 5
_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_MD5, _SHA256 = re.compile(r'"?([0-9a-f]{32})"?'), re.compile(r'"?([0-9a-f]{64})"?')
_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(RuntimeError):
    """A file that could not be had, or is not what it should be; the message names the address and says why."""


class Unreachable(DownloadError):
    """The server cannot be reached, or does not answer."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is on the disk whole."""

    sha256: str
    bytes: int
    checked: str
    """by which checksum beside its length; "" where the server gave none"""


@dataclass
class Downloader:
    """Fetches files over one client; may be used by several threads."""

    pause_s: float = 1.0
    """before the second attempt; doubled for each further one"""
    _client: httpx2.Client | None = field(default=None, init=False)

    def fetch(
        self,
        url: str,
        to: Path,
        most_bytes: int,
        sha256: str | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> Fetched:
        """The file at `url`, in `to` only when it is whole and what it should be; what came so far waits beside it.

        Raises DownloadError, Unreachable; OSError that names the disk where it is full or read-only.
        """
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            return self._attempts(url, to, most_bytes, sha256, on_bytes)
        except OSError as error:
            raise disk_error(error, to.parent) or error from error

    def _attempts(
        self, url: str, to: Path, most_bytes: int, sha256: str | None, on_bytes: Callable[[int], None]
    ) -> Fetched:
        part = _Part(to)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                sums = self._once(url, part, most_bytes, on_bytes)
            except _Again as error:
                if attempt == ATTEMPTS:
                    raise Unreachable(f"{url}: {error}, {ATTEMPTS} times") from error
                time.sleep(max(error.wait_s, self.pause_s * 2 ** (attempt - 1)))
                continue
            return part.finished(url, {**sums, **({"sha256": sha256} if sha256 else {})})
        raise AssertionError("ended by the last attempt")

    def _once(
        self, url: str, part: _Part, most_bytes: int, on_bytes: Callable[[int], None]
    ) -> dict[str, str]:
        """Goes on with a part; the checksums that the server gives of the whole. Raises _Again, DownloadError."""
        import httpx2

        sums: dict[str, str] = {}
        asked = url
        try:
            for _ in range(_REDIRECTS + 1):
                with self._open().stream("GET", asked, headers=part.headers) as reply:
                    sums |= checksums_of(reply.headers)
                    if reply.status_code in (301, 302, 303, 307, 308):
                        asked = _elsewhere(url, asked, reply.headers.get("location", ""))
                        continue
                    self._take(url, reply, part, most_bytes, on_bytes)
                    return sums
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _Again(f"no connection ({excerpt(str(error)) or type(error).__name__})") from error
        raise DownloadError(f"{url}: is sent on more than {_REDIRECTS} times")

    def _take(
        self, url: str, reply: httpx2.Response, part: _Part, most_bytes: int, on_bytes: Callable[[int], None]
    ) -> None:
        status = reply.status_code
        if status in _RETRY:
            raise _Again(f"the server says {status}", retry_after_s(reply.headers))
        if status == 416:  # what is here is longer than what is there
            part.remove()
            raise _Again("the server has another file now")
        if status not in (200, 206):
            raise DownloadError(
                f"{url}: the server says {status} {excerpt(reply.reason_phrase)}. Has it moved?"
            )
        if reply.headers.get("content-encoding", "identity") not in ("", "identity"):
            raise DownloadError(f"{url}: comes compressed, which was not asked for")
        begun = part.begin(reply.headers.get("etag", ""), goes_on=status == 206)
        length = reply.headers.get("content-length", "")
        whole = begun + int(length) if length.isascii() and length.isdigit() else None
        if whole is not None and whole > most_bytes:
            raise DownloadError(
                f"{url}: holds {whole:,} bytes, more than the {most_bytes:,} that are expected"
            )
        with part.path.open("ab") as file:
            for chunk in reply.iter_raw():
                if file.tell() + len(chunk) > most_bytes:
                    raise DownloadError(f"{url}: is longer than the {most_bytes:,} bytes that are expected")
                file.write(chunk)
                on_bytes(len(chunk))
            if whole is not None and file.tell() != whole:
                raise _Again("the server breaks off")

    def _open(self) -> httpx2.Client:
        import httpx2

        if self._client is None:
            timeout = httpx2.Timeout(READ_S, connect=CONNECT_S)
            headers = {"Accept-Encoding": "identity", "User-Agent": "vistag"}
            self._client = httpx2.Client(follow_redirects=False, timeout=timeout, headers=headers)
        return self._client


class _Again(RuntimeError):
    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Part:
    """What came of a file so far, and the ETag by which the server knows whether it is still that file's beginning."""

    def __init__(self, to: Path) -> None:
        self._to, self.path = to, to.with_name(f"{to.name}.part")
        self._tag = to.with_name(f"{to.name}.part-etag")

    @property
    def headers(self) -> dict[str, str]:
        begun = self.path.stat().st_size if self.path.exists() else 0
        if not (begun and self._tag.exists()):
            return {}
        return {"Range": f"bytes={begun}-", "If-Range": self._tag.read_text(encoding="ascii")}

    def begin(self, etag: str, *, goes_on: bool) -> int:
        """How many bytes are here already. Without a strong ETag nothing can be gone on with safely."""
        if goes_on:
            return self.path.stat().st_size
        self.remove()
        if _ETAG.fullmatch(etag):
            self._tag.write_text(etag, encoding="ascii")
        return 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def finished(self, url: str, sums: Mapping[str, str]) -> Fetched:
        """Held to its checksums and put in its place. Raises DownloadError for one that it does not have."""
        self.path.touch()  # of an empty file nothing came
        for name, wanted in sums.items():
            found = digest_of(self.path, name)
            if found != wanted:
                self.remove()
                raise DownloadError(
                    f"{url}: what came has the {name} {found}, not {wanted}; it was thrown away"
                )
        fetched = Fetched(digest_of(self.path, "sha256"), self.path.stat().st_size, ", ".join(sorted(sums)))
        self.path.replace(self._to)
        self.remove()
        return fetched


def digest_of(path: Path, name: str) -> str:
    """Hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def checksums_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Hash name -> hexadecimal digest of the whole file, as a server's headers tell it."""
    found = {}
    if etag := _MD5.fullmatch(headers.get("etag", "")):
        found["md5"] = etag[1]
    for part in headers.get("x-goog-hash", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "md5":
            found["md5"] = base64.b64decode(value).hex()
    if linked := _SHA256.fullmatch(headers.get("x-linked-etag", "")):
        found["sha256"] = linked[1]
    return found


def _elsewhere(url: str, asked: str, location: str) -> str:
    """The address that a server sends to: encrypted, or on this machine where the first one is."""
    to = urljoin(asked, location)
    if not location or not (to.startswith("https://") or (is_this_machine(url) and is_this_machine(to))):
        raise DownloadError(f"{url}: is sent on to an address that is not followed: {excerpt(to)}")
    return to
