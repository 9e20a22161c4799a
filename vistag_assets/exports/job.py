"""Writing an export: atomically, what changed only, and without a stop at what cannot be written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from resources.fingerprint import fingerprint
from resources.home import FolderRef
from resources.home.private import public_files
from resources.lake.files import FULL, path_below, replace_file, replace_files
from resources.lake.versions import glance
from resources.workspace import Workspace
from vistag_assets.exports.formats import Format, Options
from vistag_assets.exports.records import ALWAYS, FolderRecords, ImageRecord, Selection, undecodable
from vistag_assets.failures import sentence_of
from vistag_assets.progress import Meter

EXPORTS = "exports"
MARKER = ".vistag-export"
"""In a folder that an export wrote: it is vistag's, and what vistag does not write any more goes."""
_MADE = ".made"
_WHOLE = "(all)"
_UNFINISHED = "unfinished"
_SECTIONS = "sections"
_FILES_TOGETHER, _BYTES_TOGETHER = 64, 32 * 1024 * 1024
"""What waits to be written, at most: small files reach the disk sooner together than one after another."""


class ExportError(ValueError):
    """Why an export cannot be made; the message says what to do."""


@dataclass(slots=True)
class Outcome:
    """What an export came to."""

    images: int = 0
    written: list[str] = field(default_factory=list)
    unchanged: int = 0
    removed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """images that are not in the export, each with the reason"""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """files that could not be written, each with the reason"""


class Job:
    """One export: what a format's writer reads from, writes to and is told."""

    def __init__(
        self,
        workspace: Workspace,
        format_: Format,
        to: Path,
        *,
        selection: Selection | None = None,
        folders: Sequence[FolderRef] | None = None,
        options: Options | None = None,
        dry_run: bool = False,
    ) -> None:
        """`folders`: only these; else all that are not gone, and what was written of others goes."""
        self.workspace, self.format, self.to = workspace, format_, to
        self.selection = selection or Selection()
        self.options = options or format_.options()
        self.dry_run = dry_run
        self.outcome = Outcome()
        self._chosen = folders
        self._meter = Meter(f"Export {format_.name}")
        self._files: dict[str, list[int]] = {}
        self._before: dict[str, list[int]] = {}
        self._waiting: dict[str, bytes] = {}
        self._folder = ""
        """key of the folder at hand, of `changed_folders`"""
        self._sections: dict[str, list[int]] = {}
        self._by_folder: list[str] = []
        """keys of the folders whose files are remembered by folder"""

    @property
    def home(self) -> Path:
        return self.workspace.home.root

    def run(self) -> Outcome:
        """Raises ExportError where the folder holds what is not vistag's, and OSError where its disk is full."""
        self._require_own()
        if self.dry_run:
            self._run()
        else:
            with self.workspace.home.locks.held(self._memory / ".lock"), self._tidied():
                if not self.format.merges:
                    self.put(MARKER, f"{self.format.name}\n".encode())
                    self._write_waiting()
                    self._files.clear()
                    self.outcome.written.clear()
                self._run()
        return self.outcome

    def folders(self) -> Iterator[FolderRecords]:
        """Of a format that is one whole: all folders, in their order; may be asked for again."""
        for folder in self._folders():
            yield self._records(folder)

    def images(self) -> Iterator[ImageRecord]:
        """The images of all folders, with progress; those that cannot be named are told and left out."""
        self.outcome.images = 0
        self.outcome.skipped.clear()
        for folder in self.folders():
            yield from self.images_of(folder)

    def changed_folders(self) -> Iterator[FolderRecords]:
        """The folders that changed. What their files and sections were is remembered, and stays where they did not."""
        self._write_waiting()
        whole, self._by_folder = (self._files, self._before), []
        for folder in self._folders():
            self._by_folder.append(folder.key)
            known, made_of = self._known(folder)
            if known.get("made_of") == made_of:
                self.outcome.unchanged += len(known["files"])
                continue
            self._folder, self._files, self._before, self._sections = (
                folder.key,
                {},
                known.get("files", {}),
                {},
            )
            failures = len(self.outcome.failed)
            yield self._records(folder)
            self._write_waiting()
            self._remember(folder.key, "" if len(self.outcome.failed) > failures else made_of)
        (self._files, self._before), self._sections = whole, {}

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[BinaryIO]:
        """What the folder at hand adds to a file of the whole export: kept for as long as the folder does not change."""
        if self.dry_run:
            with Path("/dev/null").open("wb") as nowhere:
                yield nowhere
            return
        path = self._section(self._folder, name)
        with replace_file(path) as file:
            yield file
        self._sections[name] = _status(path) or []

    def sections(self, name: str) -> Iterator[Path]:
        """The files of one section of all folders, in their order, but for empty ones."""
        for key in self._by_folder:
            path = self._section(key, name)
            if path.is_file() and path.stat().st_size:
                yield path

    def join(self, name: str, file: BinaryIO, between: bytes = b"") -> None:
        """Write the sections of all folders, one after another."""
        for number, path in enumerate(self.sections(name)):
            file.write(between if number else b"")
            with path.open("rb") as section:
                shutil.copyfileobj(section, file, 1 << 20)

    def images_of(self, folder: FolderRecords) -> Iterator[ImageRecord]:
        told = self._meter.folder()
        for done, record in enumerate(folder, start=1):
            if undecodable(record.path):
                reason = "its name holds bytes that are no UTF-8, which no format can name: rename the file"
                self.skip(record.name, reason)
            else:
                self.outcome.images += 1
                yield record
            told(done, folder.images)

    def skip(self, name: str, reason: str) -> None:
        self.outcome.skipped.append((name, reason))

    def put(self, name: str, content: bytes) -> None:
        """Makes `name`, below the folder of the export, hold `content`; a file that does is not touched.

        What cannot be written is told in the outcome, and the others go on. Raises OSError where the disk is full.
        """
        try:
            path = path_below(self.to, name)
            if path.is_file() and path.read_bytes() == content:
                self.outcome.unchanged += 1
                if not self.dry_run:
                    self._note(name, path)
                return
        except (OSError, ValueError) as error:
            self.fail(name, error)
            return
        self.outcome.written.append(name)
        if self.dry_run:
            return
        self._waiting[name] = content
        if len(self._waiting) >= _FILES_TOGETHER or sum(map(len, self._waiting.values())) >= _BYTES_TOGETHER:
            self._write_waiting()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        paths = {name: path_below(self.to, name) for name in waiting}
        with self._umask():
            failed = replace_files({paths[name]: content for name, content in waiting.items()})
        for name, path in paths.items():
            if path in failed:
                self.fail(name, failed[path])
            else:
                self._note(name, path)

    def keep(self, name: str) -> None:
        """A file that is as it should be."""
        self.outcome.unchanged += 1
        self._note(name, path_below(self.to, name))

    def wrote(self, name: str) -> bool:
        """Whether a file is as the last export left it."""
        return name in self._before and self._before[name] == _status(path_below(self.to, name))

    def take(self, name: str, file: Path) -> None:
        """Puts what `file` holds in the place of `name`, with the owner and the permissions of what stands there."""
        path = path_below(self.to, name)
        before = path.stat()
        with replace_file(path) as taken, file.open("rb") as content:
            shutil.copyfileobj(content, taken)
            os.fchmod(taken.fileno(), stat.S_IMODE(before.st_mode))
            with contextlib.suppress(PermissionError):
                os.fchown(taken.fileno(), before.st_uid, before.st_gid)
        self.outcome.written.append(name)
        self._note(name, path)

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[BinaryIO]:
        """A file that is too large for memory; with `dry_run` it is written nowhere."""
        self.outcome.written.append(name)
        if self.dry_run:
            with Path("/dev/null").open("wb") as nowhere:
                yield nowhere
            return
        path = path_below(self.to, name)
        with self._umask(), replace_file(path) as file:
            yield file
        self._note(name, path)

    def fail(self, name: str, error: Exception) -> None:
        """Raises it again where the disk is full: none of the others would have room either."""
        if isinstance(error, OSError) and error.errno in FULL | {errno.EROFS}:
            raise error
        self.outcome.failed.append((name, sentence_of(error)))
        if name in self._before:  # what stands there is still ours
            self._files[name] = [0, 0]
        if name in self.outcome.written:
            self.outcome.written.remove(name)

    @contextlib.contextmanager
    def _tidied(self) -> Iterator[None]:
        """What an export that was killed left half-written beside its places goes first."""
        unfinished = self._memory / _UNFINISHED
        if unfinished.exists():
            for temporary in self.to.rglob(".*.tmp"):
                if not self.format.merges or _is_half_written(temporary):
                    temporary.unlink(missing_ok=True)
        unfinished.touch()
        yield
        unfinished.unlink()

    def _run(self) -> None:
        if self.format.per_folder:
            self.format.writer()(self)
        else:
            self._run_whole()
        if self._chosen is None and self.format.per_folder and not self.format.merges:
            self._forget_all_but([folder.key for folder in self._folders()])

    def _run_whole(self) -> None:
        known, made_of = _remembered(self._memory_of(_WHOLE)), self._made_of(self._folders())
        by_folder = [
            self._known(folder) for folder in self._folders() if folder.key in known.get("folders", ())
        ]
        if (
            known.get("made_of") == made_of
            and self._is_there(_WHOLE, known)
            and all(of.get("made_of") == its for of, its in by_folder)
        ):
            self.outcome.unchanged += sum(len(of["files"]) for of in (known, *(of for of, _ in by_folder)))
            return
        self._before = known.get("files", {})
        self.format.writer()(self)
        self._write_waiting()
        self._forget_all_but(self._by_folder)
        self._remember(_WHOLE, "" if self.outcome.failed else made_of)

    def _known(self, folder: FolderRef) -> tuple[dict[str, Any], str]:
        """What is remembered of a folder, and what it would be made of now: equal where nothing is to be written."""
        known = _remembered(self._memory_of(folder.key))
        if known and not self._is_there(folder.key, known):
            known["made_of"] = ""
        return known, self._made_of([folder])

    def _records(self, folder: FolderRef) -> FolderRecords:
        return FolderRecords(self.workspace, folder, self.selection, self.format.reads)

    def _folders(self) -> list[FolderRef]:
        if self._chosen is not None:
            return list(self._chosen)
        home = self.workspace.home
        folders = [home.folder(key) for key in self.workspace.lake.folders("images")]
        return [folder for folder in folders if not folder.gone_since]

    def _made_of(self, folders: Sequence[FolderRef]) -> str:
        lake = self.workspace.lake
        reads = ("images", *ALWAYS, *self.format.reads)
        tables = [(name, folder.key) for folder in folders for name in reads if lake.exists(name, folder.key)]
        return fingerprint(
            rows=glance([lake.data_file(table, key) for table, key in tables]),
            tables=tables,
            libraries=[(folder.key, folder.library, folder.root) for folder in folders],
            taxonomy=self.workspace.taxonomy.fingerprint,
            selection=repr((sorted(self.selection.states), *_values(self.selection)[1:])),
            options=repr(_values(self.options)),
            version=self.format.version,
        )

    @property
    def _memory(self) -> Path:
        """What is remembered of the last export of this format to this folder."""
        place = fingerprint(to=str(self.to.absolute()).encode("utf-8", "surrogateescape").hex())
        return self.home / EXPORTS / _MADE / f"{self.format.name}-{place}"

    def _umask(self) -> contextlib.AbstractContextManager[None]:
        inside = self.to.absolute().is_relative_to(self.home.absolute())
        return contextlib.nullcontext() if inside else public_files()

    def _require_own(self) -> None:
        """A folder that holds what vistag did not write is a person's."""
        if self.format.merges or not self.to.exists():
            return
        if not self.to.is_dir():
            raise ExportError(f"{self.to} is no folder. Give another --to")
        marker = self.to / MARKER
        if marker.is_file() and marker.read_bytes() == f"{self.format.name}\n".encode():
            return
        if any(self.to.iterdir()):
            raise ExportError(
                f"{self.to} holds files that are not of an export of vistag as {self.format.name}, which would be "
                "replaced. Give a folder that is empty or not there"
            )

    def _note(self, name: str, path: Path) -> None:
        status = path.stat()
        self._files[name] = [status.st_size, status.st_mtime_ns]

    def _is_there(self, key: str, known: Mapping[str, Any]) -> bool:
        """Whether what was remembered stands as it was written."""
        places = [(self.to / name, status) for name, status in known["files"].items()]
        places += [(self._section(key, name), status) for name, status in known.get(_SECTIONS, {}).items()]
        return all(_status(path) == status for path, status in places)

    def _memory_of(self, key: str) -> Path:
        return self._memory / f"{key}.json"

    def _section(self, key: str, name: str) -> Path:
        return self._memory / _SECTIONS / key / name

    def _remember(self, key: str, made_of: str) -> None:
        """Also removes what was written before, and is not any more."""
        if self.dry_run:
            return
        if not self.format.merges:
            self._remove(self._before.keys() - self._files.keys())
        known = {"made_of": made_of, "files": self._files, _SECTIONS: self._sections}
        if key == _WHOLE:
            known["folders"] = self._by_folder
        with replace_file(self._memory_of(key)) as file:
            file.write(json.dumps(known).encode())

    def _forget_all_but(self, keys: Sequence[str]) -> None:
        """What was written of folders that are not exported any more goes, unless it is written in another place now."""
        gone = [
            memory for memory in sorted(self._memory.glob("*.json")) if memory.stem not in (*keys, _WHOLE)
        ]
        if self.dry_run or not gone:
            return
        standing = {*self._files}.union(*(_remembered(self._memory_of(key)).get("files", ()) for key in keys))
        for memory in gone:
            self._remove(_remembered(memory).get("files", {}).keys() - standing)
            shutil.rmtree(self._section(memory.stem, ""), ignore_errors=True)
            memory.unlink()

    def _remove(self, names: Any) -> None:
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):
                path_below(self.to, name).unlink()
                self.outcome.removed += 1


def _is_half_written(temporary: Path) -> bool:
    """Of a sidecar, or of a file that is there still: a library has files of others."""
    of = re.fullmatch(r"\.(.+)-[0-9a-f]{8}\.tmp", temporary.name, re.DOTALL)
    return of is not None and (of[1].endswith(".xmp") or temporary.with_name(of[1]).exists())


def _status(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _values(of: Any) -> list[Any]:
    return [getattr(of, name.name) for name in fields(of)]


def _remembered(memory: Path) -> dict[str, Any]:
    """Nothing where it does not read: all is looked at again."""
    try:
        known = json.loads(memory.read_bytes())
        return known if isinstance(known.get("files"), dict) else {}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}
