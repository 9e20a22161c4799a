"""What a sensor remembers, in a file of the home; the cursor that Dagster keeps is the file's name.

A look that is not finished by Dagster (a kill between the look and the request of its runs) leaves the cursor,
and with it the file of the look before: the next one sees everything again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.home import Home
from resources.lake.files import remove_temporaries, replace_file
from sensors.watching import Place, Seen, Watch

_VERSION_DIGITS = 16


class LostMemory(ValueError):
    """The file that a cursor names is not there, or is not what was written."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The files `watching/<version>.json` of a home; a version is the hash of its content.

    `sensor` names the directory below `watching/` of a sensor that has one of its own.
    """

    home: Home
    sensor: str = ""

    def load(self, version: str) -> Watch:
        """Raises LostMemory."""
        path = self._path(version)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise LostMemory(f"{path} is not there") from error
        if _version(content) != version:
            raise LostMemory(f"{path} is damaged")
        return _watch(json.loads(content))

    def save(self, watch: Watch, before: str | None) -> str:
        """Write a watch in one step, keep what `before` names, remove the rest; returns the new version."""
        # ASCII with \u escapes carries names that are not UTF-8
        content = json.dumps(_plain(watch), separators=(",", ":"), ensure_ascii=True).encode("ascii")
        version = _version(content)
        if version != before:
            remove_temporaries(self._directory)
            with replace_file(self._path(version)) as file:
                file.write(content)
            for path in self._directory.glob("*.json"):
                if path.stem not in (version, before):
                    path.unlink(missing_ok=True)
        return version

    @property
    def _directory(self) -> Path:
        return self.home.root / "watching" / self.sensor

    def _path(self, version: str) -> Path:
        return self._directory / f"{version}.json"


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_VERSION_DIGITS]


def _plain(watch: Watch) -> dict[str, Any]:
    folders = {
        library: {folder: [seen.digest, seen.since_s, seen.asked] for folder, seen in known.items()}
        for library, known in watch.folders.items()
    }
    place = asdict(watch.place) if watch.place else None
    return {"started_s": watch.started_s, "asked": watch.asked, "place": place, "folders": folders}


def _watch(plain: Mapping[str, Any]) -> Watch:
    folders = {
        library: {folder: Seen(*seen) for folder, seen in known.items()}
        for library, known in plain["folders"].items()
    }
    place = Place(**plain["place"]) if plain["place"] else None
    return Watch(plain["started_s"], plain["asked"], place, folders)
