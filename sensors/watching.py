"""What watched libraries look like from one look to the next, and which folders have settled. No Dagster.

A look goes through the libraries in a fixed order, stops when its time is up, and the next one goes on behind
the folder where it stopped. Two looks at a folder, some seconds apart, that find the same files with the same
sizes and times mean that nothing is being copied into it any more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from resources.images import Listing, folder_order, walk_folders
from resources.images.scan import is_candidate
from resources.object_store import Location, ObjectInfo, ObjectPath, StoreError

_DIGEST_BYTES = 8
_GONE = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a library: its name, and the posix path relative to the library's root."""

    library: str
    folder: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a folder looked like.

    `digest`: of its files, empty where it holds none any more. `since_s`: when it was first seen like that,
    seconds since 1970 UTC. `asked`: the digest that the last run was asked for, empty where there was none.
    """

    digest: str
    since_s: float
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """All that is remembered between two looks.

    `started_s`: when watching began, seconds since 1970 UTC. `asked`: how often runs were asked for since
    then. `place`: the folder at which a look ran out of time, None where all had been seen. `folders`:
    library -> folder -> what it looked like.
    """

    started_s: float
    asked: int = 0
    place: Place | None = None
    folders: Mapping[str, Mapping[str, Seen]] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """What one look found.

    `settled`: folders that have come to rest and differ from what the last run was asked for; `new`: how many of
    them no run was ever asked for. `gone`: folders that runs were asked for and that, as this look found, hold no
    images any more. `changing`: how many did not look as before, or not for long enough. `folders`, `files`: how many
    were looked at; `passed_over`: files beside them that are no images by their name. `troubles`: what could not be
    looked at, and why, in sentences.
    """

    settled: list[Place] = field(default_factory=list)
    new: int = 0
    gone: list[Place] = field(default_factory=list)
    changing: int = 0
    folders: int = 0
    files: int = 0
    passed_over: int = 0
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Looker:
    """How to look.

    `home_root` is passed over. `settle_s`: the seconds that a folder must stay as it is. `clock` tells
    seconds since 1970 UTC. `is_enough` is asked after each folder whether to stop there.
    """

    home_root: Path
    settle_s: float
    clock: Callable[[], float]
    is_enough: Callable[[Findings], bool]
    exclude: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Library -> gitignore's patterns of what is passed over in it"""

    def look(self, watch: Watch, libraries: Mapping[str, Location]) -> tuple[Watch, Findings]:
        """Look at the folders of `libraries` (name -> root) from where the last look stopped.

        A library whose root is not there or cannot be read, or of which nothing at all is left, is a trouble:
        its disk is not mounted or its store is away, and no folder of it counts as gone.
        """
        findings = Findings()
        folders = {name: watch.folders.get(name, {}) for name in libraries}
        for name in sorted(libraries):
            if watch.place and name < watch.place.library:
                continue
            resumed = watch.place if watch.place and watch.place.library == name else None
            try:
                folders[name], last = self._look_at(name, libraries[name], folders[name], resumed, findings)
            except StoreError as error:  # it says what to do
                findings.troubles.append(f"{error.filename} ({name}): {error.strerror}.")
                continue
            except OSError as error:
                findings.troubles.append(
                    f"{libraries[name]} ({name}): {error.strerror}; check that its disk is mounted."
                )
                continue
            if last:
                return replace(watch, place=last, folders=folders), findings
        return replace(watch, place=None, folders=folders), findings

    def _look_at(
        self,
        library: str,
        root: Location,
        known: Mapping[str, Seen],
        resumed: Place | None,
        findings: Findings,
    ) -> tuple[Mapping[str, Seen], Place | None]:
        """What is known of a library after it was looked at, and the folder behind which to go on, if any."""
        seen = dict(known)
        after = PurePosixPath(resumed.folder) if resumed else None
        met: set[str] = set()
        last: PurePosixPath | None = None
        for listing in walk_folders(root, self.home_root, after, self.exclude.get(library, ())):
            findings.passed_over += len(listing.passed_over)
            if listing.error or listing.files:
                met.add(str(listing.folder))
                self._meet(Place(library, str(listing.folder)), root, listing, seen, findings)
            if self.is_enough(findings):
                last = listing.folder
                break
        missing = {folder for folder in _between(known, after, last) if folder not in met}
        if not met and last is None and (not resumed or _is_empty(root)):
            cause = "its name" if isinstance(root, ObjectPath) else "that its disk is mounted"
            findings.troubles.append(
                f"{root} ({library}): no images in it; check {cause}. What the lake holds of it stays."
            )
        else:
            self._miss(library, root, missing, seen, findings)
        return seen, Place(library, str(last)) if last is not None else None

    def _meet(
        self, place: Place, root: Location, listing: Listing, seen: dict[str, Seen], findings: Findings
    ) -> None:
        if listing.error:
            findings.troubles.append(f"{root / place.folder} cannot be listed: {listing.error.strerror}.")
            return
        digest, now_s = listing_digest(root, listing), self.clock()
        before = seen.get(place.folder)
        findings.folders += 1
        findings.files += len(listing.files)
        if before is None or before.digest != digest or now_s < before.since_s:
            seen[place.folder] = Seen(digest, now_s, before.asked if before else "")
            findings.changing += 1
        elif digest != before.asked:
            if now_s - before.since_s >= self.settle_s:
                findings.settled.append(place)
                findings.new += not before.asked
            else:
                findings.changing += 1

    def _miss(
        self,
        library: str,
        root: Location,
        missing: Collection[str],
        seen: dict[str, Seen],
        findings: Findings,
    ) -> None:
        for folder in sorted(missing):
            if seen[folder].digest == _GONE or _may_hold_images(root / folder):
                continue
            if seen[folder].asked:
                # asked for again when it comes back, whatever it holds then
                seen[folder] = Seen(_GONE, self.clock())
                findings.gone.append(Place(library, folder))
            else:
                del seen[folder]


def asked_for(watch: Watch, places: Collection[Place]) -> Watch:
    """`watch` after runs of `places` were asked for."""
    folders = {name: dict(seen) for name, seen in watch.folders.items()}
    for place in places:
        before = folders[place.library][place.folder]
        folders[place.library][place.folder] = replace(before, asked=before.digest)
    return replace(watch, asked=watch.asked + 1, folders=folders)


def at_rest(watch: Watch) -> list[Place]:
    """The folders that look as they did when their last run was asked for."""
    return [
        Place(library, folder)
        for library, folders in watch.folders.items()
        for folder, seen in folders.items()
        if seen.asked and seen.asked == seen.digest
    ]


def run_key(watch: Watch, places: Collection[Place]) -> str:
    """What a run is known by, so that it is not started twice: the content of its folders, and the number of
    requests before it. Without the number a folder that went back to what it was before would not be run.
    """
    contents = [
        (place.library, place.folder, watch.folders[place.library][place.folder].digest) for place in places
    ]
    return _digest(f"{watch.started_s} {watch.asked}", *map(repr, sorted(contents)))


def listing_digest(root: Location, listing: Listing) -> str:
    """16 hex digits of where a folder is, and of the names, sizes and times (of content and status) of its
    candidates. Opens no file.
    """
    files = sorted(filter(None, map(_describe, listing.files)))
    return _digest(str(root), str(listing.folder), *files)


def _describe(file: os.DirEntry[str] | ObjectInfo) -> str | None:
    """A file's name and status (a link's: of what it leads to); None if it vanished."""
    if isinstance(file, ObjectInfo):
        return f"{file.path.name}/{file.bytes}/{file.modified_us}"
    try:
        status = file.stat()
    except OSError:
        try:
            status = file.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
    return f"{file.name}/{status.st_size}/{status.st_mtime_ns}/{status.st_ctime_ns}"


def _digest(*texts: str) -> str:
    # surrogateescape: names that are not UTF-8 reach Python as lone surrogates
    content = "\0".join(texts).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def _between(
    folders: Mapping[str, Seen], after: PurePosixPath | None, last: PurePosixPath | None
) -> Iterator[str]:
    """The folders that a walk from `after` to `last` (both None: from the first, to the end) comes past."""
    first_order = folder_order(after) if after is not None else None
    last_order = folder_order(last) if last is not None else None
    for folder in folders:
        order = folder_order(PurePosixPath(folder))
        if (first_order is None or order > first_order) and (last_order is None or order <= last_order):
            yield folder


def _is_empty(root: Location) -> bool:
    return not (root.is_dir() if isinstance(root, ObjectPath) else any(root.iterdir()))


def _may_hold_images(directory: Location) -> bool:
    """Whether a folder that was not met may only have been out of reach: the one above it cannot be listed."""
    try:
        if isinstance(directory, ObjectPath):
            return any(is_candidate(found.path.name) for found in directory.listing(recursive=False))
        return any(is_candidate(name) for name in os.listdir(directory))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
