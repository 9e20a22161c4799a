"""Whether a home holds what it should: its lake, its proxies and its registered folders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from PIL import Image

from resources.home import CorruptRegistration, FolderRef, Home
from resources.images import shared_proxies
from resources.lake import MissingPartition
from resources.lake.verify import Finding, Inspection, check_files
from resources.object_store import Location
from resources.tables import PER_FOLDER_TABLES, TABLES
from vistag_assets.search.index import load_index
from vistag_assets.search.segment import DamagedIndex
from vistag_assets.search.sources import TABLE_OF, index_directory

ROOT = "images"
_PASSING = frozenset(
    ["missing_rows", "missing_partition", "stray_rows", "missing_proxy", "unknown_folder", "temporary_file"]
)
"""Kinds of findings that a run which is at work brings about, and puts right before it ends."""
_WRITING_S = 3600
"""A temporary file of a proxy that is younger may still be written; pruning waits as long."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, in files and (key) rows of the lake, and what was found."""

    findings: tuple[Finding, ...]
    partitions: int
    rows: int

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_fault)


def verify_home(home: Home, *, deep: bool = False) -> Verification:
    """Look through a home; nothing is changed. `deep` reads every page and decodes every proxy.

    What a run that is at work on a folder has yet to write, or to remove, is information.
    """
    lake = home.lake
    worked_on: set[str | None] = set()
    findings: list[Finding] = []
    tables_of: dict[str | None, list[str]] = {}
    for table in lake.tables():
        folders: list[str | None] = [*lake.folders(table)] or [None]
        for key in folders:
            tables_of.setdefault(key, []).append(table)
    inspection = Inspection(lake, TABLES, _remedy)
    proxies: list[pa.Table] = []
    all_proxies_are_known = True
    rows = 0
    for folder, tables in sorted(tables_of.items(), key=lambda item: item[0] or ""):
        if folder is not None and home.is_worked_on(folder):
            worked_on.add(folder)
        partitions, unreadable = inspection.read(folder, tables, deep=deep)
        findings += unreadable
        findings += inspection.doubled_rows(partitions, folder)
        if folder is not None and any(table in PER_FOLDER_TABLES for table in tables):
            findings += inspection.lost_and_stray_rows(partitions, folder, ROOT)
        rows += sum(found.num_rows for found in partitions.rows.values())
        all_proxies_are_known &= "proxies" not in partitions.damaged
        if "proxies" in partitions.rows and folder is not None:
            try:
                stored = lake.read("proxies", folder, ["path"])
            except MissingPartition:  # removed since it was listed
                continue
            proxies.append(stored.append_column("folder", pa.repeat(folder, stored.num_rows)))
    findings += check_files(lake)
    findings += _check_folders(home, {key for key, tables in tables_of.items() if key and ROOT in tables})
    named = pa.concat_tables(proxies) if proxies else pa.table({"path": [], "folder": []})
    findings += _check_proxies(home, named, all_are_known=all_proxies_are_known, deep=deep)
    findings += _check_indexes(home, deep=deep)
    findings += _look_into_quarantine(home)
    # again: a run may have begun while its folder was read
    worked_on |= {found.folder for found in findings if found.folder and home.is_worked_on(found.folder)}
    told = tuple(
        _as_passing(found) if found.folder in worked_on and found.kind in _PASSING else found
        for found in findings
    )
    return Verification(told, sum(map(len, tables_of.values())), rows)


def _as_passing(finding: Finding) -> Finding:
    sentence = f"{finding.sentence} A run is at work on this folder: verify again when it has ended."
    return replace(finding, sentence=sentence, is_fault=False)


def _remedy(table: str, folder: str | None) -> str:
    if table == "evaluation_history":
        return "restore it from a backup or move it away, for a record of an evaluation is not made again"
    if table in PER_FOLDER_TABLES:
        return "run vistag on that folder, which computes what is missing and drops what is gone"
    if table in ("concept_embeddings", "near_duplicates"):
        return "run vistag on any folder, which makes it anew"
    return "evaluate again (vistag run --ground-truth), which makes it anew"


def _check_folders(home: Home, in_lake: set[str]) -> Iterator[Finding]:
    registered = set()
    for file in sorted((home.root / "folders").glob("*.json")):
        registered.add(file.stem)
        try:
            folder = home.folder(file.stem)
            if folder.gone_since or folder.is_missing:
                yield _gone(folder)
        except CorruptRegistration as error:
            yield Finding("damaged_registration", f"{error}.", None, file.stem, str(file))
    for key in sorted(in_lake - registered):
        sentence = (
            f"The lake has partitions of a folder {key} that is not registered: run vistag on the directory "
            f"it was made of, or delete {home.lake.root}/*/folder={key}."
        )
        yield Finding("unknown_folder", sentence, None, key)
    for key in sorted(registered - in_lake):
        sentence = f"The folder {key} is registered and has no images in the lake yet: run vistag on it."
        yield Finding("folder_without_images", sentence, ROOT, key, is_fault=False)


def _gone(folder: FolderRef) -> Finding:
    since = f"since {folder.gone_since}" if folder.gone_since else "since the last run"
    sentence = (
        f"{folder.directory} is gone {since}; what the lake holds of it stays until vistag forget --yes, or moves along "
        "where vistag run finds its images in another folder."
    )
    return Finding("gone_folder", sentence, None, folder.key, is_fault=False)


def _check_proxies(home: Home, named: pa.Table, *, all_are_known: bool, deep: bool) -> Iterator[Finding]:
    """`named`: path and folder of every row of proxies that could be read."""
    files = {
        path.relative_to(home.root).as_posix(): path
        for path in home.proxies_dir.glob("*/*")
        if path.is_file()
    }
    shared = shared_proxies(home)
    folders_of: dict[str, list[str]] = {}
    for path, folder in zip(named["path"].to_pylist(), named["folder"].to_pylist(), strict=True):
        folders_of.setdefault(path, []).append(folder)
    again = "run vistag on that folder, which makes it again"
    for path in sorted(folders_of.keys() - files.keys() - (shared or {}).keys()):
        file = str(home.root / path)
        sentence = f"{file}, a proxy of folder {folders_of[path][0]}, is gone: {again}."
        yield Finding("missing_proxy", sentence, "proxies", folders_of[path][0], file)
    for place in (files, shared or {}) if deep else ():
        for path in sorted(folders_of.keys() & place.keys()):
            if problem := _problem(place[path]):
                sentence = (
                    f"{place[path]}, a proxy of folder {folders_of[path][0]}, does not open ({problem}): "
                    f"delete it, then {again}."
                )
                yield Finding("damaged_proxy", sentence, "proxies", folders_of[path][0], str(place[path]))
    if shared is not None and (alone := len(folders_of.keys() & files.keys() - shared.keys())):
        sentence = f"{alone:,} proxies lie in this home alone, not with the lake: a run of their folders puts them there."
        yield Finding("proxies_not_shared", sentence, "proxies", count=alone, is_fault=False)
    unnamed = sorted(files.keys() - folders_of.keys())
    temporary = [files[path] for path in unnamed if path.endswith(".tmp")]
    for left in temporary:
        is_old = _age_s(left) > _WRITING_S
        sentence = f"{left} was left by a run that was killed: delete it."
        if not is_old:
            sentence = f"{left} is being written, or was left by a run that was just killed."
        yield Finding("temporary_file", sentence, "proxies", None, str(left), is_fault=is_old)
    orphans = len((files.keys() | (shared or {}).keys()) - folders_of.keys()) - len(temporary)
    if orphans and all_are_known:
        sentence = f"{orphans:,} proxies are named by no row: a run that finds images removed prunes them."
        yield Finding("proxies_without_row", sentence, "proxies", count=orphans, is_fault=False)


def _check_indexes(home: Home, *, deep: bool) -> Iterator[Finding]:
    """Whether the indexes of `vistag search` are whole; `deep` reads all of them."""
    for name in TABLE_OF:
        try:
            index = load_index(index_directory(home, name))
            for segment in index.segments if index and deep else ():
                for file in segment.files:
                    segment.require(file, content=True)
        except DamagedIndex as error:
            sentence = f"{error}: run vistag on any folder, or vistag search, which makes {name} anew."
            yield Finding("damaged_index", sentence, None, None, str(index_directory(home, name)))


def _problem(proxy: Location) -> str | None:
    """Why a proxy does not open; None where it does."""
    try:
        with proxy.open("rb") as file, Image.open(file) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return str(error)
    return None


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:  # renamed by its writer since it was listed
        return 0.0


def _look_into_quarantine(home: Home) -> Iterator[Finding]:
    root = home.lake.quarantine_root
    if kept := sum(path.is_file() for path in root.rglob("*.parquet")):
        sentence = (
            f"{root} keeps {kept:,} damaged files of earlier runs: delete them when you need them no more."
        )
        yield Finding("quarantined_files", sentence, None, None, str(root), kept, is_fault=False)
