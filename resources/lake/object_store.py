"""A lake on an object store: the one home that may write to it, and its files as DuckDB reads them."""

from __future__ import annotations

import json
import secrets
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem

from resources.lake.files import locked, replace_file
from resources.object_store import ObjectPath

MARKER = ".vistag-home"
"""The object in the root of a lake that says which home writes to it."""
BESIDE = ".vistag"
"""The prefix in the root of a lake below which lies what its workers share and is no table."""
_ID_FILE = "home-id"


class ForeignLake(OSError):
    """The lake belongs to another home: the locks of the two would not know of each other."""


def claim(lake_root: ObjectPath, home_root: Path) -> None:
    """Make the lake that of this home if it is nobody's. Raises ForeignLake, and StoreError.

    It is asked before each write, so that of two homes that claim a new lake in the same instant one is
    refused at its next write.
    """
    marker, own_id = lake_root / MARKER, home_id(home_root)
    try:
        owner = json.loads(marker.read_bytes())
    except FileNotFoundError:
        owner = {
            "home": own_id,
            "host": socket.gethostname(),
            "path": str(home_root),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        marker.write_bytes(json.dumps(owner).encode())
        owner = json.loads(marker.read_bytes())
    if owner["home"] != own_id:
        raise ForeignLake(
            f"the lake {lake_root} is written to by the home {owner['path']} on {owner['host']}, since "
            f"{owner['since']}: run vistag there, or give this home ({home_root}) another lake. If that home is "
            f"gone for good, delete {marker} and run again"
        )


def home_id(home_root: Path) -> str:
    """What tells this home from others, wherever it is moved: 32 hex digits, made once."""
    file = home_root / _ID_FILE
    if not file.exists():
        with locked(home_root / f".{_ID_FILE}.lock"):
            if not file.exists():
                with replace_file(file) as new:
                    new.write(secrets.token_hex(16).encode())
    return file.read_text()


class StoreFiles(AbstractFileSystem):
    """Objects as DuckDB reads them without its own extension for S3. A file that is replaced meanwhile is an error
    in the query, never half of one and half of the other.
    """

    protocol = "s3"
    cachable = False

    def glob(self, path: str, **_: Any) -> list[str]:
        parts = path.split("/")
        plain = next((place for place, part in enumerate(parts) if "*" in part), len(parts))
        directory, pattern = _parsed("/".join(parts[:plain])), "/".join(parts[plain:])
        if not pattern:
            return [path] if directory.is_file() else []
        return [str(found) for found in directory.glob(pattern)]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": _parsed(path).info().bytes, "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(_parsed(path).info().modified_us / 1e6, UTC)

    def exists(self, path: str, **_: Any) -> bool:
        return _parsed(path).is_file()

    def open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        return _parsed(path).open(mode)


def _parsed(path: str) -> ObjectPath:
    return ObjectPath.parse(path if "://" in path else f"s3://{path}")
