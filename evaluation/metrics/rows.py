"""Figures as rows of a table, and tables among figures as rows of JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
from pydantic_core import core_schema


def as_row(figure: Any) -> dict[str, Any]:
    """The fields of a figure as columns, `ci95` as `ci95_low` and `ci95_high`; null where there is no interval."""
    row = {field.name: getattr(figure, field.name) for field in fields(figure)}
    ci95 = row.pop("ci95")
    return {**row, "ci95_low": ci95 and ci95.low, "ci95_high": ci95 and ci95.high}


def figure_table(figures: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """A row a figure; its fields are the columns of the schema, which may leave some out."""
    return pa.Table.from_pylist([*map(as_row, figures)], schema=schema)


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """Annotates the field of a dataclass that is a table of `schema`: pydantic writes it as a list of rows."""

    schema: pa.Schema

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda rows: pa.Table.from_pylist(rows, schema=self.schema),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda table: table.to_pylist()),
        )
