"""What a home remembers: settings.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from resources.lake.files import replace_file
from resources.object_store import ObjectPath

if TYPE_CHECKING:
    from pathlib import Path

    from resources.home import Home


class SettingsError(ValueError):
    """The settings of a home cannot be read; the message names the file."""


class Settings(BaseModel):
    """What a home remembers, so that the command line and Dagster's UI compute the same rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tier: str = "demo"
    taxonomy: str | None = None
    """Path of a vocabulary; None: the tier's."""
    lake: str | None = None
    """Where the lake is, `s3://bucket/prefix`; None: in the home."""
    ground_truth_library: str | None = None
    """The library whose files the ground truth names."""
    watched: dict[str, str] = {}
    """Library -> the absolute path, or the URL on an object store, of the folder that a sensor looks at."""
    settle_seconds: float = Field(default=20, ge=0)
    """How long the files of a watched folder must stay as they are before it is run."""

    @field_validator("lake")
    @classmethod
    def _is_on_a_store(cls, lake: str | None) -> str | None:
        return None if lake is None else str(ObjectPath.parse(lake))


def read_settings(home: Home) -> Settings:
    """The settings of a home, the defaults where it has none. Raises SettingsError."""
    path = _settings_path(home)
    if not path.exists():
        return Settings()
    try:
        return Settings.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SettingsError(
            f"{path}: {error}. Correct the file, or delete it to start from defaults"
        ) from error


def write_settings(home: Home, settings: Settings) -> None:
    with replace_file(_settings_path(home)) as file:
        file.write(settings.model_dump_json(indent=2).encode() + b"\n")


def _settings_path(home: Home) -> Path:
    return home.root / "settings.json"
