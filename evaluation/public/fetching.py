"""The files of a public benchmark in a folder: fetched once, pinned by their SHA-256, held to it ever after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from resources.download import Downloader, DownloadError, Fetched, Unreachable, digest_of
from resources.http_client import require_address
from resources.lake.files import replace_file

PINS = "checksums.json"
AT_ONCE = 8
"""Pictures."""
_PINNED_EVERY = 200
Watcher = Callable[[str, int, int], None]


class BenchmarkError(RuntimeError):
    """A benchmark whose data cannot be had, or is not what it was; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file at a published address."""

    url: str
    name: str
    """in the folder of the data"""
    most_bytes: int
    sha256: str | None = None
    """known before it is fetched; None: as it is when it is fetched first"""


@dataclass(frozen=True, slots=True)
class Pin:
    """What a file was when it was fetched first."""

    sha256: str
    bytes: int
    checked: str
    """by which checksums of the server; "" by none; "was here" for a file that somebody put there"""
    time: str
    """ISO 8601"""


@dataclass
class Data:
    """A folder of files by their addresses."""

    folder: Path
    mirror: str | None = None
    """asked in place of the publishers: an address is looked for at MIRROR/host/path"""
    offline: bool = False
    downloader: Downloader = field(default_factory=Downloader)

    def __post_init__(self) -> None:
        if self.mirror:
            try:
                self.mirror = require_address(self.mirror)
            except ValueError as error:
                raise BenchmarkError(f"the address of the mirror {error}") from error
        self._pins = self._read_pins()

    @property
    def pins(self) -> Mapping[str, Pin]:
        """Published address -> what is there of it."""
        return self._pins

    def address(self, url: str) -> str:
        """Where it is asked for."""
        if not self.mirror:
            return url
        parts = urlsplit(url)
        return f"{self.mirror}/{parts.netloc}{parts.path}"

    def file(self, source: Source, on_bytes: Callable[[int], None] = lambda _: None) -> Path:
        """One file, whole and as it was pinned. Raises BenchmarkError."""
        path = self._have(source, on_bytes)
        self._write_pins()
        return path

    def files(self, sources: Sequence[Source], watcher: Watcher, stage: str) -> list[tuple[Source, str]]:
        """Many files, several at once; those that could not be had, and why. Raises Unreachable where none could."""
        failed: list[tuple[Source, str]] = []
        done = 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for source, reason in zip(sources, pool.map(self._tried, sources), strict=True):
                done += 1
                if reason is not None:
                    failed.append((source, reason))
                if done % _PINNED_EVERY == 0:
                    self._write_pins()
                watcher(stage, done, len(sources))
        self._write_pins()
        if sources and len(failed) == len(sources):
            raise BenchmarkError(self.what_is_needed(sources[:1], failed[0][1]))
        return failed

    def _tried(self, source: Source) -> str | None:
        try:
            self._have(source)
        except BenchmarkError as error:
            return str(error)
        return None

    def _have(self, source: Source, on_bytes: Callable[[int], None] = lambda _: None) -> Path:
        path, pin = self.folder / source.name, self._pins.get(source.url)
        wanted = source.sha256 or (pin.sha256 if pin else None)
        if path.exists():
            found = digest_of(path, "sha256")
            if wanted in (None, found):
                self._pins.setdefault(source.url, _pinned(Fetched(found, path.stat().st_size, "was here")))
                return path
            path.unlink()  # damaged since: it is fetched again
        if self.offline:
            raise BenchmarkError(self.what_is_needed([source], "nobody is asked (--offline)"))
        try:
            fetched = self.downloader.fetch(
                self.address(source.url), path, source.most_bytes, wanted, on_bytes
            )
        except Unreachable as error:
            raise BenchmarkError(self.what_is_needed([source], str(error))) from error
        except DownloadError as error:
            raise BenchmarkError(f"{error}{self._about_the_pin(source, pin)}") from error
        self._pins.setdefault(source.url, _pinned(fetched))
        return path

    def _about_the_pin(self, source: Source, pin: Pin | None) -> str:
        if not pin:
            return ""
        return (
            f". It was fetched first on {pin.time[:10]}; where its publisher has changed it on purpose, take its line out "
            f"of {self.folder / PINS}"
        )

    def what_is_needed(self, sources: Sequence[Source], why: str) -> str:
        """For people without a network, or behind a wall."""
        lines = [f"{source.url}\n  as {self.folder / source.name}" for source in sources]
        return (
            f"The data of this benchmark is fetched over the network, and cannot be: {why}. Needed is\n"
            + "\n".join(lines)
            + "\nPut it there yourself, or give --mirror URL of a server that has it under URL/host/path. What was fetched is kept."
        )

    def _read_pins(self) -> dict[str, Pin]:
        path = self.folder / PINS
        if not path.exists():
            return {}
        try:
            return {url: Pin(**pin) for url, pin in json.loads(path.read_text(encoding="utf-8")).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise BenchmarkError(
                f"{path}: {error}. Remove it: what is in the folder is pinned again"
            ) from error

    def _write_pins(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        pins = {url: asdict(pin) for url, pin in sorted(self._pins.copy().items())}
        with replace_file(self.folder / PINS) as file:
            file.write(json.dumps(pins, indent=1).encode() + b"\n")


def _pinned(fetched: Fetched) -> Pin:
    return Pin(
        fetched.sha256, fetched.bytes, fetched.checked, datetime.now(UTC).isoformat(timespec="seconds")
    )


def addresses(sources: Sequence[Source]) -> Iterator[str]:
    """For people: a line a file."""
    for source in sources:
        yield f"{source.url} ({source.most_bytes / 2**20:,.0f} MiB at most)"
