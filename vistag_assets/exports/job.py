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
from resources.lake.files import FULL, locked, path_below, replace_file
from resources.lake.versions import glance
from resources.workspace import Workspace
from vistag_assets.exports.formats import Format, Options
from vistag_assets.exports.records import TABLES, FolderRecords, ImageRecord, Selection, undecodable
from vistag_assets.failures import sentence_of
from vistag_assets.progress import Meter

EXPORTS = "exports"
MARKER = ".vistag-export"
"""In a folder that an export wrote: it is vistag's, and what vistag does not write any more goes."""
_MADE = ".made"
_WHOLE = "all"
_UNFINISHED = "unfinished"


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

    @property
    def home(self) -> Path:
        return self.workspace.home.root

    def run(self) -> Outcome:
        """Raises ExportError where the folder holds what is not vistag's, and OSError where its disk is full."""
        self._require_own()
        if self.dry_run:
            self._run()
        else:
            with locked(self._memory / ".lock"), self._tidied():
                if not self.format.merges:
                    self.put(MARKER, f"{self.format.name}\n".encode())
                    self._files.clear()
                    self.outcome.written.clear()
                self._run()
        return self.outcome

    def folders(self) -> Iterator[FolderRecords]:
        """Of a format that is one whole: all folders, in their order; may be asked for again."""
        for folder in self._folders():
            yield FolderRecords(self.workspace, folder, self.selection)

    def images(self) -> Iterator[ImageRecord]:
        """The images of all folders, with progress; those that cannot be named are told and left out."""
        self.outcome.images = 0
        self.outcome.skipped.clear()
        for folder in self.folders():
            yield from self.images_of(folder)

    def changed_folders(self) -> Iterator[FolderRecords]:
        """Of a format that is written a folder at a time: those that changed. What their files were is remembered."""
        for folder in self._folders():
            memory, made_of = self._memory / f"{folder.key}.json", self._made_of([folder])
            known = _remembered(memory)
            if known.get("made_of") == made_of and self._are_there(known["files"]):
                self.outcome.unchanged += len(known["files"])
                continue
            self._files, self._before = {}, known.get("files", {})
            failures = len(self.outcome.failed)
            yield FolderRecords(self.workspace, folder, self.selection)
            self._remember(memory, "" if len(self.outcome.failed) > failures else made_of)

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
            else:
                self.outcome.written.append(name)
                if self.dry_run:
                    return
                with self._umask(), replace_file(path) as file:
                    file.write(content)
            self._note(name, path)
        except (OSError, ValueError) as error:
            self.fail(name, error)

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
            memory, made_of = self._memory / f"{_WHOLE}.json", self._made_of(self._folders())
            known = _remembered(memory)
            if known.get("made_of") == made_of and self._are_there(known["files"]):
                self.outcome.unchanged += len(known["files"])
                return
            self._before = known.get("files", {})
            self.format.writer()(self)
            self._remember(memory, "" if self.outcome.failed else made_of)
        if self._chosen is None and self.format.per_folder and not self.format.merges:
            self._remove_gone()

    def _folders(self) -> list[FolderRef]:
        if self._chosen is not None:
            return list(self._chosen)
        home = self.workspace.home
        folders = [home.folder(key) for key in self.workspace.lake.folders("images")]
        return [folder for folder in folders if not folder.gone_since]

    def _made_of(self, folders: Sequence[FolderRef]) -> str:
        lake = self.workspace.lake
        tables = [
            (table, folder.key) for folder in folders for table in TABLES if lake.exists(table, folder.key)
        ]
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

    def _are_there(self, files: Mapping[str, list[int]]) -> bool:
        return all(_status(self.to / name) == status for name, status in files.items())

    def _remember(self, memory: Path, made_of: str) -> None:
        """Also removes what was written before, and is not any more."""
        if self.dry_run:
            return
        if not self.format.merges:
            self._remove(self._before.keys() - self._files.keys())
        with replace_file(memory) as file:
            file.write(json.dumps({"made_of": made_of, "files": self._files}).encode())

    def _remove_gone(self) -> None:
        """What was written of folders that are not exported any more."""
        here = {folder.key for folder in self._folders()}
        for memory in sorted(self._memory.glob("*.json")):
            if memory.stem in here | {_WHOLE} or self.dry_run:
                continue
            self._remove(_remembered(memory).get("files", {}).keys())
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
