"""Folders that are gone: what the home still holds of them, and its removal."""

from __future__ import annotations

import shutil

from resources.home import FolderRef, Home
from resources.images import prune_proxies
from vistag_assets.automation.instance import home_instance
from vistag_assets.partitions import FOLDERS
from vistag_assets.regions import regions_json


def gone_folders(home: Home) -> list[FolderRef]:
    """The folders that the sensor has marked as gone, sorted by key."""
    return [folder for folder in home.folders() if folder.gone_since]


def forget_folders(home: Home, folders: list[FolderRef]) -> int:
    """Remove all rows, proxies and region files of `folders`, their partitions, and at last their registration,
    so that a call that was killed can be made again.

    Waits for runs that are at work on them. A folder that has come back meanwhile is left alone; returns
    how many were not.
    """
    lake = home.lake
    with home_instance(home.root) as instance, home.working_on([folder.key for folder in folders]):
        still_gone = {folder.key for folder in gone_folders(home)}
        gone = [folder for folder in folders if folder.key in still_gone]
        for folder in gone:
            for table in lake.tables():
                if lake.exists(table, folder.key):
                    lake.delete(table, folder.key)
            if (regions := home.root / regions_json.FOLDER / folder.key).is_dir():
                shutil.rmtree(regions)
            instance.delete_dynamic_partition(FOLDERS, folder.key)
            home.forget(folder.key)
    live = lake.read_all("proxies", ["path"])["path"].to_pylist() if lake.folders("proxies") else []
    prune_proxies(home.root, live)
    return len(gone)
