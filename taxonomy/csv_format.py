"""A vocabulary as CSV: one concept a row, lists separated by ``|``."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from taxonomy.concept import Concept
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError, read_text
from taxonomy.validation import Draft

COLUMNS = ("id", "pref_label", "alt_labels", "facet", "broader", "definition")


def read_csv(path: Path) -> tuple[list[Draft], list[Flaw]]:
    """The concepts of a file, and its broken rows. Raises TaxonomyError when the header does not fit."""
    (_, header), *rows = _numbered_rows(path)
    header = [name.strip() for name in header]
    if missing := [name for name in COLUMNS if name not in header]:
        text = f"missing columns: {', '.join(missing)}; the first line must name {','.join(COLUMNS)}"
        raise TaxonomyError(path, [Flaw(1, text)])

    drafts: list[Draft] = []
    flaws: list[Flaw] = []
    for line, cells in rows:
        if len(cells) == len(header):
            drafts.append(Draft(_concept(dict(zip(header, cells, strict=True))), line))
        else:
            text = f"has {len(cells)} cells, the header has {len(header)}; quote cells that hold a comma"
            flaws.append(Flaw(line, text))
    return drafts, flaws


def to_csv(taxonomy: Taxonomy) -> str:
    """The vocabulary as CSV text, sorted by id."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for concept in taxonomy.concepts:
        alt_labels, broader = "|".join(concept.alt_labels), "|".join(concept.broader)
        row = (concept.id, concept.pref_label, alt_labels, concept.facet, broader, concept.definition)
        writer.writerow(row)
    return text.getvalue()


def _numbered_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, each with the line it starts at (a quoted cell may span lines)."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise TaxonomyError(path, [Flaw(line, f"not valid CSV: {error}")]) from error


def _concept(row: dict[str, str]) -> Concept:
    cell = {column: row[column].strip() for column in COLUMNS}
    return Concept(
        id=cell["id"],
        pref_label=cell["pref_label"],
        alt_labels=_split(cell["alt_labels"]),
        facet=cell["facet"],
        broader=_split(cell["broader"]),
        definition=cell["definition"],
    )


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split("|")) if cell else ()
