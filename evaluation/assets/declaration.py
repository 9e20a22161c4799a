"""One way to make an asset of the evaluation: what it reads, and a function from the workspace to the rows it keeps."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.metadata import OWNERS, column_schema
from resources.tables import TABLES
from resources.workspace import VistagResource
from vistag_assets.failures import told_first
from vistag_assets.partitions import EVALUATION_POOL


@dataclass(frozen=True, slots=True)
class Made:
    """The rows of each table of an asset, and what Dagster shows beside their number."""

    rows: Mapping[str, pa.Table]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def declared(table: str, version: int, kinds: Set[str] = frozenset()) -> dict[str, Any]:
    """What Dagster is told of the asset of a table: arguments of `dagster.asset` and `dagster.AssetSpec`."""
    return {
        "description": TABLES[table].about,
        "metadata": column_schema(TABLES[table]),
        "group_name": TABLES[table].group,
        "kinds": {"parquet", *kinds},
        "owners": OWNERS,
        "code_version": str(version),
    }


def evaluation_asset(
    *tables: str, reads: Iterable[str], version: int, kinds: Set[str] = frozenset()
) -> Callable[[Callable[..., Made]], dg.AssetsDefinition]:
    """The assets of these tables, which are made together and replaced whole.

    The decorated function gets the `Workspace`, and Dagster's `context` if it has a parameter of that name.

    reads: the tables that it reads, and no others: the lineage. version: to be raised when other rows would be made of
    the same tables. kinds: what it is made with, for Dagster's UI.
    """
    specs = [dg.AssetSpec(table, deps=[*reads], **declared(table, version, kinds)) for table in tables]

    def declare(make: Callable[..., Made]) -> dg.AssetsDefinition:
        takes_context = "context" in signature(make).parameters

        @dg.multi_asset(name=make.__name__, specs=specs, pool=EVALUATION_POOL)
        def asset(
            context: dg.AssetExecutionContext, vistag: VistagResource
        ) -> Iterator[dg.MaterializeResult[None]]:
            with told_first():
                workspace = vistag.open()
                made = make(workspace, context) if takes_context else make(workspace)
                for table, rows in made.rows.items():
                    workspace.lake.write(table, rows)
                    counts = {"dagster/row_count": rows.num_rows, "tier": workspace.tier.name}
                    yield dg.MaterializeResult(table, metadata={**counts, **made.metadata})

        return asset

    return declare
