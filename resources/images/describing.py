"""What people said of the pictures of a folder: in their files, and in the sidecars beside them, which change without them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from resources.images.isolated import describe_isolated
from resources.images.metadata import Described, together
from resources.images.metadata.xmp import MOST_BYTES
from resources.images.picture import Limits
from resources.images.reading import open_file
from resources.images.rejects import Reject
from resources.images.scan import Found
from resources.object_store import Location, ObjectInfo, StoreError

VERSION = 1  # to be raised when the same file or sidecar would be read as something else
COLUMN_OF: Mapping[str, str] = {
    "keywords": "keywords",
    "keyword_paths": "keyword_paths",
    "title": "file_title",
    "description": "file_description",
    "creators": "creators",
    "rating": "rating",
    "latitude": "latitude",
    "longitude": "longitude",
    "dated": "dated",
}
"""Field of `Described` -> column of `images`"""
STATE = "described_by"
COLUMNS = (*COLUMN_OF.values(), STATE)
MOST_SIDECARS = 4
NOTES = frozenset(
    [
        "exif_unreadable",
        "iim_unreadable",
        "xmp_unreadable",
        "metadata_unread",
        "metadata_cut",
        "sidecar_unreadable",
    ]
)
"""Those of `images.notes` that are of the description, and read again with it."""
_DIGITS = 16
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Describer:
    """Reads the descriptions of a folder's pictures, where they are not those of the rows of before."""

    library_root: Location
    limits: Limits
    known: Mapping[str, Row]
    """id -> row of `images`"""
    read: Mapping[str, Described] = field(default_factory=dict)
    """id -> what its file says, of those that were decoded now"""
    read_again: bool = False

    def columns(self, image_id: str, found: Sequence[Found]) -> dict[str, Any]:
        """The columns of a picture, of the files that are it, and `notes` of its description.

        What nobody has read of a picture on an object store is not fetched for it: the columns stay null.
        """
        sidecars = list(dict.fromkeys(sidecar for file in found for sidecar in file.sidecars))[:MOST_SIDECARS]
        state, row = _state(sidecars), self.known.get(image_id)
        is_new = image_id in self.read
        if row and not is_new and not self.read_again:
            if row.get(STATE) == state:
                return {name: row[name] for name in COLUMNS} | {"notes": _kept_notes(row)}
            if row.get(STATE) is None and isinstance(found[0].file, ObjectInfo):
                return dict.fromkeys(COLUMNS) | {"notes": ()}
        embedded = self.read[image_id] if is_new else self._of(found[0].file, is_sidecar=False)
        described = together(embedded, *(self._of(sidecar, is_sidecar=True) for sidecar in sidecars))
        values = {column: getattr(described, name) for name, column in COLUMN_OF.items()}
        return values | {STATE: state, "notes": described.notes}

    def _of(self, file: Path | ObjectInfo, *, is_sidecar: bool) -> Described:
        try:
            with open_file(file, self._real_root) as opened:
                if not is_sidecar:
                    return describe_isolated(opened, self.limits)
                content = opened.read(MOST_BYTES + 1)
                return describe_isolated(BytesIO(content), self.limits, is_sidecar=True)
        except FileNotFoundError:
            return Described()
        except StoreError:
            raise
        except (Reject, OSError):
            return Described(notes=("sidecar_unreadable" if is_sidecar else "metadata_unread",))

    @property
    def _real_root(self) -> str:
        return os.path.realpath(self.library_root) if isinstance(self.library_root, Path) else ""


def _kept_notes(row: Row) -> tuple[str, ...]:
    return tuple(note for note in row["notes"] or () if note in NOTES)


def _state(sidecars: Sequence[Path | ObjectInfo]) -> str:
    """Of the reader's version, and of the sidecars as they are now."""
    lines = [str(VERSION)]
    for sidecar in sidecars:
        if isinstance(sidecar, ObjectInfo):
            lines.append(f"{sidecar.path.name}\0{sidecar.bytes}\0{sidecar.modified_us}")
        else:
            with suppress(OSError):
                status = sidecar.lstat()
                lines.append(f"{sidecar.name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}")
    told = "\n".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(told).hexdigest()[:_DIGITS]
