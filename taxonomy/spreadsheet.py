"""A vocabulary as a spreadsheet: one concept a row, as CSV of any separator that spreadsheets save.

What is written has the columns of `COLUMNS`, lists separated by ``|``. Read are other people's files too: headings in
the languages of `HEADINGS`, or as told; several rows a concept; parents by their labels.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from taxonomy.concept import Concept, Translation
from taxonomy.drafts import Draft, Reading
from taxonomy.languages import by_language, choose, plain_tag
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError, read_foreign_text, slug, unique

COLUMNS = ("id", "pref_label", "alt_labels", "facet", "broader", "definition")
MORE_COLUMNS = ("iri", "notation", "exact_match", "close_match", "hidden_labels")
"""Written where a concept has any."""
HEADINGS: Mapping[str, str] = {
    "id": "id identifier conceptid termid nr number nummer numero",
    "iri": "iri uri url conceptiri concepturi subject",
    "pref_label": "preflabel preferredlabel preferredterm label term name concept keyword descriptor heading title "
    "bezeichnung begriff vorzugsbenennung schlagwort deskriptor benennung trefwoord voorkeursterm naam terme libelle "
    "descripteur motcle termino termine etichetta",
    "alt_labels": "altlabel altlabels synonym synonyms alternativelabel alternativelabels alternativeterm variants variant "
    "alias aliases usedfor uf nonpreferredterm nonpreferredterms synonyme synoniem synoniemen sinonimo sinonimos",
    "facet": "facet facette",
    "broader": "broader broaderterm broaderterms parent parents parentid parentterm bt oberbegriff bovenliggendeterm "
    "genericterm termegenerique",
    "definition": "definition scopenote description note beschreibung omschrijving definitie erlauterung",
    "notation": "notation code signatur classnumber",
    "exact_match": "exactmatch sameas wikidata aat aatid iconclass",
    "close_match": "closematch",
    "hidden_labels": "hiddenlabel hiddenlabels misspelling misspellings",
}  # fmt: skip
"""Field -> headings that are read as it, in lower case and without signs."""
_MOST_NAMED = 30
_SINGLE = ("id", "pref_label")
DELIMITERS = ",;\t"
_COLUMN_OF = {heading: field for field, known in HEADINGS.items() for heading in known.split()}
_TAGGED = re.compile(
    r"(.{1,99}?)\s{0,9}[@:(\[]\s{0,9}([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3})\s{0,9}[)\]]?"
)
"""pref_label@nl, term (nl), label:nl"""
_OWN_BETWEEN, _ANY_BETWEEN = re.compile(r"\|"), re.compile(r"[|;]")
"""Between the values of a cell."""
_SIGNS = re.compile(r"[\W_]+")
_IRI = re.compile(r"(?:https?|urn|info):\S+")


def read_spreadsheet(path: Path, columns: Mapping[str, str], languages: Sequence[str]) -> Reading:
    """The concepts of a file. `columns`: heading -> field, where it is not to be guessed.

    Raises TaxonomyError where no column holds the labels.
    """
    text, flaws = read_foreign_text(path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    delimiter = _delimiter(text, columns)
    (_, header), *rows = _numbered_rows(path, text, delimiter)
    fields = _fields(path, [heading.strip() for heading in header], columns)
    own = set(COLUMNS) <= {field for field, _ in fields}
    between = _OWN_BETWEEN if own or delimiter == ";" else _ANY_BETWEEN
    drafts: list[Draft] = []
    for line, cells in rows:
        if len(cells) != len(header):
            how = f"has {len(cells)} cells, the header has {len(header)}; quote cells that hold a comma"
            flaws.append(Flaw(line, how.replace("a comma", _NAMES[delimiter]), "row"))
        cell = [(field, tag, text.strip()) for (field, tag), text in zip(fields, cells, strict=False)]
        concept = _concept(cell, between, languages)
        if concept.labels != ("",) or concept.id:
            drafts.append(Draft(concept, line))
    return Reading(list(_with_ids(drafts)), flaws)


_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def to_csv(taxonomy: Taxonomy) -> str:
    """The vocabulary as CSV text, sorted by id."""
    more = [name for name in MORE_COLUMNS if any(getattr(concept, name) for concept in taxonomy.concepts)]
    tags = sorted({tag for concept in taxonomy.concepts for tag in _labels_of(concept)} - {""})
    tagged = [f"{field}@{tag}" for tag in tags for field in ("pref_label", "alt_labels")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *more, *tagged))
    for concept in taxonomy.concepts:
        labels = _labels_of(concept)
        pref, alt = labels.get("", ("", ()))
        cells = [
            concept.id,
            pref,
            "|".join(alt),
            concept.facet,
            "|".join(concept.broader),
            concept.definition,
        ]
        cells += [
            value if isinstance(value := getattr(concept, name), str) else "|".join(value) for name in more
        ]
        for tag in tags:
            pref, alt = labels.get(tag, ("", ()))
            cells += [pref, "|".join(alt)]
        writer.writerow(cells)
    return text.getvalue()


def _labels_of(concept: Concept) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Language tag -> preferred and alternative labels; "" for those shown, where they are English."""
    found = {t.language or "und": (t.pref_label, t.alt_labels) for t in concept.translations}
    return found | {concept.language: (concept.pref_label, concept.alt_labels)}


def _delimiter(text: str, columns: Mapping[str, str]) -> str:
    """The separator by which the first line has most headings that are known, else most cells."""
    first = text.lstrip("\n ").split("\n", 1)[0]

    def cells(delimiter: str) -> tuple[int, int]:
        headings = [heading.strip(' "') for heading in first.split(delimiter)]
        return sum(_field(heading, columns) is not None for heading in headings), len(headings)

    return max(DELIMITERS, key=cells)


def _numbered_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, each with the line it starts at (a quoted cell may span lines)."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise TaxonomyError(path, [Flaw(line, f"not valid CSV: {error}")]) from error


def _fields(path: Path, header: Sequence[str], columns: Mapping[str, str]) -> list[tuple[str | None, str]]:
    """Field and language tag of each column; None for one that is not read. A file of one column is a list of labels."""
    if unknown := [heading for heading in columns if heading not in header]:
        named = ", ".join(header)
        raise TaxonomyError(path, [Flaw(1, f"has no column {', '.join(unknown)}; its columns are {named}")])
    if no_fields := sorted({field.partition("@")[0] for field in columns.values()} - set(HEADINGS)):
        known = ", ".join(HEADINGS)
        raise TaxonomyError(path, [Flaw(1, f"{', '.join(no_fields)} is no field; the fields are {known}")])
    found: list[tuple[str | None, str]] = [_field(heading, columns) or (None, "") for heading in header]
    # a column that bears the field's own name comes before another that would be read as it
    plain = {each for each, heading in zip(found, header, strict=True) if _is_plain(heading, columns)}
    found = [
        (None, "") if each in plain and each[0] in _SINGLE and not _is_plain(heading, columns) else each
        for each, heading in zip(found, header, strict=True)
    ]
    if not any(field == "pref_label" for field, _ in found):
        named = ", ".join(header[:_MOST_NAMED]) + (", …" if len(header) > _MOST_NAMED else "")
        advice = (
            f"no column is known to hold the labels; say which: --column HEADING=pref_label. The columns are "
            f"{named}, the fields {', '.join(HEADINGS)}"
        )
        raise TaxonomyError(path, [Flaw(1, advice)])
    return found


def _is_plain(heading: str, columns: Mapping[str, str]) -> bool:
    return heading in HEADINGS or heading in columns


def _field(heading: str, columns: Mapping[str, str]) -> tuple[str, str] | None:
    if heading in columns:
        field, _, tag = columns[heading].partition("@")
        return field, plain_tag(tag)
    if heading in HEADINGS:
        return heading, ""
    tagged = _TAGGED.fullmatch(heading)
    for name, tag in ((heading, ""), (tagged[1], tagged[2]) if tagged else ("", "")):
        if known := _COLUMN_OF.get(_SIGNS.sub("", name.casefold())):
            return known, plain_tag(tag)
    return None


def _concept(
    cells: Sequence[tuple[str | None, str, str]], between: re.Pattern[str], languages: Sequence[str]
) -> Concept:
    def of(field: str) -> str:
        return next((text for name, _, text in cells if name == field and text), "")

    def all_of(field: str) -> tuple[str, ...]:
        return tuple(part for name, _, text in cells if name == field for part in _split(text, between))

    pref = by_language((text, _as_tag(tag)) for name, tag, text in cells if name == "pref_label")
    alt = by_language(
        (part, _as_tag(tag))
        for name, tag, text in cells
        if name == "alt_labels"
        for part in _split(text, between)
    )
    shown = choose(pref, alt, languages)
    iri = of("iri") or (of("id") if _IRI.fullmatch(of("id")) else "")
    empty = tuple("" for name, _, text in cells if name == "alt_labels" and "" in _split(text, between))
    return Concept(
        id="" if of("id") == iri else of("id"),
        pref_label=shown.pref_label if shown else "",
        alt_labels=(*(label for label in shown.alt_labels if label != shown.pref_label), *empty[:1])
        if shown
        else (),
        facet=of("facet"),
        broader=all_of("broader"),
        definition=of("definition"),
        language=shown.language if shown else "",
        translations=tuple(
            Translation(tag, pref.get(tag, [""])[0], tuple(alt.get(tag, ())))
            for tag in {*pref, *alt} - (shown.tags if shown else frozenset())
        ),
        iri=iri,
        notation=of("notation"),
        exact_match=all_of("exact_match"),
        close_match=all_of("close_match"),
        hidden_labels=all_of("hidden_labels"),
    )


def _as_tag(tag: str) -> str:
    return "" if tag == "und" else tag


def _split(cell: str, between: re.Pattern[str]) -> tuple[str, ...]:
    return tuple(part.strip() for part in between.split(cell)) if cell else ()


def _with_ids(drafts: Sequence[Draft]) -> Iterator[Draft]:
    """Rows without an id are called by the last part of their IRI, else by their label; links by IRI lead to ids."""
    taken = {draft.concept.id for draft in drafts if draft.concept.id}
    id_of: dict[str, str] = {}
    named: dict[tuple[str, ...], str] = {}
    found = list[Draft]()
    for draft in drafts:
        concept = draft.concept
        id_ = concept.id
        if not id_:
            # the same term below the same parent is the same concept: a row a synonym is common
            known = (concept.iri,) if concept.iri else (concept.pref_label.casefold(), *concept.broader)
            short = (
                re.split(r"[#/:]", concept.iri.rstrip("#/:"))[-1] if concept.iri else slug(concept.pref_label)
            )
            if known not in named:
                named[known] = unique(short or "unnamed", taken, [slug(parent) for parent in concept.broader])
                taken.add(named[known])
            id_ = named[known]
        if concept.iri:
            id_of[concept.iri] = id_
        found.append(draft.having(id=id_))
    for draft in found:
        links = tuple(id_of.get(parent, parent) for parent in draft.concept.broader)
        yield draft.having(broader=links)
