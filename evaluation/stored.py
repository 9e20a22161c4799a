"""Figures in the lake: each asset of the evaluation computes its part once, every view of it reads it here.

They lie as JSON in a note in the file of the asset's table, beside its rows: both are replaced in one instant.
"""

from __future__ import annotations

from typing import TypeVar

import pyarrow as pa
from pydantic import TypeAdapter

from evaluation.from_lake import EvaluationError
from resources.lake import Lake
from resources.lake.notes import NOTE_PREFIX

_FIGURES = NOTE_PREFIX + b"figures"

Kind = TypeVar("Kind")


def with_figures(rows: pa.Table, kind: type[Kind], figures: Kind) -> pa.Table:
    """The rows with the figures that they are a view of; `kind`: a dataclass, or a type made of some."""
    return rows.replace_schema_metadata({_FIGURES: TypeAdapter(kind).dump_json(figures)})


def figures_of(rows: pa.Table, kind: type[Kind]) -> Kind | None:
    """What `with_figures` put there; None where nobody did."""
    note = (rows.schema.metadata or {}).get(_FIGURES)
    return None if note is None else TypeAdapter(kind).validate_json(note)


def stored_figures(lake: Lake, table: str, kind: type[Kind]) -> Kind:
    """The figures of a table without partitions.

    Raises:
        MissingPartition: there is no such table.
        EvaluationError: it is of a version that stored rows alone.
    """
    figures = figures_of(lake.read(table, columns=[]), kind)
    if figures is None:
        raise EvaluationError(
            f"{lake.data_file(table)} was written by an older version and holds no figures for a report. "
            "Evaluate again: vistag run FOLDER --ground-truth FILE"
        )
    return figures
