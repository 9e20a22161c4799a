"""Which files of a folder are taken for images: by their names and status, and where a name says nothing by their first
bytes."""

import errno
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath

from resources.images.ignore import Ignore
from resources.images.rejects import Reject, unreadable
from resources.object_store import Location, ObjectInfo, ObjectPath
from resources.text import one_line

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .gif .bmp .dib "  # noqa: SIM905
    ".heic .heif .hif .avif .jp2 .j2k .jpx .jpf .jxl .ppm .pgm .pbm .pnm .psd .psb".split()
)
RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw "  # noqa: SIM905
    ".rw2 .rwl .sr2 .srf .srw .x3f".split()
)
# Pictures to their owner, but not decoded here: rejected with advice rather than passed over.
EDITOR_SUFFIXES = frozenset([".xcf", ".jxr", ".exr", ".hdr", ".tga", ".svg", ".ai", ".eps"])
CANDIDATE_SUFFIXES = IMAGE_SUFFIXES | RAW_SUFFIXES | EDITOR_SUFFIXES
# What lies beside pictures and is none: passed over by its name, and counted. Whatever else a file is called, its first
# bytes say whether it is one.
OTHER_SUFFIXES = frozenset(
    ".xmp .aae .pp3 .dop .thm .lrv .json .jsonl .txt .xml .csv .tsv .md .rst .html .htm .css .js .ts .py .pyc .sh .bat "  # noqa: SIM905
    ".ini .cfg .conf .yaml .yml .toml .log .db .sqlite .sqlite3 .lock .plist .pdf .doc .docx .xls .xlsx .ppt .pptx .odt "
    ".ods .odp .rtf .zip .rar .7z .tar .gz .bz2 .xz .zst .mov .mp4 .m4v .avi .mkv .mts .m2ts .3gp .wmv .webm .mpg .mpeg "
    ".mp3 .m4a .wav .aac .flac .ogg .opus .part .partial .crdownload .download .tmp .temp .bak .swp .exe .dll .so .iso "
    ".dmg .parquet .npy .npz .pt .safetensors .pkl .ttf .otf .icc .icm .cube .lnk .url .lrcat .cos .cot .ttl .jsonld".split()
)
# A raw file beside its JPEG, and the film of a live photograph, are the same picture once more.
PAIRED_SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".heic", ".heif", ".hif"])
LIVE_SUFFIXES = frozenset([".mov"])
SIDECAR_SUFFIX = ".xmp"
# First bytes of the formats that are read and can be told by them (BMP, PPM and DIB cannot: two letters or less).
BEGINNINGS = (
    *(
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF87a",
        b"GIF89a",
        b"8BPS",
        b"FUJIFILMCCD",
        b"FOVb",
        b"\0MRM",
    ),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"),
    *(b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL \r\n", b"\xff\x0a"),
)
BRANDS = frozenset([b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis", b"crx "])
BEGINNING_BYTES = 16

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
    beside: tuple[str, ...] = ()
    """paths of files that are the same picture once more and are not read: the film of a live photograph"""
    sidecars: tuple[Path | ObjectInfo, ...] = ()
    """XMP that says something of this picture; `img.jpg.xmp` before `img.xmp`"""


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


def scan_folder(
    directory: Location, library_root: Location, exclude: Sequence[str] = ()
) -> list[Found | Rejected]:
    """List the image files directly in `directory`, sorted by the bytes of their names.

    Passed over are sub-folders, hidden files, files whose suffix is that of something else (side-cars, partial copies),
    files of any other name that do not begin like a picture, and what `Ignore` says. `directory` must be `library_root`
    or lie below it (else ValueError). A directory that may not be listed is itself the one reject. Raises
    FileNotFoundError or NotADirectoryError if it is not there at all: an unmounted disk must not look like an empty
    folder; StoreError where an object store does not tell.
    """
    ignore = Ignore(library_root, exclude)
    if isinstance(directory, ObjectPath):
        return _scan_objects(directory, library_root, ignore)
    assert isinstance(library_root, Path), "a library lies on a disk or on a store"
    folder = directory.relative_to(library_root)
    root = os.path.realpath(library_root)
    if not is_inside(os.path.realpath(directory), root):
        return [Rejected(shown(folder), None, None, *LEAVES_LIBRARY)]
    if ignore.passes_over_all(PurePosixPath(folder)):
        return []
    try:
        there = sorted((file.name for file in directory.iterdir()), key=os.fsencode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise type(error)(
            error.errno, "no such folder; check that its disk is mounted", str(directory)
        ) from error
    except OSError as error:
        refused = unreadable(error)
        return [Rejected(shown(folder), None, None, refused.code, refused.reason)]
    live, sidecars = _live(there), _sidecars(there)
    entries: list[Found | Rejected] = []
    for name in there:
        if ignore.passes_over(PurePosixPath(folder / name), False) or not _may_be_image(directory / name):
            continue
        beside = tuple(shown(folder / film) for film in live.get(name, ()))
        xmp = tuple(directory / sidecar for sidecar in sidecars(name))
        if entry := _examine(directory / name, shown(folder / name), root, beside, xmp):
            entries.append(entry)
    return entries


def pair_raws(entries: Sequence[Found | Rejected]) -> dict[str, str]:
    """Path of a raw file -> that of the JPEG or HEIF of its stem in the same folder, of the first if there are more."""
    stems: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Found) and suffix_of(entry.path) in PAIRED_SUFFIXES:
            stems.setdefault(_stem(entry.path), entry.path)
    return {
        entry.path: stems[_stem(entry.path)]
        for entry in entries
        if isinstance(entry, Found) and suffix_of(entry.path) in RAW_SUFFIXES and _stem(entry.path) in stems
    }


def _live(names: Sequence[str]) -> dict[str, list[str]]:
    """Name of a photograph -> the films of its stem; the first photograph of a stem has them."""
    films: dict[str, list[str]] = {}
    for name in names:
        if suffix_of(name) in LIVE_SUFFIXES and not name.startswith("."):
            films.setdefault(_stem(name), []).append(name)
    photographs = (name for name in names if suffix_of(name) in PAIRED_SUFFIXES)
    return {name: films.pop(_stem(name)) for name in photographs if _stem(name) in films}


def _sidecars(names: Sequence[str]) -> Callable[[str], list[str]]:
    """Name of a picture -> those of its sidecars: `img.jpg.xmp`, and `img.xmp` where no other picture has that stem.

    A raw file beside a JPEG is no other picture.
    """
    of: dict[str, list[str]] = {}
    pictures: Counter[str] = Counter()
    for name in names:
        if name.startswith("."):
            continue
        if suffix_of(name) == SIDECAR_SUFFIX:
            of.setdefault(_stem(name), []).append(name)
        elif suffix_of(name) in IMAGE_SUFFIXES:
            pictures[_stem(name)] += 1
    return lambda name: [
        *of.get(name.casefold(), ()),
        *(of.get(_stem(name), ()) if pictures[_stem(name)] <= 1 else ()),
    ]


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder and its candidates, in the order of the file system.

    `folder` is relative to the library, "." for the library itself; undecodable names keep their surrogate
    escapes, so that `library_root / folder` can be opened. `error` says why it could not be listed.
    """

    folder: PurePosixPath
    files: tuple[os.DirEntry[str], ...] | tuple[ObjectInfo, ...]
    error: OSError | None = None
    passed_over: tuple[str, ...] = ()
    """names of the files that are no candidates, less the hidden ones"""
    ignored: tuple[str, ...] = ()
    """names of the folders that are passed over, less the hidden ones"""


def walk_folders(
    library_root: Location,
    home_root: Path | None = None,
    after: PurePosixPath | None = None,
    exclude: Sequence[str] = (),
) -> Iterator[Listing]:
    """List every folder of a library, in the order of `folder_order`, from the first one behind `after`.

    The home (`home_root`), hidden folders and what `Ignore` says are passed over. Links
    to folders are not followed: what they lead to inside the library is found there, and the rest is not the
    library's. What vanishes on the way is passed over. Raises NotADirectoryError for the library itself, and
    StoreError where an object store does not tell.
    """
    home: PurePosixPath | None = None
    if isinstance(library_root, Path):
        if not library_root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the library is no folder", str(library_root))
        home = _inside(home_root, library_root) if home_root is not None else None
    ignore = Ignore(library_root, exclude)
    passed = folder_order(after) if after is not None else None
    waiting = [PurePosixPath()]
    while waiting:
        folder = waiting.pop()
        place = folder_order(folder)
        if passed is not None and place <= passed and passed[: len(place)] != place:
            continue  # all of it lies before `after`
        listing, children = _list_folder(library_root, folder, ignore)
        if listing is not None and (passed is None or place > passed):
            yield listing
        waiting += (child for child in reversed(children) if child != home)


def folder_order(folder: PurePosixPath) -> tuple[bytes, ...]:
    """What folders of a library are sorted by: each before those inside it."""
    return tuple(map(os.fsencode, folder.parts))


@dataclass(frozen=True, slots=True)
class Survey:
    """A library before anything of it is read.

    `folders` directly hold a candidate, or may not be listed. `passed_over`: files that are no candidates, by suffix
    ("" for none). `ignored`: folders that were passed over, by name; hidden ones are in neither.
    """

    folders: list[PurePosixPath]
    passed_over: Counter[str]
    ignored: Counter[str]


def survey_library(
    library_root: Location, home_root: Path | None = None, exclude: Sequence[str] = ()
) -> Survey:
    """Look through all of a library. Raises NotADirectoryError, and StoreError for a library on an object store."""
    if isinstance(library_root, ObjectPath):
        return _survey_store(library_root, Ignore(library_root, exclude))
    survey = Survey([], Counter(), Counter())
    for listing in walk_folders(library_root, home_root, exclude=exclude):
        if listing.files or listing.error:
            survey.folders.append(listing.folder)
        survey.passed_over.update(map(suffix_of, listing.passed_over))
        survey.ignored.update(listing.ignored)
    return survey


def find_folders(
    library_root: Location, home_root: Path | None = None, exclude: Sequence[str] = ()
) -> list[PurePosixPath]:
    """The folders of `survey_library`."""
    return survey_library(library_root, home_root, exclude).folders


def _list_folder(
    library_root: Location, folder: PurePosixPath, ignore: Ignore
) -> tuple[Listing | None, list[PurePosixPath]]:
    """A folder (None if it vanished), and the folders directly inside it that are to be listed, sorted."""
    if isinstance(library_root, ObjectPath):
        objects, prefixes = (library_root / folder).contents()
        kept = [folder / name for name in prefixes if not ignore.passes_over(folder / name, True)]
        names = [found.path.name for found in objects]
        candidates = tuple(
            found
            for found in objects
            if is_candidate(found.path.name) and not ignore.passes_over(folder / found.path.name, False)
        )
        passed = tuple(name for name in names if not name.startswith(".") and not is_candidate(name))
        return Listing(folder, candidates, None, passed, _named(set(map(str, prefixes)), kept)), kept
    try:
        with os.scandir(library_root / folder) as found_there:
            entries = list(found_there)
    except FileNotFoundError:
        return None, []
    except OSError as error:
        return Listing(folder, (), error), []
    names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    children = [
        folder / name
        for name in sorted(names, key=os.fsencode)
        if not ignore.passes_over(folder / name, True)
    ]
    files: list[os.DirEntry[str]] = []
    passed_over: list[os.DirEntry[str]] = []
    for entry in entries:
        if entry.name.startswith(".") or _is_folder(entry):
            continue
        is_image = not ignore.passes_over(folder / entry.name, False) and _may_be_image(Path(entry.path))
        (files if is_image else passed_over).append(entry)
    listing = Listing(
        folder, tuple(files), None, tuple(entry.name for entry in passed_over), _named(set(names), children)
    )
    return listing, children


def _named(there: set[str], kept: Sequence[PurePosixPath]) -> tuple[str, ...]:
    """The folders that are passed over, less the hidden ones."""
    return tuple(
        sorted(name for name in there - {folder.name for folder in kept} if not name.startswith("."))
    )


def _inside(home_root: Path, library_root: Path) -> PurePosixPath | None:
    """Where in a library the home lies, if it does."""
    home, root = os.path.realpath(home_root), os.path.realpath(library_root)
    return PurePosixPath(os.path.relpath(home, root)) if is_inside(home, root) else None


def _survey_store(library_root: ObjectPath, ignore: Ignore) -> Survey:
    """Of one listing of the library; what is an image is decided by name, for a look at each object is paid for."""
    found, odd = library_root.listing_and_odd_keys()
    if odd:
        _log.warning(
            "%d objects of %s are passed over, for no file could have their keys, such as %r: rename them",
            len(odd),
            one_line(library_root),
            odd[0],
        )
    survey = Survey([], Counter(), Counter())
    folders: set[PurePosixPath] = set()
    for file in (info.path.relative_to(library_root) for info in found):
        above = next((up for up in reversed(file.parents) if up.parts and ignore.passes_over(up, True)), None)
        if above is not None:
            if not above.name.startswith("."):
                survey.ignored[above.name] += 1
        elif is_candidate(file.name) and not ignore.passes_over(file, False):
            folders.add(file.parent)
        elif not file.name.startswith("."):
            survey.passed_over[suffix_of(file.name)] += 1
    survey.folders.extend(sorted(folders, key=folder_order))
    return survey


def _scan_objects(directory: ObjectPath, library_root: Location, ignore: Ignore) -> list[Found | Rejected]:
    """The objects directly below `directory`: there are no links and no pipes, and one time."""
    listing = directory.listing(recursive=False)
    if not listing and not directory.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no object below", str(directory))
    folder = PurePosixPath(directory.relative_to(library_root))
    if ignore.passes_over_all(folder):
        return []
    names = {found.path.name: found for found in listing}
    live, sidecars = _live([*names]), _sidecars([*names])
    return [
        Found(
            str(folder / found.path.name),
            found,
            found.bytes,
            found.modified_us,
            found.modified_us,
            beside=tuple(str(folder / film) for film in live.get(found.path.name, ())),
            sidecars=tuple(names[sidecar] for sidecar in sidecars(found.path.name)),
        )
        for found in listing
        if is_candidate(found.path.name) and not ignore.passes_over(folder / found.path.name, False)
    ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def is_candidate(name: str) -> bool:
    """Whether a file of this name is tried as an image whatever it begins with: with the suffix of a picture, and no sign
    that it is hidden (".") or that a program is still at it ("~")."""
    return not name.startswith((".", "~")) and suffix_of(name) in CANDIDATE_SUFFIXES


def _may_be_image(file: Path) -> bool:
    """Whether a file is tried as an image: by its name, or where that says nothing by its first bytes."""
    if (
        file.name.startswith((".", "~"))
        or file.name.endswith(("~", "#"))
        or suffix_of(file.name) in OTHER_SUFFIXES
    ):
        return False
    if suffix_of(file.name) in CANDIDATE_SUFFIXES:
        return True
    try:
        status = file.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and _begins_like_image(
        file, status.st_ino, status.st_size, status.st_mtime_ns
    )


@lru_cache(maxsize=1 << 16)
def _begins_like_image(file: Path, inode: int, size: int, modified_ns: int) -> bool:
    """Whether a file, as it was then, begins like one of the formats; False if it may not be opened."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as opened:
            start = opened.read(BEGINNING_BYTES)
    except OSError:
        return False
    return (
        start.startswith(BEGINNINGS)
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or (start[4:8] == b"ftyp" and start[8:12] in BRANDS)
        or start[6:14] == b"HEAPCCDR"
    )


def shown(path: PurePath) -> str:
    """The posix form of a path as text that any table can hold, for each path another: undecodable bytes are shown as
    escapes, `\\xe9`, and the backslash of a name that only looks like one as `\\x5c`.
    """
    name = _LIKE_AN_ESCAPE.sub(rb"\\x5c", os.fsencode(path.as_posix()))
    return name.decode("utf-8", "backslashreplace")


def microseconds(nanoseconds: int) -> int:
    """A file time in the resolution of the tables."""
    return nanoseconds // 1000


def suffix_of(path: str) -> str:
    """The suffix of a file's name in lower case, "" for none."""
    return PurePosixPath(path).suffix.lower()


def _stem(path: str) -> str:
    return PurePosixPath(path).stem.casefold()


def _examine(
    file: Path, path: str, root: str, beside: tuple[str, ...], sidecars: tuple[Path, ...]
) -> Found | Rejected | None:
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
    except Reject as reject:
        return Rejected(path, status.st_size, changed_us(status), reject.code, reject.reason)
    modified_us = microseconds(status.st_mtime_ns)
    return Found(
        path, file, status.st_size, modified_us, changed_us(status), status.st_ino or None, beside, sidecars
    )


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
