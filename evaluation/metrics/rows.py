"""Figures as rows of a table, and tables among figures as rows of JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
from pydantic_core import core_schema


def as_row(figure: Any) -> dict[str, Any]:
    """The fields of a figure as columns, an interval `ci95` as `ci95_low` and `ci95_high`, null where there is none."""
    row: dict[str, Any] = {}
    for field in fields(figure):
        value = getattr(figure, field.name)
        if field.name.endswith("ci95"):
            row |= {f"{field.name}_{end}": value and getattr(value, end) for end in ("low", "high")}
        else:
            row[field.name] = value
    return row


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
