"""Assets whose model the tier does not name: they do nothing, and say so."""

from __future__ import annotations

from typing import Literal

import dagster as dg

from resources.tiers import Tier

Role = Literal["detector", "segmenter", "vlm", "ocr"]


def skipped(tier: Tier, role: Role) -> dg.MaterializeResult[None] | None:
    """What an asset returns where the tier names no model for its role; None where it does."""
    if getattr(tier, role) is not None:
        return None
    reason = f"The tier {tier.name} names no {role}: add `{role}:` to its YAML file to have this asset"
    return dg.MaterializeResult(metadata={"tier": tier.name, "skipped": reason})
