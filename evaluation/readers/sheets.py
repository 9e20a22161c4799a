"""Tables of named columns as text, from CSV, Parquet or flat JSON Lines: the same to whoever reads columns.

A file may be compressed (gzip), begin with a byte order mark, be UTF-16 as spreadsheets write it, and part its columns
with commas, semicolons or tabs.
"""

import csv
import errno
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from evaluation.readers.tables import Origin, UnusableFile
from taxonomy.bounded import GZIP, read_bounded, unpacked, unpacked_start

ROW, LINE = "row {}", "line {}"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_PARQUET = b"PAR1"
_BLANK_LINE = re.compile(rb"\A\s*[\r\n]|\n[ \t]*\r?\n")
_BLANK_LINES = re.compile(rb"(?m)^ +\r?$\n?")
_DECIMAL_COMMA = r"^\s*(-?\d+),(\d+)\s*$"


@dataclass(frozen=True, slots=True)
class Sheet:
    """Chosen columns as strings, by our names, with `row` in front: the number that the file's row goes by."""

    table: pa.Table
    origin: Origin
    remarks: tuple[str, ...] = ()

    @property
    def row(self) -> NDArray[np.int64]:
        return self.table["row"].to_numpy()


def raw_content_of(path: Path) -> bytes:
    """The bytes of a file, unpacked. Raises OSError."""
    raw = read_bounded(path)
    return unpacked(raw) if raw[:2] == GZIP else raw


def content_of(path: Path) -> bytes:
    """The text of a file as UTF-8, unpacked, without a byte order mark. Raises OSError."""
    raw = raw_content_of(path)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            raw = raw.decode("utf-16").encode()
        except UnicodeError as error:
            raise OSError(errno.EILSEQ, f"it begins as UTF-16 and is none ({error})") from error
    return raw.removeprefix(b"\xef\xbb\xbf")


def parsed_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError where it is none, or nests too deep to be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def head_of(path: Path, size: int) -> str:
    """The beginning of the text of a file. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        raw = unpacked_start(file, size) if start == GZIP else file.read(size)
    return raw.decode("utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")


def is_parquet(head: str) -> bool:
    return head.startswith(_PARQUET.decode())


def header_of(path: Path, head: str) -> frozenset[str]:
    """The names of the columns in lower case: of the first line that is not blank, or of a Parquet file."""
    if is_parquet(head):
        try:
            return frozenset(name.lower() for name in parquet.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise UnusableFile(f"{path}: is no whole Parquet file ({error})") from error
    if head.lstrip()[:1] == "{":
        return _first_keys(head)
    return frozenset(name.lower() for name in _header(head)[0])


def read_sheet(
    path: Path, fields: Mapping[str, Sequence[str]], optional: frozenset[str] = frozenset()
) -> Sheet:
    """The columns of `fields` (our name -> the names that a file may give it) as strings.

    Rows in which all of them are empty are left out, and so are repeated headers, which are remarked.

    Raises UnusableFile for a file that is no table with a header, lacks a column that is not optional, or gives one
    twice.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(4) == _PARQUET
        if packed or head_of(path, 4096).lstrip()[:1] == "{":
            return _read_records(path, fields, optional, packed)
        return _read_csv(path, fields, optional)
    except OSError as error:
        raise UnusableFile(f"{path}: cannot be read ({error.strerror or error}); give a CSV file") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile(f"{path}: cannot be read as CSV: {error}") from error


def _read_csv(path: Path, fields: Mapping[str, Sequence[str]], optional: frozenset[str]) -> Sheet:
    content = content_of(path)
    row_bytes, content = content, _BLANK_LINES.sub(b"", content.lstrip(b"\r\n "))
    text = content[: 64 * 1024].decode("utf-8", errors="replace")
    names, separator = _header(text)
    found = _chosen(path, names, fields, optional)
    table = arrow_csv.read_csv(
        pa.BufferReader(content),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, delimiter=separator),
        read_options=arrow_csv.ReadOptions(
            column_names=[str(n) for n in range(len(names))], skip_rows_after_names=1
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={str(index): pa.string() for index in found.values()},
            include_columns=[str(index) for index in found.values()],
            strings_can_be_null=False,
        ),
    ).rename_columns(list(found))
    row = _row_numbers(row_bytes, separator, table.num_rows)
    named = {ours: names[index] for ours, index in found.items()}
    remarks = (
        () if separator == "," else (f"{path.name}: its columns are parted by {SEPARATORS[separator]}.",)
    )
    table = table.add_column(0, "row", pa.array(row))
    if separator != ",":
        table = pa.table({name: _decimal_points(table[name]) for name in table.column_names})
    return _without_headers(Sheet(table, Origin(path, ROW, named), remarks))


def _read_records(
    path: Path, fields: Mapping[str, Sequence[str]], optional: frozenset[str], packed: bool
) -> Sheet:
    """Parquet, or JSON Lines of flat objects."""
    source = "read_parquet($path)" if packed else "read_json($path, format = 'newline_delimited')"
    try:
        with duckdb.connect() as sql:
            given = sql.sql(f"from {source}", params={"path": str(path)})
            found = _chosen(path, given.columns, fields, optional)
            named = {ours: given.columns[index] for ours, index in found.items()}
            columns = ", ".join(f'{_as_text(given, name)} as "{ours}"' for ours, name in named.items())
            rows = sql.sql(f"select {columns} from {source}", params={"path": str(path)}).to_arrow_table()
    except duckdb.Error as error:
        raise UnusableFile(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from error
    filled = [pc.fill_null(rows[name], "") for name in rows.column_names]
    row = pa.array(np.arange(1, rows.num_rows + 1))
    origin = Origin(path, ROW if packed else LINE, named)
    return _without_headers(Sheet(pa.table([row, *filled], names=["row", *found]), origin))


def _as_text(given: duckdb.DuckDBPyRelation, name: str) -> str:
    """A column as text: lists as JSON, the pictures of a data set by their path."""
    kind = str(given.types[given.columns.index(name)])
    column = '"' + name.replace('"', '""') + '"'
    if kind.startswith("STRUCT") and '"path"' in kind.replace(" path ", ' "path" ').replace(
        "(path ", '("path" '
    ):
        return f"{column}.path"
    return f"to_json({column})::varchar" if kind.endswith("]") else f"{column}::varchar"


def _first_keys(head: str) -> frozenset[str]:
    try:
        first = parsed_json(head.strip().split("\n", 1)[0])
    except ValueError:
        return frozenset()
    return frozenset(key.lower() for key in first) if isinstance(first, dict) else frozenset()


def _chosen(
    path: Path, names: Sequence[str], fields: Mapping[str, Sequence[str]], optional: frozenset[str]
) -> dict[str, int]:
    """Our name -> which column of the file it is."""
    folded = [name.lower() for name in names]
    found = {
        ours: folded.index(first)
        for ours, accepted in fields.items()
        if (first := next((name.lower() for name in accepted if name.lower() in folded), None))
    }
    missing = [accepted[0] for ours, accepted in fields.items() if ours not in found and ours not in optional]
    if missing:
        raise UnusableFile(
            f"{path}: its first row has no column {', '.join(missing)}, only {', '.join(names)}; "
            f"name the columns {', '.join(accepted[0] for accepted in fields.values())}"
        )
    counts = Counter(folded)
    repeated = [names[index] for index in found.values() if counts[folded[index]] > 1]
    if repeated:
        raise UnusableFile(
            f"{path}: its first row gives the column {', '.join(repeated)} more than once; keep the one that is meant"
        )
    return found


def _header(text: str) -> tuple[list[str], str]:
    """The names in the first line that is not blank, and what parts them."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=line.count)
    cells = next(csv.reader(io.StringIO(line), delimiter=separator), [])
    return [cell.strip() for cell in cells], separator


def _row_numbers(content: bytes, separator: str, rows: int) -> NDArray[np.int64]:
    """As a spreadsheet counts: the header is row 1 unless blank lines stand before it, and these count too."""
    if not _BLANK_LINE.search(content):
        return np.arange(rows) + 2
    lines = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), delimiter=separator)
    filled = [
        number for number, cells in enumerate(lines, start=1) if "".join(cells).strip() or len(cells) > 1
    ]
    return np.array(filled[1 : rows + 1], np.int64)


def _without_headers(sheet: Sheet) -> Sheet:
    """Without rows that say nothing, and without the headers that concatenated files have in the middle."""
    table, named = sheet.table, sheet.origin.fields
    alike = [pc.equal(table[ours], name) for ours, name in named.items()]
    empty = [pc.equal(table[ours], "") for ours in named]
    is_header, says_nothing = (_all(columns, table.num_rows) for columns in (alike, empty))
    if not (is_header | says_nothing).any():
        return sheet
    places = ", ".join(map(str, sheet.row[is_header][:5]))
    remark = f"{sheet.origin.path.name}: row {places} repeats the header; left out."
    kept = table.filter(pa.array(~(is_header | says_nothing)))
    return Sheet(kept, sheet.origin, (*sheet.remarks, *((remark,) if is_header.any() else ())))


def _all(columns: Sequence[pa.ChunkedArray], rows: int) -> NDArray[np.bool_]:
    return np.logical_and.reduce([column.to_numpy() for column in columns], initial=rows > 0)


def _decimal_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where commas do not part columns they may stand in numbers."""
    return (
        pc.replace_substring_regex(column, _DECIMAL_COMMA, r"\1.\2") if column.type == pa.string() else column
    )
