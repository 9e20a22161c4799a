"""Named columns of a CSV file, as text."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from evaluation.readers.tables import Origin, UnusableFile

ROW = "row {}"
FIRST_ROW = 2
"""Rows are counted as a spreadsheet does: the header is row 1."""


def header_of(head: str) -> frozenset[str]:
    """The names in the first line of a CSV file."""
    return frozenset(name.strip().strip('"') for name in head.split("\n", 1)[0].split(","))


def read_columns(
    path: Path, fields: Mapping[str, str], optional: frozenset[str] = frozenset()
) -> tuple[pa.Table, Origin]:
    """The columns of `fields` (our name -> the file's) as strings, with `row` in front.

    Raises UnusableFile for a file that is no CSV with a header, or lacks a column that is not optional.
    """
    try:
        with csv.open_csv(path) as reader:
            names = reader.schema.names
        missing = [name for ours, name in fields.items() if name not in names and ours not in optional]
        if missing:
            raise UnusableFile(
                f"{path}: its first row has no column {', '.join(missing)}, only {', '.join(names)}; "
                f"name the columns {', '.join(fields.values())}"
            )
        found = {ours: name for ours, name in fields.items() if name in names}
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in found.values()},
                include_columns=list(found.values()),
                strings_can_be_null=False,
            ),
        )
    except OSError as error:
        raise UnusableFile(f"{path}: cannot be read ({error.strerror}); give a CSV file") from error
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UnusableFile(f"{path}: cannot be read as CSV: {error}") from error
    row = pa.array(np.arange(table.num_rows) + FIRST_ROW, pa.int64())
    return table.rename_columns(list(found)).add_column(0, "row", row), Origin(path, ROW, found)
