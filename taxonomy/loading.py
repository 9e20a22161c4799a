"""Vocabularies from files and to files, by suffix."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from taxonomy.csv_format import read_csv, to_csv
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError
from taxonomy.prompts import STARTER_PROMPTS, load_prompts
from taxonomy.skos_reader import read_jsonld, read_turtle
from taxonomy.skos_writer import to_jsonld, to_turtle
from taxonomy.validation import Draft, validate

STARTER = Path(__file__).parent / "data" / "starter.csv"


@dataclass(frozen=True, slots=True)
class _Format:
    read: Callable[[Path, Collection[str]], tuple[list[Draft], list[Flaw]]]
    write: Callable[[Taxonomy], str]


_FORMATS = {
    ".csv": _Format(lambda path, _facets: read_csv(path), to_csv),
    ".jsonld": _Format(read_jsonld, to_jsonld),
    ".ttl": _Format(read_turtle, to_turtle),
}


def load_taxonomy(path: Path, prompts_path: Path = STARTER_PROMPTS) -> Taxonomy:
    """The vocabulary in a .csv, .ttl or .jsonld file. The facets of ``prompts_path`` are the closed list.

    Raises TaxonomyError, whose message has a ``file:line: problem`` for everything that is wrong.
    """
    prompts = load_prompts(prompts_path)
    drafts, flaws = _format(path).read(path, tuple(prompts))
    # A file whose only rows are broken has no concepts for that reason, which is already said.
    if drafts or not flaws:
        flaws += validate(drafts, tuple(prompts))
    if flaws:
        raise TaxonomyError(path, flaws)
    return Taxonomy(tuple(draft.concept for draft in drafts), prompts)


def starter_taxonomy() -> Taxonomy:
    """The vocabulary for a photo and museum library that comes with vistag."""
    return load_taxonomy(STARTER)


def write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a .csv, .ttl or .jsonld file that loads to a vocabulary with the same fingerprint.

    The prompts are not part of it. Raises TaxonomyError for another suffix.
    """
    path.write_text(_format(path).write(taxonomy), encoding="utf-8", newline="\n")


def _format(path: Path) -> _Format:
    if path.suffix.lower() not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise TaxonomyError(path, [Flaw(1, f'the suffix "{path.suffix}" is not one of {known}')])
    return _FORMATS[path.suffix.lower()]
