"""Folders that stand as a run left them: the same files, the same tables, made by the same. A run has nothing to do there.

What a run finds is noted in `standing/<key>.json` of the home, when it has ended well. A note is only as good as the whole of
it: whatever differs, a file, a model, the vocabulary, a decision, a partition, has the folder run again, which then
computes what is not current, as ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg

from resources.decisions.log import FILE as DECISIONS
from resources.home import FolderRef
from resources.images import shared_proxies
from resources.images.ingest import ALWAYS_RETRIED, rejects_fingerprint
from resources.images.scan import Found, scan_folder
from resources.lake import LakeError, failed_ids
from resources.lake.files import replace_files
from resources.lake.versions import status
from resources.models.checkpoints import ModelSpec
from resources.models.tiers import role_specs
from resources.object_store import Location, location
from resources.tables import PER_FOLDER_TABLES, TABLES
from resources.workspace import Workspace
from vistag_assets.regions import regions_json
from vistag_assets.whole_image import home_adapter

_FOLDER = "standing"
_OF_NO_ROW = {"home-id", "settings.json", "ground_truth.json", "batch_sizes.json"}
"""Files of a home that decide about no row, or of which the settings and the log tell."""
_LONGEST_PATH = 4096
_OTHER_SETTINGS = {"watched", "exports", "settle_seconds", "ground_truth_library", "decisions", "leases"}
"""What a home remembers that decides about no row."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One folder as it was left."""

    made_by: str
    seen: str
    """of the files that were there before the run"""
    left: str
    """of the files of the lake after it"""
    images: int
    rejects: int


@dataclass(frozen=True)
class Look:
    """The folders of a run as they are before it."""

    workspace: Workspace
    folders: Sequence[FolderRef]
    code_versions: Mapping[str, str | None]
    """asset -> its version"""

    @cached_property
    def made_by(self) -> str:
        """All that decides about rows besides the files: models, vocabulary, settings, decisions, this code."""
        workspace, tier = self.workspace, self.workspace.tier
        settings = workspace.settings.model_dump(mode="json", exclude=_OTHER_SETTINGS)
        named = [
            role
            for role, spec in role_specs(tier).items()
            if not (isinstance(spec, ModelSpec) and spec.is_served)
        ]
        return _digest(
            {
                "vistag": version("vistag"),
                "assets": dict(sorted(self.code_versions.items())),
                "tables": {name: str(table.schema) for name, table in TABLES.items()},
                "tier": tier.model_dump(mode="json"),
                "models": {role: getattr(workspace, role).fingerprint for role in named},
                "taxonomy": workspace.taxonomy.fingerprint,
                "settings": settings,
                "ingest": rejects_fingerprint(workspace.limits),
                "decisions": workspace.decisions.last(),
                "home": {str(path): _status(path) for path in _own_files(workspace.home.root)},
                "named": {
                    str(path): _status(path)
                    for path in _named_files([tier.model_dump(), settings | {"tier": None}])
                },
            }
        )

    @cached_property
    def seen(self) -> Mapping[str, str]:
        """Key -> digest of the files in the folder; none of what may not be looked at."""
        found = {}
        for folder in self.folders:
            excluded = self.workspace.settings.excluded.get(folder.library, ())
            try:
                entries = scan_folder(folder.directory, location(folder.root), excluded)
            except OSError:
                continue
            found[folder.key] = _digest([_entry(entry) for entry in entries])
        return found

    @cached_property
    def unchanged(self) -> dict[str, Standing]:
        """Those that stand as they were left."""
        noted = {key: note for key in self.seen if (note := self._note(key))}
        shared = shared_proxies(self.workspace.home) if noted else None
        return {
            key: note
            for key, note in noted.items()
            if (note.made_by, note.seen) == (self.made_by, self.seen[key])
            and note.left == _left(self.workspace, key, shared)
            and not self.workspace.home.folder(key).gone_since
        }

    def remember(self, keys: Collection[str]) -> None:
        """Note folders that were run since as they are left, but for those where the next run is to try again: files that
        could not be read, images that a model gave no answer for.
        """
        notes, lake = {}, self.workspace.lake
        shared = shared_proxies(self.workspace.home) if keys else None
        for key in keys:
            if key in self.seen and _is_settled(self.workspace, key):
                images, rejects = (
                    lake.read(table, key, ["path"]).num_rows for table in ("images", "rejects")
                )
                note = Standing(
                    self.made_by, self.seen[key], _left(self.workspace, key, shared), images, rejects
                )
                notes[self._path(key)] = json.dumps(asdict(note)).encode()
        replace_files(notes)

    def _note(self, key: str) -> Standing | None:
        try:
            return Standing(**json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, TypeError):  # none, or one of another version: the folder is run
            return None

    def _path(self, key: str) -> Path:
        return self.workspace.home.root / _FOLDER / f"{key}.json"


def look(workspace: Workspace, folders: Sequence[FolderRef], job: dg.JobDefinition) -> Look:
    graph = job.asset_layer.asset_graph
    versions = {
        key.to_user_string(): graph.get(key).code_version for key in job.asset_layer.selected_asset_keys
    }
    return Look(workspace, folders, versions)


def _is_settled(workspace: Workspace, key: str) -> bool:
    lake = workspace.lake
    try:
        rejects = lake.read_or_none("rejects", key, ["code"])
        made = (lake.read_or_none(table, key, []) for table in PER_FOLDER_TABLES if table != "rejects")
        if rejects is not None and ALWAYS_RETRIED.intersection(rejects["code"].to_pylist()):
            return False
        return not any(rows is not None and failed_ids(rows) for rows in made)
    except LakeError:
        return False


def _left(workspace: Workspace, key: str, shared: Collection[str] | None) -> str:
    """Of the folder's files of the lake, by their status; of its working copies and regions, by whether they are there.

    `shared`: the working copies on the lake's store; None: they lie in the home.
    """
    home, lake = workspace.home, workspace.lake
    try:
        proxies = lake.read_or_none("proxies", key, ["path"])
    except LakeError:
        return ""
    paths = [] if proxies is None else proxies["path"].to_pylist()
    return _digest(
        {
            "tables": [_status(lake.data_file(table, key)) for table in PER_FOLDER_TABLES],
            "pending": [table for table in PER_FOLDER_TABLES if lake.pending(table, key).exists()],
            "proxies": sum(
                (home.root / path).exists() if shared is None else path in shared for path in paths
            ),
            "regions": _status(home.root / regions_json.FOLDER / key),
        }
    )


def _own_files(home: Path) -> list[Path]:
    """What was fitted or chosen for a home: the files directly in it, and those of its adapter."""
    found = [*home.glob("[!.]*"), *(home / home_adapter.FOLDER).glob("[!.]*")]
    log = f"{DECISIONS}*"
    return sorted(
        path for path in found if path.is_file() and not path.match(log) and path.name not in _OF_NO_ROW
    )


def _named_files(content: Any) -> Iterator[Path]:
    """The files that settings and tiers name, wherever in them: a vocabulary, a fusion, a policy."""
    if isinstance(content, str) and content and len(content) < _LONGEST_PATH and "\0" not in content:
        if Path(content).is_absolute() and Path(content).is_file():
            yield Path(content)
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _named_files(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _named_files(value)


def _status(path: Location) -> list[int] | None:
    try:
        return status(path)
    except FileNotFoundError:
        return None


def _entry(entry: Any) -> list[Any]:
    if not isinstance(entry, Found):
        return [entry.path, entry.bytes, entry.changed_us, entry.code]
    beside = [
        _status(side) if isinstance(side, Path) else [side.bytes, side.modified_us] for side in entry.sidecars
    ]
    own = [entry.path, entry.bytes, entry.modified_us, entry.changed_us, entry.inode, *entry.beside]
    return [own, beside]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
