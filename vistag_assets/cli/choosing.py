"""What a home works with: checked before any work, and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vistag_assets.cli.common import UsageError
from vistag_assets.cli.vocabulary import tell_what_was_mended

if TYPE_CHECKING:
    from resources.home import Home, Settings


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the command line says of the vocabulary; what it does not say stays as the home has it."""

    taxonomy: str | None = None
    facets: Path | None = None
    languages: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None

    def changes(self) -> dict[str, Any]:
        """Fields of the settings. Another vocabulary forgets what was said of the last."""
        found: dict[str, Any] = {}
        if self.taxonomy:
            place = "starter" if self.taxonomy == "starter" else str(Path(self.taxonomy).resolve())
            found = {"taxonomy": place, "facets": None, "languages": (), "columns": {}, "labels": "all"}
        if self.facets:
            found["facets"] = str(self.facets.resolve())
        if self.languages:
            found["languages"] = self.languages
        if self.columns:
            found["columns"] = dict(self.columns)
        if self.labels:
            if self.labels not in ("all", "pref"):
                raise UsageError(f"--labels is all or pref, not {self.labels}")
            found["labels"] = self.labels
        return found


STARTER_OR_THE_LAST = Vocabulary()


def choose(
    home: Home,
    tier: str | None,
    vocabulary: Vocabulary = STARTER_OR_THE_LAST,
    lake: str | None = None,
    excluded: Mapping[str, Sequence[str]] | None = None,
    flags: str | None = None,
) -> Settings:
    """Check what was chosen before any work, and remember it in the home."""
    from resources.home import read_settings, write_settings
    from resources.models.checkpoints import make_model
    from resources.models.tiers import SUFFIXES
    from resources.workspace import Workspace, chosen_tier, require_card
    from vistag_assets.tags.flag_policy import read_policy

    settings = read_settings(home)
    changes: dict[str, Any] = {}
    if not (tier or "tier" in settings.model_fields_set):
        tier = _default_tier()
    if tier:
        changes["tier"] = str(Path(tier).resolve()) if tier.endswith(SUFFIXES) else tier
    changes |= vocabulary.changes()
    if lake:
        changes["lake"] = _empty_place(home, lake)
    if excluded:
        changes["excluded"] = {**settings.excluded, **{name: tuple(said) for name, said in excluded.items()}}
    if flags:
        changes["flags"] = None if flags == "none" else str(Path(flags).resolve())
    settings = settings.model_copy(update=changes)
    chosen = chosen_tier(settings)
    require_card(chosen)
    taxonomy = Workspace(home, settings, chosen).taxonomy
    if vocabulary != STARTER_OR_THE_LAST and settings.taxonomy not in (None, "starter"):
        tell_what_was_mended(Path(settings.taxonomy), taxonomy)
    if chosen.flags:
        read_policy(Path(chosen.flags), taxonomy)
    make_model(chosen.encoder, chosen.device)
    write_settings(home, settings)
    return settings


def _default_tier() -> str:
    """Said in a line, because another may be better."""
    from resources.models.tiers.default import default_tier
    from vistag_assets.cli import console

    chosen = default_tier()
    console.say(chosen.why)
    return chosen.name


def _empty_place(home: Home, url: str) -> str:
    """Where the lake is to be, if that is where it is or there is none yet."""
    from resources.object_store import ObjectPath

    chosen, before = ObjectPath.parse(url), home.lake.root
    if before != chosen and before.is_dir():
        raise UsageError(
            f"This home has its lake in {before}. Give another home, or copy that lake to {chosen} and set "
            f"lake in {home.root / 'settings.json'}"
        )
    return str(chosen)
