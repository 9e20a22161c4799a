"""What vistag knows, in the pictures' own files: as XMP, and as IIM where a file has IIM (docs/exports.md).

A file is copied, the copy is written by exiftool, read back, and held against what was there: the same pixels, and all
that people wrote. Only then does it take the file's place, in one instant; the file as it was is kept in the home.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from resources.images import Decoded, Reject, decode_isolated
from resources.images.isolated import describe_isolated
from resources.images.metadata import Described
from resources.images.metadata.iim import LIMITS
from resources.lake.files import make_directory, path_below
from vistag_assets.exports.exiftool import Exiftool, ExiftoolFailed
from vistag_assets.exports.formats import OriginalsOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.records import FolderRecords, ImageRecord, file_name
from vistag_assets.exports.sidecar import MalformedSidecar, Sidecar
from vistag_assets.exports.xmp import fill
from vistag_assets.lineage import pixel_hashes

TYPES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "TIFF": (".tif", ".tiff"),
    "PNG": (".png",),
    "APNG": (".png",),
    "WEBP": (".webp",),
    "Extended WEBP": (".webp",),
    "HEIC": (".heic", ".heif", ".hif"),
    "HEIF": (".heic", ".heif", ".hif"),
    "DNG": (".dng",),
}
"""exiftool's name of what a file holds -> how such files are called"""
SUFFIXES = frozenset(suffix for suffixes in TYPES.values() for suffix in suffixes)
BACKUPS = "backups"
_WORK = ".originals"
_IIM = ("IPTC:Keywords", "IPTC:ObjectName", "IPTC:Caption-Abstract")
_READ = ("FileType", *_IIM, "IPTC:CodedCharacterSet", "IPTCDigest", "CurrentIPTCDigest")
_MOST_BYTES_OF_JPEG_XMP = 65_000
_FIXED, _OPEN = b'<?xpacket end="r"?>', b'<?xpacket end="w"?>'
_COPIED = ("-TagsFromFile", "@", "-IPTC:All", "-IPTC:CodedCharacterSet=UTF8")


class Unwritable(ValueError):
    """Why a file stays as it is."""


def write(job: Job) -> None:
    options: OriginalsOptions = job.options  # type: ignore[assignment]
    _require_writable(job.to)
    make_directory(job.home / _WORK)
    with TemporaryDirectory(dir=job.home / _WORK) as work:
        exiftool = Exiftool(Path(work))
        try:
            for folder in job.changed_folders():
                _write_folder(job, folder, options, _Writer(job, exiftool, Path(work), options))
        finally:
            exiftool.close()


def _require_writable(library: Path) -> None:
    """Raises ExportError."""
    if not os.access(library, os.W_OK):
        raise ExportError(
            f"{library} is read-only: its pictures stay as they are. Leave out --write-originals and give --to for a mirror "
            "of sidecars"
        )


def _write_folder(job: Job, folder: FolderRecords, options: OriginalsOptions, writer: _Writer) -> None:
    pixels = pixel_hashes(job.workspace.lake.read("images", folder.folder.key))
    for image in job.images_of(folder):
        for path in (image.path, *image.also_at):
            name = file_name(path)
            if PurePosixPath(name).suffix.lower() not in SUFFIXES:
                if path == image.path:
                    job.skip(
                        name,
                        f"vistag writes into {', '.join(sorted(SUFFIXES))} alone: export a sidecar for it",
                    )
                continue
            try:
                writer.write(name, image, pixels.get(image.id))
            except (Unwritable, MalformedSidecar, ExiftoolFailed, Reject, OSError) as error:
                job.fail(name, error)


class _Writer:
    def __init__(self, job: Job, exiftool: Exiftool, work: Path, options: OriginalsOptions) -> None:
        self._job, self._exiftool, self._work, self._options = job, exiftool, work, options

    def write(self, name: str, image: ImageRecord, pixel_hash: str | None) -> None:
        """Raises Unwritable, MalformedSidecar, ExiftoolFailed, Reject, OSError; the file is as it was then."""
        original = path_below(self._job.to, name)
        before = _regular(original, self._job.to)
        copy = self._work / f"picture{original.suffix.lower()}"
        shutil.copyfile(original, copy)
        packet = self._exiftool.ask("-b", "-XMP", copy.name)
        told = self._exiftool.read(copy.name, *_READ)
        _require_known(told, original, packet)
        sidecar, was = Sidecar(packet or None), Sidecar(packet or None)
        with copy.open("rb") as file:
            _take_over(sidecar, describe_isolated(file, self._job.workspace.limits))
        fill(sidecar, image, self._options, self._job.workspace.tier.name)
        content = sidecar.to_bytes()
        values = _mirrored(told, was, sidecar)
        if (_is_same(content, packet) or not (sidecar.has_ours or was.has_ours)) and not values:
            self._job.keep(name)
            return
        if told["File:FileType"] == "JPEG" and len(content) > _MOST_BYTES_OF_JPEG_XMP:
            raise Unwritable("its XMP would not fit into one segment of a JPEG: export a sidecar for it")
        if self._job.dry_run:
            self._job.outcome.written.append(name)
            return
        known = _decoded(copy, self._job)
        if pixel_hash not in (None, known.pixel_hash):
            raise Unwritable(
                "it is another picture than at the last run: run vistag on its folder, then export again"
            )
        self._change(copy, content, told, values)
        _require_same(known, _decoded(copy, self._job))
        if _regular(original, self._job.to) != before:
            raise Unwritable("it changed meanwhile: export again")
        if self._options.backup and not self._job.wrote(name):
            _back_up(original, self._job.home / BACKUPS / image.library / name)
        self._job.take(name, copy)

    def _change(self, copy: Path, content: bytes, told: dict[str, Any], values: dict[str, Any]) -> None:
        (self._work / "packet.xmp").write_bytes(content)
        self._exiftool.ask("-overwrite_original", "-XMP<=packet.xmp", copy.name)
        if not _is_same(self._exiftool.ask("-b", "-XMP", copy.name), content):
            raise Unwritable("exiftool did not write the XMP that it was given: it is left as it was")
        if not values:
            return
        if told.get("IPTC:CodedCharacterSet") != "\x1b%G":
            self._exiftool.ask("-overwrite_original", *_COPIED, copy.name)
        # MWG: the digest says that XMP and IIM agree; where they did not before, IIM stays the newer one
        in_step = told.get("Photoshop:IPTCDigest") in (None, told.get("File:CurrentIPTCDigest"))
        self._exiftool.write(copy.name, values, *(["-IPTCDigest=new"] if in_step else []))


def _regular(path: Path, library: Path) -> tuple[int, int, int]:
    """What tells whether the file is another. Raises Unwritable for what is no plain file of one name in the library."""
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(library)):
        raise Unwritable("a folder above it is a link that leads out of the library")
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise Unwritable("it is a link: what it leads to is written where that lies")
    if status.st_nlink > 1:
        raise Unwritable("it has other names (hard links), which would part from it: export a sidecar for it")
    return status.st_ino, status.st_size, status.st_mtime_ns


def _require_known(told: dict[str, Any], original: Path, packet: bytes) -> None:
    kind = str(told.get("File:FileType"))
    if original.suffix.lower() not in TYPES.get(kind, ()):
        raise Unwritable(f"it holds {kind} under another name: rename it, or export a sidecar for it")
    if b"HasExtendedXMP" in packet:
        raise Unwritable(
            "its XMP is in several segments, which vistag does not put together: export a sidecar for it"
        )


def _decoded(copy: Path, job: Job) -> Decoded:
    with copy.open("rb") as file:
        return decode_isolated(file, job.workspace.limits)


def _has_iim(told: dict[str, Any]) -> bool:
    return "File:CurrentIPTCDigest" in told


def _take_over(sidecar: Sidecar, said: Described) -> None:
    """Into XMP, as people's, what they said elsewhere in the file: where XMP says something, readers look there alone."""
    sidecar.add_theirs("dc:subject", "Bag", said.keywords)
    for name, text in (("dc:title", said.title), ("dc:description", said.description)):
        if text:
            sidecar.add_their_text(name, text)


def _is_same(packet: bytes, other: bytes) -> bool:
    """But for space around it, and the mark of a packet that is not to be changed in place, as PNG has it."""
    return packet.strip().replace(_FIXED, _OPEN) == other.strip().replace(_FIXED, _OPEN)


def _mirrored(told: dict[str, Any], was: Sidecar, now: Sidecar) -> dict[str, Any]:
    """What of IIM is to be another; nothing for a file without IIM."""
    if not _has_iim(told):
        return {}
    values: dict[str, Any] = {}
    there = _listed(told.get("IPTC:Keywords"))
    ours, wanted = map(_keywords_cut, (was.own("dc:subject"), now.items("dc:subject")))
    kept = [keyword for keyword in there if keyword not in ours or keyword in wanted]
    known = {keyword.casefold() for keyword in kept}
    keywords = [*kept, *(keyword for keyword in wanted if keyword.casefold() not in known)]
    if keywords != there:
        values["IPTC:Keywords"] = keywords
    for tag, name, limit in (
        ("IPTC:ObjectName", "dc:title", LIMITS["title"]),
        ("IPTC:Caption-Abstract", "dc:description", LIMITS["description"]),
    ):
        old, new = str(told.get(tag, "")), _cut(now.text(name), limit)
        if (
            now.is_own(name)
            and old != new
            and old in ("", _cut(was.text(name), limit) if was.is_own(name) else "")
        ):
            values[tag] = new
    return values


def _listed(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [] if value is None else [value])]


def _keywords_cut(keywords: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(_cut(keyword, LIMITS["keywords"]) for keyword in keywords))


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode("utf-8", "ignore")


def _require_same(before: Decoded, after: Decoded) -> None:
    """Raises Unwritable where the copy shows other pixels, or lacks what people said."""
    for what, name in (
        ("pixels", "pixel_hash"),
        ("colours", "colour"),
        ("format", "format"),
        ("frames", "frames"),
        ("time", "taken_at"),
    ):
        if getattr(before, name) != getattr(after, name):
            raise Unwritable(f"its {what} came out as others: it is left as it was")
    old, new = before.described, after.described
    kept = set(old.keywords) <= set(new.keywords) and set(old.keyword_paths) <= set(new.keyword_paths)
    same = ("title", "description", "creators", "rating", "latitude", "longitude", "dated")
    if not kept or any(getattr(old, name) != getattr(new, name) for name in same):
        raise Unwritable("what people wrote in it came out as something else: it is left as it was")


def _back_up(original: Path, backup: Path) -> None:
    """Keep the file as it is now under its name, with a number behind it where another is kept there."""
    make_directory(backup.parent)
    for place in _places(backup):
        if place.exists() and _digest(place) == _digest(original):
            return
        if place.exists():
            continue
        unfinished = place.with_name(f".{place.name}.tmp")
        shutil.copy2(original, unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(place)
        return


def _places(backup: Path) -> Iterator[Path]:
    yield backup
    number = 1
    while True:
        number += 1
        yield backup.with_name(f"{backup.name}.{number}")


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
