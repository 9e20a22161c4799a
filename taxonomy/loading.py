"""Vocabularies from files and to files, by suffix, and by what is in them where the suffix says nothing."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taxonomy.drafts import Draft, Reading
from taxonomy.facets import STARTER_FACETS, Facet, load_facets
from taxonomy.keyword_list import read_keyword_list, to_keyword_list
from taxonomy.languages import ENGLISH
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError
from taxonomy.rdf import SYNTAXES
from taxonomy.skos_reader import read_skos
from taxonomy.skos_writer import to_jsonld, to_rdf
from taxonomy.spreadsheet import read_spreadsheet, to_csv
from taxonomy.validation import concepts_of, mended

STARTER = Path(__file__).parent / "data" / "starter.csv"
FACETS_FILE = "facets.yaml"
"""Beside a vocabulary, what its facets are; `NAME.facets.yaml` for the one vocabulary NAME comes before it."""


@dataclass(frozen=True, slots=True)
class _How:
    """How a file is to be read."""

    facets: Collection[str]
    languages: Sequence[str]
    columns: Mapping[str, str]


_Reader = Callable[[Path, _How], Reading]


def _rdf(path: Path, how: _How) -> Reading:
    return read_skos(path, how.facets, how.languages)


def _spreadsheet(path: Path, how: _How) -> Reading:
    return read_spreadsheet(path, how.columns, how.languages)


def _keywords(path: Path, how: _How) -> Reading:
    return read_keyword_list(path)


READERS: Mapping[str, _Reader] = {
    ".csv": _spreadsheet, ".tsv": _spreadsheet, ".txt": _keywords, **dict.fromkeys(SYNTAXES, _rdf)
}  # fmt: skip
"""Suffix -> what reads it."""
WRITERS: Mapping[str, Callable[[Taxonomy], str]] = {
    ".csv": to_csv,
    ".jsonld": to_jsonld,
    ".txt": lambda taxonomy: to_keyword_list(taxonomy.concepts),
    **{suffix: to_rdf(SYNTAXES[suffix][0]) for suffix in (".ttl", ".rdf", ".nt", ".trig")},
}
"""Suffix -> what writes it."""


def load_taxonomy(
    path: Path,
    facets_path: Path | None = None,
    *,
    languages: Sequence[str] = ENGLISH,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    asked: Literal["all", "pref"] = "all",
) -> Taxonomy:
    """The vocabulary in a file: SKOS in any syntax of RDF, a spreadsheet (.csv, .tsv), a keyword list (.txt).

    Its facets are described by `facets_path`, else by a NAME.facets.yaml or a facets.yaml beside it, else by the
    starter's. A facet that is not described has the defaults; a concept without a facet is of the first one described.
    Labels are shown in the first of `languages` that a concept has. `columns` says which heading of a spreadsheet is
    which field. What is not as it should be is mended and stands in the vocabulary's `flaws`.

    Raises TaxonomyError, whose message has a ``file:line: problem`` for everything that makes the file unusable, and
    with `strict` for all that would be mended.
    """
    facets = load_facets(facets_path or facets_beside(path))
    reading = _reader(path)(path, _How(facets, languages, columns or {}))
    drafts = _in_facets(reading, facets)
    flaws = list(reading.flaws)
    replaced: dict[str, str] = {}
    # A file whose only rows are broken has no concepts for that reason, which is already said.
    if drafts or not flaws:
        drafts, replaced, more = mended(drafts, facets)
        flaws += more
    if unusable := [flaw for flaw in flaws if strict or not flaw.kind or not drafts]:
        raise TaxonomyError(path, unusable)
    noticed = tuple(sorted(set(flaws)))
    return Taxonomy(concepts_of(drafts), facets, flaws=noticed, asked=asked, replaced=replaced)


def read_drafts(path: Path, languages: Sequence[str], columns: Mapping[str, str]) -> Reading:
    """The concepts of a file as they are written, in no facet but those that the file names. Raises TaxonomyError."""
    return _reader(path)(path, _How((), languages, columns))


def starter_taxonomy() -> Taxonomy:
    """The vocabulary for a photo and museum library that comes with vistag."""
    return load_taxonomy(STARTER)


def write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a file that loads to a vocabulary with the same fingerprint; but for a keyword list (.txt), which holds
    labels, synonyms and one place in the hierarchy alone.

    The facets are not described in it. Raises TaxonomyError for a suffix that is not written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise TaxonomyError(path, [Flaw(1, f'the suffix "{path.suffix}" is not one of {", ".join(WRITERS)}')])
    path.write_text(writer(taxonomy), encoding="utf-8", newline="\n")


def facets_beside(path: Path) -> Path:
    """Where the facets of a vocabulary are described, if nothing else is said."""
    beside = (path.with_suffix(f".{FACETS_FILE}"), path.parent / FACETS_FILE)
    return next((file for file in beside if file.is_file()), STARTER_FACETS)


def _reader(path: Path) -> _Reader:
    suffix = path.suffix.lower()
    if reader := READERS.get(suffix):
        return reader
    known = ", ".join(READERS)
    advice = "; save the sheet as CSV" if suffix in (".xlsx", ".xls", ".ods", ".numbers") else ""
    raise TaxonomyError(path, [Flaw(1, f'the suffix "{path.suffix}" is not one of {known}{advice}')])


def _in_facets(reading: Reading, facets: Mapping[str, Facet]) -> list[Draft]:
    """Drafts in the facet whose members name them, what is broader, or what they are in: the nearest counts."""
    facet_of = {member.casefold(): name for name, facet in facets.items() for member in facet.members}
    if not facet_of:
        return reading.drafts
    by_id = {draft.concept.id: draft for draft in reading.drafts}

    def named(names: Iterable[str]) -> str:
        return next((facet_of[name.casefold()] for name in names if name.casefold() in facet_of), "")

    def facet(draft: Draft) -> str:
        seen, here = {draft.concept.id}, [draft]
        while here:
            found = (
                named((d.concept.iri, d.concept.id, d.concept.notation, *d.concept.labels)) for d in here
            )
            if nearest := next(filter(None, found), ""):
                return nearest
            above = {parent for d in here for parent in d.concept.broader} - seen
            seen |= above
            here = [by_id[parent] for parent in sorted(above) if parent in by_id]
        return next(filter(None, (named(reading.groups.get(group, (group,))) for group in draft.groups)), "")

    return [
        draft if draft.concept.facet in facets else draft.in_facet(facet(draft) or draft.concept.facet)
        for draft in reading.drafts
    ]
