"""Which folders and files of a library are none of its pictures: gitignore's patterns, built in and people's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from resources.object_store import Location

IGNORE_FILE = ".vistagignore"
MAX_IGNORE_BYTES = 1 << 20
# Folders that systems, network disks and photo programs keep for themselves, most of them full of smaller copies. In lower
# case, for they are met in any; hidden folders, which begin with a dot, are passed over without being named here.
BUILT_IN = (
    *("@eadir/", "@tmp/", "@recycle/", "@recently-snapshot/", "@sharebin/", "@sharesnap/", "@snapshot*/"),
    *(r"\#recycle/", r"\#snapshot*/", "~snapshot/", "$recycle.bin/", "recycler/", "recycled/"),
    *("system volume information/", "found.[0-9][0-9][0-9]/", "lost+found/", "__macosx/"),
    *("network trash folder/", "temporary items/", "trashes/", "desktop.ini/"),
    *("*.lrdata/", "*.lrcat-data/"),  # Lightroom
    *(
        "**/*.photoslibrary/*/",
        "!**/*.photoslibrary/originals/",
        "!**/*.photoslibrary/masters/",
    ),  # Apple Photos
    *("**/*.photolibrary/*/", "!**/*.photolibrary/masters/", "!**/*.photolibrary/originals/"),
    *("**/*.aplibrary/*/", "!**/*.aplibrary/masters/"),
    *("**/captureone/cache/", "**/captureone/settings*/", "**/*.cocatalog/cache/", "**/*.cosessiondb/cache/"),
    *("zbthumbnail/", "_thumbnails/", "thumbnails.lrdata/", "digikam-thumbnails/"),
    *("**/appdata_*/preview/", "**/photoprism/storage/cache/", "**/_data/i/"),  # servers of photographs
    *("**/darktable/mipmaps*/", "**/rawtherapee/images/", "cacherawtherapee*/"),
)
_BUILT_IN = GitIgnoreSpec.from_lines(BUILT_IN)


class Ignore:
    """What is passed over in a library: what is hidden, what `exclude` or a `.vistagignore` says, what is built in.

    The file that lies deepest decides, then `exclude`, then what is built in; a pattern with "!" takes a folder back in.
    On an object store no such file is looked for. Raises ValueError for a pattern that is none.
    """

    def __init__(self, root: Location, exclude: Sequence[str] = ()) -> None:
        self._root = root if isinstance(root, Path) else None
        try:
            self._exclude = GitIgnoreSpec.from_lines(exclude)
        except ValueError as error:
            raise ValueError(f"--exclude: {error}; give a pattern as in .gitignore") from error

    def passes_over(self, path: PurePosixPath, is_folder: bool) -> bool:
        """Whether a file or folder, relative to the library, is none of its pictures; those above it are taken to be."""
        if path.name.startswith("."):
            return True
        for depth in range(len(path.parts) - 1, -1, -1):
            spec = self._in(PurePosixPath(*path.parts[:depth]))
            if spec is not None:
                said = _says(spec, "/".join(path.parts[depth:]), is_folder)
                if said is not None:
                    return said
        said = _says(self._exclude, str(path), is_folder)
        if said is None and is_folder:
            said = _says(_BUILT_IN, str(path).lower(), is_folder)
        return bool(said)

    def passes_over_all(self, folder: PurePosixPath) -> bool:
        """Whether a folder, or one above it, is passed over."""
        return any(self.passes_over(above, True) for above in [folder, *folder.parents] if above.parts)

    def _in(self, folder: PurePosixPath) -> GitIgnoreSpec | None:
        if self._root is None:
            return None
        file = self._root / folder / IGNORE_FILE
        try:
            status = file.stat()
        except OSError:
            return None
        return _read(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _read(file: Path, modified_ns: int, size: int) -> GitIgnoreSpec | None:
    """The patterns of a file as it was then; none where it is no such file."""
    if not file.is_file() or size > MAX_IGNORE_BYTES:
        return None
    try:
        with file.open("rb") as opened:  # it may have grown since it was looked at
            text = opened.read(MAX_IGNORE_BYTES).decode("utf-8", "replace")
        return GitIgnoreSpec.from_lines(text.splitlines())
    except (OSError, ValueError):
        return None


def _says(spec: GitIgnoreSpec, path: str, is_folder: bool) -> bool | None:
    return spec.check_file(f"{path}/" if is_folder else path).include
