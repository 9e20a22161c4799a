"""What a home remembers: settings.json."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from resources.object_store import ObjectPath

DECISIONS_URL = "VISTAG_DECISIONS_URL"
"""The variable that says where decisions are logged, whatever the settings say."""
LEASES_URL = "VISTAG_LEASES_URL"
"""The variable that says where the leases of a shared home are, whatever the settings say."""
_URLS = {"decisions": DECISIONS_URL, "leases": LEASES_URL}


class SettingsError(ValueError):
    """The settings of a home cannot be read; the message names the file."""


class ExportSettings(BaseModel):
    """How an export that the home follows is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    to: str | None = None
    """Absolute path of the folder; None: `exports/<format>` in the home, or beside the pictures."""
    state: tuple[Literal["human", "machine"], ...] = ("human", "machine")
    min_probability: float = Field(default=0.5, ge=0, le=1)
    thresholds: dict[str, float] = {}
    """Concept -> its own least probability."""
    flagged: Literal["with", "without", "only"] = "with"
    """Images that a policy flags."""
    ancestors: bool = False
    options: dict[str, bool | int | str] = {}
    """The format's own."""


class Settings(BaseModel):
    """What a home remembers, so that the command line and Dagster's UI compute the same rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tier: str = "demo"
    taxonomy: str | None = None
    """Path of a vocabulary; None: the tier's."""
    facets: str | None = None
    """Path of a file that describes the vocabulary's facets; None: as the vocabulary's place has it (docs/taxonomy.md)."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags of the languages that labels are shown in, best first; none: English."""
    labels: Literal["all", "pref"] = "all"
    """Which labels the encoder is asked about: all, or the preferred one of each concept."""
    columns: dict[str, str] = {}
    """Heading -> field of a vocabulary that is a spreadsheet, where it is not to be guessed."""
    flags: str | None = None
    """Path of a policy of flags; None: the tier's (docs/flags.md)."""
    lake: str | None = None
    """Where the lake is, `s3://bucket/prefix`; None: in the home."""
    decisions: str | None = None
    """Where decisions are logged, `postgresql://user@host/database`; None: `decisions.sqlite` of the home."""
    leases: str | None = None
    """Where workers on several machines agree who writes, `postgresql://user@host/database`; None: locks of files, which
    hold on one machine."""
    ground_truth_library: str | None = None
    """The library whose files the ground truth names."""
    watched: dict[str, str] = {}
    """Library -> the absolute path, or the URL on an object store, of the folder that a sensor looks at."""
    excluded: dict[str, tuple[str, ...]] = {}
    """Library -> gitignore's patterns of what is passed over in it."""
    exports: dict[str, ExportSettings] = {}
    """Format -> how it is written, again whenever a run has changed what it says."""
    settle_seconds: float = Field(default=20, ge=0)
    """How long the files of a watched folder must stay as they are before it is run."""

    @field_validator(*_URLS)
    @classmethod
    def _is_on_a_server(cls, at: str | None, info: ValidationInfo) -> str | None:
        url = urlsplit(at or "postgresql://")
        if url.scheme != "postgresql":
            raise ValueError(
                "this is no postgresql://user@host/database; leave it out to have them in the home"
            )
        if url.password:
            variable = _URLS[info.field_name or ""]
            raise ValueError(f"keep the password out of this file: give the whole URL in {variable}")
        return at

    @field_validator("lake")
    @classmethod
    def _is_on_a_store(cls, lake: str | None) -> str | None:
        return None if lake is None else str(ObjectPath.parse(lake))
