"""Assets whose model the tier does not name: they do nothing, and say so."""

from __future__ import annotations

from typing import Literal

import dagster as dg

from resources.metadata import row_count
from resources.models.tiers import Tier

Role = Literal["detector", "segmenter", "vlm", "ocr", "depth"]


def skipped(tier: Tier, role: Role) -> dg.MaterializeResult[None]:
    """What an asset returns where the tier names no model for its role."""
    reason = f"The tier {tier.name} names no {role}: add `{role}:` to its YAML file to have this asset"
    return dg.MaterializeResult(metadata={"tier": tier.name, "skipped": reason, **row_count(0)})
