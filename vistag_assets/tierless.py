"""Assets whose model the tier does not name: they do nothing, and say so."""

from __future__ import annotations

import dagster as dg

from resources.metadata import row_count
from resources.models.tiers import Tier


def skipped(tier: Tier, role: str) -> dg.MaterializeResult[None]:
    """What an asset returns where the tier names no model for its role (resources.models.roles)."""
    reason = f"The tier {tier.name} names no {role}: add `{role}:` to its YAML file to have this asset"
    return dg.MaterializeResult(metadata={"tier": tier.name, "skipped": reason, **row_count(0)})
