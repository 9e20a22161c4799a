"""Rows of the lake as JSON: a model of each table, made of its definition."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, Field, create_model

from resources.tables import TABLES

_TYPES = (
    (pa.types.is_string, str),
    (pa.types.is_integer, int),
    (pa.types.is_floating, float),
    (pa.types.is_boolean, bool),
)


@cache
def row_model(table: str, *without: str) -> type[BaseModel]:
    """A model of the rows of a table, but for some columns. What is not known is null."""
    columns = {
        _attribute(column.name): (
            _python_type(column.name, column.type) | None,
            Field(None, alias=column.name, description=column.meaning),
        )
        for column in TABLES[table].columns
        if column.name not in without
    }
    return create_model(f"{table}_row", __doc__=TABLES[table].about, **columns)  # type: ignore[call-overload]


def answer_model(name: str, image: type[BaseModel], tables: tuple[str, ...]) -> type[BaseModel]:
    """A picture, and its rows in some tables; a table that the tier has no model for is absent."""
    rows = {
        table: (list[row_model(table)] | None, Field(None, description=TABLES[table].about))  # type: ignore[misc]
        for table in tables
    }
    return create_model(name, image=(image, ...), **rows)  # type: ignore[call-overload]


def _attribute(column: str) -> str:
    """The name of a column as one of a model, which has names of its own."""
    return f"{column}_" if hasattr(BaseModel, column) else column


def _python_type(name: str, kind: pa.DataType) -> Any:
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return list[_python_type(name, kind.value_type)]  # type: ignore[misc]
    if pa.types.is_struct(kind):
        fields = {field.name: (_python_type(field.name, field.type) | None, None) for field in kind}
        return create_model(f"{name}_item", **fields)  # type: ignore[call-overload]
    return next(of for is_of, of in _TYPES if is_of(kind))
