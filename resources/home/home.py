"""The home: the one directory vistag writes to, and the registry of the folders it knows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import unicodedata
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from resources.home.settings import DECISIONS_URL, LEASES_URL, Settings, SettingsError
from resources.lake import Lake
from resources.lake.files import remove_temporaries, replace_file
from resources.lake.locks import FILE_LOCKS, Leases, Locks
from resources.lake.object_store import BESIDE, home_id
from resources.object_store import Location, ObjectPath, location

if TYPE_CHECKING:
    from resources.decisions import DecisionLog

_KEY_MAX_CHARACTERS = 100
_KEY_MAX_BYTES = 200
_HASH_DIGITS = 8
# A lock a folder would have a run of a whole library hold more files open than a process may.
_RUN_LOCKS = 256
_HASH_SUFFIX = re.compile(rf"-[0-9a-f]{{{_HASH_DIGITS}}}$")
# Names that some file systems reserve for devices, with any suffix.
_RESERVED_NAME = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)")


class UnknownFolder(LookupError):
    """No folder is registered under that key."""


class KeyTaken(ValueError):
    """Another folder is registered under that key."""


class CorruptRegistration(ValueError):
    """A file of the registry cannot be read."""


@dataclass(frozen=True, slots=True)
class FolderRef:
    """One partition: a directory of a library, and the key it goes by."""

    key: str
    library: str
    root: str
    """absolute path of the library, or its URL on an object store"""
    relative: str
    """posix path of the directory relative to `root`; "." for `root` itself"""
    gone_since: str | None = None
    """when it was found to hold no images any more (ISO 8601, UTC); its rows stay as they were"""

    @property
    def directory(self) -> Location:
        return location(self.root) / self.relative

    @property
    def is_missing(self) -> bool:
        """Whether the directory is not there though its library is. False where the system does not tell."""
        try:
            return holds_anything(location(self.root)) and not _is_there(self.directory)
        except OSError:
            return False


def folder_key(library: str, relative: str) -> str:
    """The partition key of the directory `relative` ("." or a posix path) of a library.

    Readable, the same on every machine, and safe as a Dagster partition key, as a Hive directory and as a
    file name: letters, marks and digits of any script (NFC), "-", "_" and single dots inside; at most 100
    characters and 200 bytes. The parts of the path are joined with "--".

    Where that changes or cuts a name, or could make two directories meet (a part with "--", upper-case
    letters on a file system that ignores case, a name that ends like a hash), "-" and the first 8 hex digits
    of the SHA-256 of the exact names follow. Letters keep their case. So keys differ even when case is
    ignored, but for a collision of 32 bits, which `Home.register` refuses.

    Raises ValueError if `relative` is absolute or climbs with "..".
    """
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{relative!r} is not a path inside the library {library!r}: pass it relative to it")
    parts = [library, *path.parts]
    plain = "--".join(parts)
    key = _readable(plain, _KEY_MAX_CHARACTERS, _KEY_MAX_BYTES)
    if key == plain and not any(map(_joins_ambiguously, parts)) and _is_unclaimed(key):
        return key
    # surrogatepass: names that are not UTF-8 reach Python as lone surrogates.
    names = "\0".join(parts).encode("utf-8", "surrogatepass")
    suffix = "-" + hashlib.sha256(names).hexdigest()[:_HASH_DIGITS]
    return _readable(plain, _KEY_MAX_CHARACTERS - len(suffix), _KEY_MAX_BYTES - len(suffix)) + suffix


def _readable(text: str, max_characters: int, max_bytes: int) -> str:
    """`text` with everything unsafe replaced by "_" or left out, cut to the lengths; never empty."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(c if c in "-_." or unicodedata.category(c)[0] in "LMN" else "_" for c in text)
    text = re.sub(r"\.{2,}", ".", text)
    # A leading dot hides a file, a leading dash looks like an option, a leading mark would merge with "=".
    if not text or (text[0] != "_" and unicodedata.category(text[0])[0] not in "LN"):
        text = "_" + text
    cut = text[:max_characters].encode()[:max_bytes].decode(errors="ignore")
    return cut.rstrip(".")


def _joins_ambiguously(part: str) -> bool:
    return not part or "--" in part or part.startswith("-") or part.endswith("-")


def _is_unclaimed(key: str) -> bool:
    """Whether a readable name may be a key as it is: nothing else can look like it, even ignoring case."""
    folded = unicodedata.normalize("NFC", key.upper().casefold())
    return folded == key and not _HASH_SUFFIX.search(key) and not _RESERVED_NAME.match(key)


@dataclass(frozen=True, slots=True)
class Home:
    """The paths below the home (docs/home.md lists them) and the registry `folders/<key>.json`.

    Making a Home touches no file; directories appear when something is written to them.
    """

    root: Path

    @classmethod
    def resolve(cls, option: Path | None = None) -> Home:
        """The home at `option`, else at $VISTAG_HOME, else at .vistag in the working directory; absolute."""
        path = option or Path(os.environ.get("VISTAG_HOME") or ".vistag")
        return cls(path.expanduser().absolute())

    @property
    def lake(self) -> Lake:
        """In the home, unless its settings say where else. Raises SettingsError where those cannot be read."""
        settings = read_settings(self)
        root = location(settings.lake) if settings.lake else self.root / "lake"
        return Lake(root, self.root / "pending", self._locks(settings))

    @property
    def shared(self) -> ObjectPath | None:
        """Where proxies, regions and previews lie too, for all who work on a lake on a store; None: in the home alone.

        Raises SettingsError.
        """
        lake = read_settings(self).lake
        root = location(lake) if lake else self.root
        return root / BESIDE if isinstance(root, ObjectPath) else None

    @property
    def locks(self) -> Locks:
        """Leases at $VISTAG_LEASES_URL, else where the settings say, else locks of files. Raises SettingsError."""
        return self._locks(read_settings(self))

    def _locks(self, settings: Settings) -> Locks:
        url = os.environ.get(LEASES_URL) or settings.leases
        return Leases(url, home_id(self.root), self.root) if url else FILE_LOCKS

    @property
    def decisions(self) -> DecisionLog:
        """What people said: at $VISTAG_DECISIONS_URL, else where its settings say, else in the home.

        Raises SettingsError where those cannot be read.
        """
        from resources.decisions.log import DecisionLog  # who only asks for paths does without SQLAlchemy

        return DecisionLog.at(self.root, os.environ.get(DECISIONS_URL) or read_settings(self).decisions)

    @property
    def reports_dir(self) -> Path:
        return self.root / "reports"

    @property
    def proxies_dir(self) -> Path:
        """The home's own: all of them, or where they lie on a store (`shared`) those that were made or read here."""
        return self.root / "proxies"

    @property
    def dagster_dir(self) -> Path:
        return self.root / "dagster"

    @property
    def ground_truth_path(self) -> Path:
        return self.root / "ground_truth.json"

    def register(self, *refs: FolderRef) -> None:
        """Makes each folder known under its key; a library that moved is registered again at its new root.

        Raises KeyTaken if a key stands for another directory, or for one of the same library name at
        another root that still exists: their rows would replace each other.
        """
        with self.locks.held(self._folders_dir / ".lock"):
            remove_temporaries(self._folders_dir)
            for ref in refs:
                self._write_registration(ref)

    def mark_gone(self, *refs: FolderRef) -> list[FolderRef]:
        """Remembers since when these folders are gone, for those of which it is new; the folders as they are marked.

        Raises as `register`.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        marked = [ref if ref.gone_since else replace(ref, gone_since=now) for ref in refs]
        self.register(*marked)
        return marked

    def folder(self, key: str) -> FolderRef:
        """Raises UnknownFolder, and CorruptRegistration if its file cannot be read."""
        try:
            return _read_registration(self._registration(key))
        except FileNotFoundError:
            raise UnknownFolder(
                f"no folder {key!r} is registered in {self._folders_dir}: run vistag on it first"
            ) from None

    def folders(self) -> list[FolderRef]:
        """All registered folders, sorted by key."""
        refs = [_read_registration(path) for path in self._folders_dir.glob("*.json")]
        return sorted(refs, key=lambda ref: ref.key)

    def gone_keys(self) -> list[str]:
        """Keys of the folders that are marked as gone, sorted."""
        return [folder.key for folder in self.folders() if folder.gone_since]

    @property
    def folders_version(self) -> int:
        """What is other when a folder was registered, marked or forgotten since: cheap to ask."""
        return self._folders_dir.stat().st_mtime_ns if self._folders_dir.is_dir() else 0

    def forget(self, key: str) -> None:
        """Removes a folder from the registry, not its rows from the lake. Raises UnknownFolder."""
        self.folder(key)
        self._registration(key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def working_on(self, keys: Collection[str], on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Keeps other runs, and `vistag forget`, away from these folders while the block lasts.

        Waits for who is at work on one of them, after a call of `on_wait`. Now and then it waits for who is at
        work on other folders only, because folders share locks. Not re-entrant; the locks are let go when the
        process ends, however it ends: by the kernel at once, in a shared home when their time is up.
        """
        locks = self.locks
        with contextlib.ExitStack() as held:
            # in one order for all runs, or two would wait for each other
            for lock in sorted({self._run_lock(key, locks) for key in keys}):
                if on_wait and locks.is_held(lock):
                    on_wait()
                    on_wait = None
                held.enter_context(locks.held(lock))
            yield

    def is_worked_on(self, key: str) -> bool:
        """Whether a run holds the lock of this folder, or of one that shares it, at this moment."""
        locks = self.locks
        return locks.is_held(self._run_lock(key, locks))

    @property
    def _folders_dir(self) -> Path:
        return self.root / "folders"

    def _write_registration(self, ref: FolderRef) -> None:
        path = self._registration(ref.key)
        if path.exists():
            known = _read_registration(path)
            if known == ref:
                return
            _refuse_conflict(known, ref)
        with replace_file(path) as file:
            file.write(_as_ascii(asdict(ref)))

    def _run_lock(self, key: str, locks: Locks) -> Path:
        """Of its own for each folder where it costs no open file: workers of a shared home are not to wait for nothing."""
        number = key if isinstance(locks, Leases) else f"{zlib.crc32(key.encode()) % _RUN_LOCKS:02x}"
        return self._folders_dir / f".run-{number}.lock"

    def _registration(self, key: str) -> Path:
        if "/" in key or key.startswith("."):
            raise UnknownFolder(f"{key!r} cannot be the key of a folder: make keys with folder_key")
        return self._folders_dir / f"{key}.json"


def holds_anything(root: Location) -> bool:
    """Whether a library is there: an empty folder is what a disk leaves that is not mounted. Raises OSError."""
    return root.is_dir() and (isinstance(root, ObjectPath) or any(root.iterdir()))


def _is_there(directory: Location) -> bool:
    """Raises OSError where a folder above it may not be looked into."""
    if isinstance(directory, ObjectPath):
        return directory.is_dir()
    try:
        return stat.S_ISDIR(directory.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _read_registration(path: Path) -> FolderRef:
    try:
        ref = FolderRef(**json.loads(path.read_text(encoding="ascii")))
        if ref.key != path.stem:
            raise ValueError(f"its key is {ref.key!r}")
        folder_key(ref.library, ref.relative)  # refuses what leads out of the library
        return ref
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptRegistration(
            f"{path} does not describe a folder ({error}): delete it and run vistag on the folder again"
        ) from error


def _refuse_conflict(known: FolderRef, ref: FolderRef) -> None:
    same_folder = (known.library, known.relative) == (ref.library, ref.relative)
    moved = known.root == ref.root or not known.directory.exists()
    if not (same_folder and moved):
        raise KeyTaken(
            f"the key {ref.key!r} of {str(ref.directory)!r} stands for {str(known.directory)!r} already: "
            "give the library another name, or use another home"
        )


def read_settings(home: Home) -> Settings:
    """The settings of a home, the defaults where it has none. Raises SettingsError."""
    path = _settings_path(home)
    if not path.exists():
        return Settings()
    try:
        return Settings.model_validate(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise SettingsError(
            f"{path}: {error}. Correct the file, or delete it to start from defaults"
        ) from error


def write_settings(home: Home, settings: Settings) -> None:
    with replace_file(_settings_path(home)) as file:
        file.write(_as_ascii(settings.model_dump()))


def _as_ascii(content: dict[str, Any]) -> bytes:
    """JSON that carries names that are not UTF-8 too, as \\u escapes."""
    return json.dumps(content, indent=2, ensure_ascii=True).encode("ascii") + b"\n"


def _settings_path(home: Home) -> Path:
    return home.root / "settings.json"
