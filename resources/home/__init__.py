"""The home: the one directory vistag writes to, what it remembers, and who is at work in it."""

from resources.home.home import (
    CorruptRegistration,
    FolderRef,
    Home,
    KeyTaken,
    UnknownFolder,
    folder_key,
    holds_anything,
    read_settings,
    write_settings,
)
from resources.home.settings import ExportSettings, Settings, SettingsError

__all__ = [
    "CorruptRegistration",
    "ExportSettings",
    "FolderRef",
    "Home",
    "KeyTaken",
    "Settings",
    "SettingsError",
    "UnknownFolder",
    "folder_key",
    "holds_anything",
    "read_settings",
    "write_settings",
]
