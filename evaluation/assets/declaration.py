"""What every asset of the evaluation is declared with."""

from typing import Any

import pyarrow as pa

from resources.metadata import OWNERS, column_schema

TAGS_OF_THE_BAND = "tags of the band"


def declared(*kinds: str, version: str, schema: pa.Schema | None = None, **columns: str) -> dict[str, Any]:
    """Arguments of `dagster.asset` or `dagster.AssetSpec`.

    Args:
        kinds: beside parquet, that of a table.
        schema: of the table; None for an asset that is none.
        columns: what a column means in this table only.
    """
    return {
        "group_name": "evaluation",
        "owners": OWNERS,
        "code_version": version,
        "kinds": {*kinds, *(["parquet"] if schema else [])},
        "metadata": column_schema(schema, **columns) if schema else {},
    }
