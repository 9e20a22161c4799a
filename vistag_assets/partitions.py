"""One partition a folder; a run takes as many as it is given, so that a model is loaded once."""

import warnings
from typing import Any

import dagster as dg

# Every decorator below would repeat it; the policy is what keeps many folders in one run.
warnings.filterwarnings("ignore", message=r".*`backfill_policy`.*", category=dg.BetaWarning)

FOLDERS = "folder"
folder_partitions = dg.DynamicPartitionsDefinition(name=FOLDERS)
PER_FOLDER: dict[str, Any] = {
    "partitions_def": folder_partitions,
    # A job over assets of different policies silently takes the smallest range: one policy for all.
    "backfill_policy": dg.BackfillPolicy.single_run(),
}
PREVIEWED_FOLDERS = 20
"""Folders of one run whose metadata shows pictures."""
PREVIEWED_IMAGES = 4
