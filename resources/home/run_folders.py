"""Which folders a Dagster run works on."""

from __future__ import annotations

import dagster as dg

FOLDERS = "folder"
"""The name of the dynamic partitions: one a folder."""
_PARTITION = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags by which a run takes the partitions from `first` to `last`, in Dagster's order."""
    return {_FIRST: first, _LAST: last}


def folders_of(run: dg.DagsterRun, instance: dg.DagsterInstance) -> list[str]:
    """The partition keys of a run; none where it is of assets without partitions."""
    if _PARTITION in run.tags:
        return [run.tags[_PARTITION]]
    if _FIRST not in run.tags:
        return []
    ordered = list(instance.get_dynamic_partitions(FOLDERS))
    return ordered[ordered.index(run.tags[_FIRST]) : ordered.index(run.tags[_LAST]) + 1]
