"""The store of proxies: bounded JPEG copies that every later stage reads in place of the originals."""

import os
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from resources.lake.files import disk_named, path_below

FOLDER = "proxies"
JPEG_QUALITY = 95
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
    file = home_root / path
    return file.is_file() and file.stat().st_size == len(jpeg) and file.read_bytes() == jpeg


def save_proxy(home_root: Path, path: PurePosixPath, jpeg: bytes) -> None:
    """Write a proxy whole or not at all: a kill leaves at most a temporary file, which pruning removes."""
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
    of the home: tables of others may name anything.
    """
    file = path_below(home_root, path)
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno, "this proxy is gone; materialise images and proxies of its folder again", str(file)
        ) from error


def prune_proxies(home_root: Path, live_paths: Collection[str], grace_s: float = 3600.0) -> int:
    """Remove the proxies, and left-over temporary files, whose path (relative to the home) no table names.

    Files younger than `grace_s` seconds stay: another run may have written them for rows that it has yet to
    store. Returns how many files were removed.
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
    return removed
