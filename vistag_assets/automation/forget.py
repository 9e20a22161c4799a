"""Folders that are gone: what the home still holds of them, where their pictures are now, and its removal."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from resources.home import FolderRef, Home
from resources.images import prune_proxies
from resources.lake import CorruptPartition
from resources.lake.carry import Pairs, drop_rows
from resources.previews import forget_previews
from resources.tables import PER_FOLDER_TABLES, TABLES
from vistag_assets.automation.instance import home_instance
from vistag_assets.ingest.carry import Elsewhere
from vistag_assets.lineage import pixel_hashes
from vistag_assets.partitions import FOLDERS
from vistag_assets.regions import regions_json
from vistag_assets.search import updating
from vistag_assets.tags.decided import import_states


@dataclass(frozen=True, slots=True)
class Gone:
    """A folder that a run did not find any more: how many images the lake held of it, and where those are now."""

    folder: FolderRef
    images: int
    now_in: Mapping[str, int]
    """directory, relative to the library -> how many of them"""

    @property
    def has_moved(self) -> bool:
        """Whether all of it is elsewhere, so that nothing was left to keep."""
        return 0 < self.images == sum(self.now_in.values())


def gone_folders(home: Home) -> list[FolderRef]:
    """The folders that are marked as gone, or found to be, sorted by key."""
    return [folder for folder in home.folders() if folder.gone_since or folder.is_missing]


def mark_missing(home: Home, folders: Sequence[FolderRef]) -> list[FolderRef]:
    """Mark as gone what the home knows of the libraries of `folders`, is none of them and is not there any more.

    Returns all of those libraries that are gone, those that were marked before included.
    """
    roots = {folder.library: folder.root for folder in folders}
    keys = {folder.key for folder in folders}
    # a library that moved took its folders along
    others = [
        replace(known, root=roots[known.library])
        for known in home.folders()
        if known.library in roots and known.key not in keys
    ]
    return home.mark_gone(*(folder for folder in others if folder.gone_since or folder.is_missing))


def let_go(home: Home, folders: Sequence[FolderRef], before: Elsewhere) -> list[Gone]:
    """Remove the rows of pictures of gone `folders` that a run found in others, which have taken them over; and a
    folder of which nothing else was left. The rest stays, marked as gone: its disk may come back. `before` is what was
    where before that run: a copy that lay there all the time is none that moved.
    """
    if not folders:
        return []
    gone_keys = frozenset(home.gone_keys())
    elsewhere = Elsewhere(home.lake, gone_keys, before)
    told = [_moved(home, folder, elsewhere) for folder in folders]
    forget_folders(home, [gone.folder for gone in told if gone.has_moved])
    return told


def _moved(home: Home, folder: FolderRef, elsewhere: Elsewhere) -> Gone:
    pictures = _pictures(home, folder.key)
    found = elsewhere.donors(folder.key, pictures)
    now_in = {home.folder(key).relative: len(pairs) for key, pairs in sorted(found.items())}
    gone = Gone(folder, len(pictures), now_in)
    if found and not gone.has_moved:
        import_states(home, folder.key)
        _drop(home, folder.key, _here(found))
    return gone


def _drop(home: Home, key: str, ids: Collection[str]) -> None:
    for table in PER_FOLDER_TABLES:
        if "id" in TABLES[table].key:
            drop_rows(home.lake, table, key, ids)


def forget_folders(home: Home, folders: list[FolderRef], *, decisions: bool = False) -> int:
    """Remove all rows, proxies, region files and previews of `folders`, their partitions, and at last their registration,
    so that a call that was killed can be made again.

    `decisions`: also what people said of pictures that no other folder holds; else the log keeps it. Waits for runs
    that are at work on them. A folder that has come back meanwhile is left alone; returns how many were not.
    """
    if not folders:
        return 0
    lake = home.lake
    with home_instance(home.root) as instance, home.working_on([folder.key for folder in folders]):
        still_gone = {folder.key for folder in gone_folders(home)}
        gone = [folder for folder in folders if folder.key in still_gone]
        elsewhere = Elsewhere(lake, frozenset(folder.key for folder in gone))
        for folder in gone:
            import_states(home, folder.key)
            if decisions:
                _erase(home, folder.key, elsewhere)
            for table in lake.tables():
                if lake.exists(table, folder.key):
                    lake.delete(table, folder.key)
            if (regions := home.root / regions_json.FOLDER / folder.key).is_dir():
                shutil.rmtree(regions)
            if shared := regions_json.shared_regions(home, folder.key):
                for found in shared.listing():
                    found.path.unlink(missing_ok=True)
            forget_previews(home, folder.key)
            instance.delete_dynamic_partition(FOLDERS, folder.key)
            home.forget(folder.key)
        updating.forget(home, [folder.key for folder in gone])
    live = lake.read_all("proxies", ["path"])["path"].to_pylist() if lake.folders("proxies") else []
    prune_proxies(home.root, live)
    return len(gone)


def decisions_about(home: Home, folders: Sequence[FolderRef]) -> int:
    """How many lines of the log are about pictures of these folders."""
    return sum(len(home.decisions.about(*_names(_pictures(home, folder.key)))) for folder in folders)


def _erase(home: Home, key: str, elsewhere: Elsewhere) -> None:
    """Remove what was said of the pictures that only this folder holds."""
    pictures = _pictures(home, key)
    kept = _here(elsewhere.donors(key, pictures))
    home.decisions.remove(*_names({id_: hash_ for id_, hash_ in pictures.items() if id_ not in kept}))


def _here(donors: Mapping[str, Pairs]) -> set[str]:
    return {here for pairs in donors.values() for _, here in pairs}


def _names(pictures: Mapping[str, str | None]) -> tuple[set[str], set[str]]:
    """The content ids and the pixel hashes of pictures."""
    return set(pictures), {hash_ for hash_ in pictures.values() if hash_}


def _pictures(home: Home, key: str) -> dict[str, str | None]:
    """Content id -> pixel hash of the images of a folder; none where the table does not read."""
    try:
        images = home.lake.read_or_none("images", key)
    except CorruptPartition:
        return {}
    return {} if images is None else pixel_hashes(images)
