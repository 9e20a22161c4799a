"""Vocabularies from files and to files, by suffix."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from taxonomy.csv_format import read_csv, to_csv
from taxonomy.facets import STARTER_FACETS, load_facets
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError
from taxonomy.skos_reader import read_jsonld, read_turtle
from taxonomy.skos_writer import to_jsonld, to_turtle
from taxonomy.validation import Draft, validate

STARTER = Path(__file__).parent / "data" / "starter.csv"
FACETS_FILE = "facets.yaml"
"""Beside a vocabulary, what its facets are."""


@dataclass(frozen=True, slots=True)
class _Format:
    read: Callable[[Path, Collection[str]], tuple[list[Draft], list[Flaw]]]
    write: Callable[[Taxonomy], str]


_FORMATS = {
    ".csv": _Format(lambda path, _facets: read_csv(path), to_csv),
    ".jsonld": _Format(read_jsonld, to_jsonld),
    ".ttl": _Format(read_turtle, to_turtle),
}


def load_taxonomy(path: Path, facets_path: Path | None = None) -> Taxonomy:
    """The vocabulary in a .csv, .ttl or .jsonld file.

    Its facets are described by `facets_path`, else by a facets.yaml beside it, else by the starter's. A facet that
    is not described has the defaults; a concept without a facet is of the first one described.

    Raises TaxonomyError, whose message has a ``file:line: problem`` for everything that is wrong.
    """
    beside = path.parent / FACETS_FILE
    facets = load_facets(facets_path or (beside if beside.is_file() else STARTER_FACETS))
    drafts, flaws = _format(path).read(path, facets)
    drafts = [_with_facet(draft, next(iter(facets))) for draft in drafts]
    # A file whose only rows are broken has no concepts for that reason, which is already said.
    if drafts or not flaws:
        flaws += validate(drafts, facets)
    if flaws:
        raise TaxonomyError(path, flaws)
    return Taxonomy(tuple(draft.concept for draft in drafts), facets)


def _with_facet(draft: Draft, default: str) -> Draft:
    return replace(draft, concept=replace(draft.concept, facet=draft.concept.facet or default))


def starter_taxonomy() -> Taxonomy:
    """The vocabulary for a photo and museum library that comes with vistag."""
    return load_taxonomy(STARTER)


def write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a .csv, .ttl or .jsonld file that loads to a vocabulary with the same fingerprint.

    The facets are not described in it. Raises TaxonomyError for another suffix.
    """
    path.write_text(_format(path).write(taxonomy), encoding="utf-8", newline="\n")


def _format(path: Path) -> _Format:
    if path.suffix.lower() not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise TaxonomyError(path, [Flaw(1, f'the suffix "{path.suffix}" is not one of {known}')])
    return _FORMATS[path.suffix.lower()]
