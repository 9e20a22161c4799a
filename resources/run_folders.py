"""Which folders a Dagster run works on, and that no two work on one at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.workbench import VistagResource

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


class RunResource(VistagResource):
    """The home, for as long as a run lasts: of two runs on one folder the second waits here for the first to end.

    The stages of one would otherwise read what the other has half done.
    """

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[VistagResource]:
        run, instance = context.run, context.instance
        if run is None or instance is None:  # a sensor
            yield self
            return

        def say_waiting() -> None:
            if context.log:
                context.log.warning(
                    "Another run is at work on folders of this one: it goes on when that has ended."
                )

        with self.resolve_home().working_on(folders_of(run, instance), say_waiting):
            yield self
