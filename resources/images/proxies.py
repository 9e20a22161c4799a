"""The store of proxies: bounded JPEG copies that every later stage reads in place of the originals."""

import errno
import os
import time
import uuid
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from resources.home import Home
from resources.lake.files import disk_named, path_below
from resources.object_store import ObjectPath

FOLDER = "proxies"
JPEG_QUALITY = 95
_REQUESTS_AT_ONCE = 16
FULL_CHROMA = 0  # Pillow's name for 4:4:4: colour at the resolution of the picture


def proxy_path(image_id: str, fingerprint: str) -> PurePosixPath:
    """Where the proxy of a content lies, relative to the home."""
    return PurePosixPath(FOLDER, image_id[:2], f"{image_id}-{fingerprint}.jpg")


def encode_proxy(image: Image.Image) -> bytes:
    """A proxy's picture as the JPEG that is stored."""
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=FULL_CHROMA)
    return file.getvalue()


def proxy_is(home_root: Path, path: PurePosixPath, jpeg: bytes) -> bool:
    """Whether that proxy is there, and is exactly this one."""
    try:
        return read_proxy(home_root, str(path)) == jpeg
    except FileNotFoundError:
        return False


def save_proxy(home_root: Path, path: PurePosixPath, jpeg: bytes) -> None:
    """Write a proxy whole or not at all: a kill leaves at most a temporary file, which pruning removes.

    Where the lake lies on a store it is put there too, for those who share the lake.
    """
    _save_here(home_root, path, jpeg)
    if shared := Home(home_root).shared:
        (shared / path).write_bytes(jpeg)


def _save_here(home_root: Path, path: PurePosixPath, jpeg: bytes) -> None:
    target = home_root / path
    part = target.with_name(f".{target.stem}-{uuid.uuid4().hex}.tmp")
    with disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.write(jpeg)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def open_proxy(home_root: Path, path: str) -> Image.Image:
    """Load a proxy (a `path` of the table `proxies`) as RGB.

    Raises FileNotFoundError, which says how to get it back, if it is gone, and ValueError for a path that leads out
    of the home: tables of others may name anything. Where the lake lies on a store, StoreError.
    """
    with Image.open(_here(home_root, path)) as image:
        return image.convert("RGB")


def read_proxy(home_root: Path, path: str) -> bytes:
    """The JPEG of a proxy. Raises as `open_proxy`."""
    return _here(home_root, path).read_bytes()


def _here(home_root: Path, path: str) -> Path:
    """The home's own file of a proxy, fetched from the store of the lake if it has to be."""
    file = path_below(home_root, path)
    if file.exists():
        return file
    try:
        if (shared := Home(home_root).shared) is None:
            raise FileNotFoundError
        jpeg = (shared / path).read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            errno.ENOENT, "this proxy is gone; materialise images and proxies of its folder again", str(file)
        ) from error
    _save_here(home_root, PurePosixPath(path), jpeg)
    return file


def proxies_there(home_root: Path, paths: Iterable[str]) -> frozenset[str]:
    """Those that all who work on the lake can read. What a home has and the store of its lake has not is put there: of a
    home that was made before proxies lay there, or where they were lost.
    """
    shared = Home(home_root).shared
    if shared is None:
        return frozenset(path for path in paths if path_below(home_root, path).is_file())

    def is_there(path: str) -> bool:
        if (shared / path).is_file():
            return True
        try:
            jpeg = path_below(home_root, path).read_bytes()
        except FileNotFoundError:
            return False
        (shared / path).write_bytes(jpeg)
        return True

    named = list(paths)
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return frozenset(path for path, there in zip(named, pool.map(is_there, named), strict=True) if there)


def shared_proxies(home: Home) -> dict[str, ObjectPath] | None:
    """Path, as the table `proxies` has it -> object, of all that lie on the store of the lake; None: it lies on none."""
    shared = home.shared  # which reads the settings
    if shared is None:
        return None
    return {str(found.path.relative_to(shared)): found.path for found in (shared / FOLDER).listing()}


def prune_proxies(home_root: Path, live_paths: Collection[str], grace_s: float = 3600.0) -> int:
    """Remove the proxies, and left-over temporary files, whose path (relative to the home) no table names.

    Files younger than `grace_s` seconds stay: another run may have written them for rows that it has yet to
    store. Returns how many files were removed, where the lake lies on a store: from there.
    """
    live = frozenset(live_paths)
    newest = time.time() - grace_s
    removed = 0
    for file in (home_root / FOLDER).glob("*/*"):
        if file.relative_to(home_root).as_posix() in live:
            continue
        with suppress(FileNotFoundError):  # its writer has finished with it, or another run prunes too
            if file.stat().st_mtime <= newest:
                file.unlink()
                removed += 1
    shared = Home(home_root).shared
    if shared is None:
        return removed
    unnamed = [
        found.path
        for found in (shared / FOLDER).listing()
        if str(found.path.relative_to(shared)) not in live and found.modified_us <= newest * 1e6
    ]
    for path in unnamed:
        path.unlink(missing_ok=True)
    return len(unnamed)
