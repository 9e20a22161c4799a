"""What a home works with: checked before any work, and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vistag_assets.cli.common import UsageError

if TYPE_CHECKING:
    from resources.home import Home, Settings


def choose(
    home: Home,
    tier: str | None,
    taxonomy: str | None = None,
    facets: Path | None = None,
    lake: str | None = None,
    excluded: Mapping[str, Sequence[str]] | None = None,
) -> Settings:
    """Check what was chosen before any work, and remember it in the home. Another vocabulary forgets the facets."""
    from resources.home import read_settings, write_settings
    from resources.models.checkpoints import make_model
    from resources.models.tiers import load_tier
    from resources.workspace import Workspace, require_card

    settings = read_settings(home)
    changes: dict[str, Any] = {}
    if not (tier or "tier" in settings.model_fields_set):
        tier = _default_tier()
    if tier:
        changes["tier"] = str(Path(tier).resolve()) if tier.endswith((".yaml", ".yml")) else tier
    if taxonomy:
        changes["taxonomy"] = "starter" if taxonomy == "starter" else str(Path(taxonomy).resolve())
        changes["facets"] = None
    if facets:
        changes["facets"] = str(facets.resolve())
    if lake:
        changes["lake"] = _empty_place(home, lake)
    if excluded:
        changes["excluded"] = {**settings.excluded, **{name: tuple(said) for name, said in excluded.items()}}
    settings = settings.model_copy(update=changes)
    chosen = load_tier(settings.tier)
    require_card(chosen)
    _ = Workspace(home, settings, chosen).taxonomy
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
