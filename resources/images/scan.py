"""Which files of a folder are taken for images. Looks at names and file status, and opens nothing."""

import errno
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from resources.images.rejects import Reject, unreadable
from resources.object_store import Location, ObjectInfo, ObjectPath

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .gif .bmp .dib "  # noqa: SIM905
    ".heic .heif .hif .avif .jp2 .j2k .jpx .jpf .ppm .pgm .pbm .pnm".split()
)
# Pictures to their owner, but not decoded here: rejected with advice rather than passed over.
UNSUPPORTED_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw "  # noqa: SIM905
    ".rw2 .rwl .sr2 .srf .srw .x3f .psd .psb .xcf .jxl .jxr .exr .hdr .tga .svg .ai .eps".split()
)
# Folders that systems and network disks keep for themselves, some of them full of thumbnails.
SYSTEM_FOLDERS = frozenset(
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found"]
)

_LIKE_AN_ESCAPE = re.compile(rb"\\(?=x[0-9a-f]{2})")

LINK_LOOP = ("link_loop", "This link leads back to itself. Replace it by the file that was meant.")
DANGLING_LINK = (
    "dangling_link",
    "This link leads to a file that does not exist. Restore the file or remove the link.",
)
BROKEN_LINKS = {errno.ELOOP: LINK_LOOP, errno.ENOENT: DANGLING_LINK, errno.ENOTDIR: DANGLING_LINK}
LEAVES_LIBRARY = (
    "link_leaves_library",
    "This link leads to a file outside the library, and such links are not followed. "
    "Copy the file itself into the folder.",
)
NOT_A_FILE = (
    "not_a_file",
    "This is a pipe, a socket or a device with the name of an image. Move it out of the library.",
)
UNSUPPORTED = (
    "unsupported",
    "This is a camera's raw format or an editor's own format, which vistag does not decode. "
    "Export it as TIFF or JPEG beside the original.",
)


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file that is to be read as an image.

    `path` is relative to the library (posix; as `shown` tells it), `file` is what to open, with links resolved, or
    the object to read. Times are microseconds since 1970 UTC: `modified_us` of the content, which programs set as they
    like, `changed_us` of content, name, owner or permissions, which the system keeps; an object has one time. `inode`
    is None where there is none.
    """

    path: str
    file: Path | ObjectInfo
    bytes: int
    modified_us: int
    changed_us: int
    inode: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that cannot be used: the row of `rejects` that it becomes, less the fingerprint.

    `bytes` and `changed_us` (microseconds since 1970 UTC) are None where the system would not tell.
    """

    path: str
    bytes: int | None
    changed_us: int | None
    code: str
    reason: str


def scan_folder(directory: Location, library_root: Location) -> list[Found | Rejected]:
    """List the image files directly in `directory`, sorted by the bytes of their names.

    Sub-folders, hidden files and files without the suffix of a picture (side-cars, partial copies) are passed
    over. `directory` must be `library_root` or lie below it (else ValueError). A directory that may not be
    listed is itself the one reject. Raises FileNotFoundError or NotADirectoryError if it is not there at all:
    an unmounted disk must not look like an empty folder; StoreError where an object store does not tell.
    """
    if isinstance(directory, ObjectPath):
        return _scan_objects(directory, library_root)
    assert isinstance(library_root, Path), "a library lies on a disk or on a store"
    folder = directory.relative_to(library_root)
    root = os.path.realpath(library_root)
    if not is_inside(os.path.realpath(directory), root):
        return [Rejected(shown(folder), None, None, *LEAVES_LIBRARY)]
    try:
        names = sorted(
            (file.name for file in directory.iterdir() if is_candidate(file.name)), key=os.fsencode
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise type(error)(
            error.errno, "no such folder; check that its disk is mounted", str(directory)
        ) from error
    except OSError as error:
        refused = unreadable(error)
        return [Rejected(shown(folder), None, None, refused.code, refused.reason)]
    entries = (_examine(directory / name, shown(folder / name), root) for name in names)
    return [entry for entry in entries if entry is not None]


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder and its candidates, in the order of the file system.

    `folder` is relative to the library, "." for the library itself; undecodable names keep their surrogate
    escapes, so that `library_root / folder` can be opened. `error` says why it could not be listed.
    """

    folder: PurePosixPath
    files: tuple[os.DirEntry[str], ...] | tuple[ObjectInfo, ...]
    error: OSError | None = None


def walk_folders(
    library_root: Location, home_root: Path | None = None, after: PurePosixPath | None = None
) -> Iterator[Listing]:
    """List every folder of a library, in the order of `folder_order`, from the first one behind `after`.

    Hidden folders, folders that systems keep for themselves and the home (`home_root`) are passed over. Links
    to folders are not followed: what they lead to inside the library is found there, and the rest is not the
    library's. What vanishes on the way is passed over. Raises NotADirectoryError for the library itself, and
    StoreError where an object store does not tell.
    """
    home: PurePosixPath | None = None
    if isinstance(library_root, Path):
        if not library_root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the library is no folder", str(library_root))
        home = _inside(home_root, library_root) if home_root is not None else None
    passed = folder_order(after) if after is not None else None
    waiting = [PurePosixPath()]
    while waiting:
        folder = waiting.pop()
        place = folder_order(folder)
        if passed is not None and place <= passed and passed[: len(place)] != place:
            continue  # all of it lies before `after`
        listing, children = _list_folder(library_root, folder)
        if listing is not None and (passed is None or place > passed):
            yield listing
        waiting += (child for child in reversed(children) if child != home)


def folder_order(folder: PurePosixPath) -> tuple[bytes, ...]:
    """What folders of a library are sorted by: each before those inside it."""
    return tuple(map(os.fsencode, folder.parts))


def find_folders(library_root: Location, home_root: Path | None = None) -> list[PurePosixPath]:
    """The folders of `walk_folders` that directly hold a candidate.

    A folder that may not be listed is included, so that its scan can say so. Raises NotADirectoryError, and
    StoreError for a library on an object store.
    """
    if isinstance(library_root, ObjectPath):
        return _find_prefixes(library_root)
    listings = walk_folders(library_root, home_root)
    return [listing.folder for listing in listings if listing.files or listing.error]


def _list_folder(library_root: Location, folder: PurePosixPath) -> tuple[Listing | None, list[PurePosixPath]]:
    """A folder (None if it vanished), and the folders directly inside it that are to be listed, sorted."""
    if isinstance(library_root, ObjectPath):
        objects, prefixes = (library_root / folder).contents()
        candidates = tuple(found for found in objects if is_candidate(found.path.name))
        return Listing(folder, candidates), [folder / name for name in prefixes if _is_visible(name)]
    try:
        with os.scandir(library_root / folder) as found:
            entries = list(found)
    except FileNotFoundError:
        return None, []
    except OSError as error:
        return Listing(folder, (), error), []
    children = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    files = tuple(entry for entry in entries if is_candidate(entry.name) and not _is_folder(entry))
    kept = (name for name in children if _is_visible(name))
    return Listing(folder, files), [folder / name for name in sorted(kept, key=os.fsencode)]


def _inside(home_root: Path, library_root: Path) -> PurePosixPath | None:
    """Where in a library the home lies, if it does."""
    home, root = os.path.realpath(home_root), os.path.realpath(library_root)
    return PurePosixPath(os.path.relpath(home, root)) if is_inside(home, root) else None


def _is_visible(folder_name: str) -> bool:
    return not folder_name.startswith(".") and folder_name not in SYSTEM_FOLDERS


def _find_prefixes(library_root: ObjectPath) -> list[PurePosixPath]:
    """The prefixes that stand for folders with candidates, from one listing of the library, sorted."""
    found, odd = library_root.listing_and_odd_keys()
    if odd:
        _log.warning(
            "%d objects of %s are passed over, for no file could have their keys, such as %r: rename them",
            len(odd),
            library_root,
            odd[0],
        )
    files = (info.path.relative_to(library_root) for info in found)
    folders = {
        file.parent for file in files if is_candidate(file.name) and all(map(_is_visible, file.parts[:-1]))
    }
    return sorted(folders, key=folder_order)


def _scan_objects(directory: ObjectPath, library_root: Location) -> list[Found | Rejected]:
    """The objects directly below `directory`: there are no links and no pipes, and one time."""
    listing = directory.listing(recursive=False)
    if not listing and not directory.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no object below", str(directory))
    entries: list[Found | Rejected] = []
    for found in listing:
        path, when_us = str(found.path.relative_to(library_root)), found.modified_us
        if not is_candidate(found.path.name):
            continue
        if _suffix(path) in UNSUPPORTED_SUFFIXES:
            entries.append(Rejected(path, found.bytes, when_us, *UNSUPPORTED))
        else:
            entries.append(Found(path, found, found.bytes, when_us, when_us))
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def is_candidate(name: str) -> bool:
    """Whether a file of this name is tried as an image: with the suffix of a picture, and no sign that it is
    hidden (".") or that a program is still at it ("~")."""
    suffix = _suffix(name)
    return not name.startswith((".", "~")) and (suffix in IMAGE_SUFFIXES or suffix in UNSUPPORTED_SUFFIXES)


def shown(path: PurePath) -> str:
    """The posix form of a path as text that any table can hold, for each path another: undecodable bytes are shown as
    escapes, `\\xe9`, and the backslash of a name that only looks like one as `\\x5c`.
    """
    name = _LIKE_AN_ESCAPE.sub(rb"\\x5c", os.fsencode(path.as_posix()))
    return name.decode("utf-8", "backslashreplace")


def microseconds(nanoseconds: int) -> int:
    """A file time in the resolution of the tables."""
    return nanoseconds // 1000


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _examine(file: Path, path: str, root: str) -> Found | Rejected | None:
    """What to do with one candidate: read it, reject it, or pass over it (a folder, or gone meanwhile)."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return None
    try:
        if stat.S_ISLNK(status.st_mode):
            file = _target(file, root)
            status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise Reject(*NOT_A_FILE)
        if _suffix(path) in UNSUPPORTED_SUFFIXES:
            raise Reject(*UNSUPPORTED)
    except Reject as reject:
        return Rejected(path, status.st_size, changed_us(status), reject.code, reject.reason)
    modified_us = microseconds(status.st_mtime_ns)
    return Found(path, file, status.st_size, modified_us, changed_us(status), status.st_ino or None)


def _target(link: Path, root: str) -> Path:
    """Where a link ends. Raises Reject if that is nowhere, or outside the library."""
    try:
        target = os.path.realpath(link, strict=True)
    except OSError as error:
        if error.errno in BROKEN_LINKS:
            raise Reject(*BROKEN_LINKS[error.errno]) from error
        raise unreadable(error) from error
    if not is_inside(target, root):
        raise Reject(*LEAVES_LIBRARY)
    return Path(target)


def is_inside(path: str, root: str) -> bool:
    """Whether a real path is that of a folder, itself real, or lies below it."""
    return os.path.commonpath([root, path]) == root


def require_inside(descriptor: int, file: Path, root: str) -> None:
    """Raises Reject where an open file lies outside the library, whose real path is `root`: a folder above it was
    exchanged for a link after the scan. Where the system does not tell the path of an open file, its name is looked up again."""
    opened = Path(f"/proc/self/fd/{descriptor}")
    real = os.path.realpath(opened if opened.exists() else file)
    if not is_inside(real, root):
        raise Reject(*LEAVES_LIBRARY)


def changed_us(status: os.stat_result) -> int:
    return microseconds(status.st_ctime_ns)
