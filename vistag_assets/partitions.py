"""One partition a folder; a run takes as many as it is given, so that a model is loaded once."""

import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg

from resources.home.run_folders import FOLDERS, range_tags

__all__ = ["FOLDERS", "PER_FOLDER", "TAG_FOLDERS", "add_folders", "folder_partitions", "range_tags"]

# Every decorator below would repeat it; the policy is what keeps many folders in one run.
warnings.filterwarnings("ignore", message=r".*`backfill_policy`.*", category=dg.BetaWarning)

folder_partitions = dg.DynamicPartitionsDefinition(name=FOLDERS)
PER_FOLDER: dict[str, Any] = {
    "partitions_def": folder_partitions,
    # A job over assets of different policies silently takes the smallest range: one policy for all.
    "backfill_policy": dg.BackfillPolicy.single_run(),
}
EVALUATE = "evaluate"
"""The job that holds tags against ground truth."""
EXPORT = "export"
"""The job that writes the files of other programs."""
TAG_FOLDERS = "tag_folders"
"""The job that takes folders from images to tags."""
READ_AGAIN = "vistag/read_again"
"""The tag of a run that also reads the files that look as they did."""
EVALUATION_POOL = "evaluation"
"""The pool of the assets of an evaluation: two at a time would mix their tables."""
PREVIEWED_FOLDERS = 20
"""Folders of one run whose metadata shows pictures."""
PREVIEWED_IMAGES = 4
# SQLite refuses a statement with some tens of thousands of keys.
_KEYS_A_STATEMENT = 1000


def add_folders(instance: dg.DagsterInstance, keys: Sequence[str]) -> list[str]:
    """Make partitions of those keys that are none yet; returns all partitions in Dagster's order."""
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        instance.add_dynamic_partitions(FOLDERS, keys[start : start + _KEYS_A_STATEMENT])
    return list(instance.get_dynamic_partitions(FOLDERS))
