"""Keyword lists of Lightroom, digiKam, Photo Mechanic and the like: a keyword a line, narrower ones indented.

``{synonym}`` belongs to the keyword above it, ``[category]`` groups keywords and is none itself; a line may hold a
whole path, ``animals|birds|crane``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from taxonomy.concept import Concept
from taxonomy.drafts import Draft, Reading
from taxonomy.problems import Flaw, read_foreign_text, slug, unique


@dataclass(slots=True)
class _Keyword:
    label: str
    line: int
    indent: int
    parent: "_Keyword | None"
    is_category: bool = False
    synonyms: list[str] = field(default_factory=list)
    id: str = ""

    def around(self, *, categories: bool) -> "Iterator[_Keyword]":
        """Keywords, or categories, above it, the nearest first."""
        above = self.parent
        while above:
            if above.is_category == categories:
                yield above
            above = above.parent


def read_keyword_list(path: Path) -> Reading:
    """The keywords of a file. Raises TaxonomyError when it cannot be read."""
    text, flaws = read_foreign_text(path)
    keywords = _keywords(text)
    taken = dict[str, None]()
    for keyword in keywords:
        above = [slug(other.label) for other in keyword.around(categories=False)]
        keyword.id = unique(slug(keyword.label) or "unnamed", taken, above[:1])
        taken[keyword.id] = None
    drafts = [_draft(keyword) for keyword in keywords if not keyword.is_category]
    categories = [keyword for keyword in keywords if keyword.is_category]
    flaws += [Flaw(c.line, f'"[{c.label}]" groups keywords', "category") for c in categories]
    return Reading(drafts, flaws, {category.id: (category.label, category.id) for category in categories})


def _keywords(text: str) -> list[_Keyword]:
    found, known = list[_Keyword](), dict[tuple[int, str], _Keyword]()
    last: _Keyword | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        label = line.strip()
        if not label:
            continue
        indent = len(line) - len(line.lstrip())
        if label.startswith("{") and label.endswith("}"):
            above = _above(last, indent)
            if above and label[1:-1].strip():
                above.synonyms.append(label[1:-1].strip())
            continue
        above = _above(last, indent)
        for part in filter(None, map(str.strip, label.split("|"))):
            is_category = part.startswith("[") and part.endswith("]") and len(part) > 2
            name = part[1:-1].strip() if is_category else part
            place = (id(above), name)
            if place not in known:
                known[place] = _Keyword(name, number, indent, above, is_category)
                found.append(known[place])
            above = known[place]
        if above:
            above.indent = indent
            last = above
    return found


def _above(last: _Keyword | None, indent: int) -> _Keyword | None:
    """The keyword that a line of this indent stands below."""
    while last and last.indent >= indent:
        last = last.parent
    return last


def _draft(keyword: _Keyword) -> Draft:
    parents = [other.id for other in keyword.around(categories=False)]
    groups = tuple(category.id for category in keyword.around(categories=True))
    concept = Concept(
        keyword.id, keyword.label, tuple(keyword.synonyms), facet="", broader=tuple(parents[:1])
    )
    return Draft(concept, keyword.line, groups)


def to_keyword_list(concepts: "tuple[Concept, ...]") -> str:
    """The concepts as a list with tabs, each below its first broader one; what has several stands below one alone."""
    narrower: dict[str, list[Concept]] = {}
    for concept in concepts:
        narrower.setdefault(concept.broader[0] if concept.broader else "", []).append(concept)
    lines, waiting = list[str](), [(0, concept) for concept in reversed(narrower.get("", []))]
    while waiting:
        depth, concept = waiting.pop()
        tabs = "\t" * depth
        lines.append(f"{tabs}{concept.pref_label}")
        lines += [f"{tabs}\t{{{label}}}" for label in concept.alt_labels]
        waiting += [(depth + 1, child) for child in reversed(narrower.get(concept.id, []))]
    return "\n".join(lines) + "\n"
