"""The vocabulary as a page: a tree with the number of images behind each concept, and some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resources.home import Home
from resources.lake.files import replace_file
from resources.workspace import Workspace
from taxonomy import Concept, Taxonomy
from vistag_assets.gallery.html import render_vocabulary

EXAMPLES = 3
SURE = 0.5
"""Probability from which an image counts for a concept that the machine found in it."""
_COUNTED = """
select concept_id, count(distinct (folder, id)) as images,
    list(distinct id order by id)[:$examples] as examples
from tags
where concept_id is not null and (state = 'human' or (state = 'machine' and not needs_review and probability >= $sure))
group by concept_id
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """The images of a concept: how many, and the ids of some."""

    images: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the tree, and how many branches end with it."""

    concept: Concept
    label: str
    colour: str
    counted: Counted
    opens: bool
    """whether narrower ones follow; where a concept has several broader ones, they follow below the first alone"""
    closes: int


def vocabulary_page(home: Home) -> Path:
    return home.reports_dir / "vocabulary.html"


def write_vocabulary_page(workspace: Workspace) -> Path:
    """Write the page, of what is in the lake now; returns where it is. Raises OSError."""
    path = vocabulary_page(workspace.home)
    lines = list(tree(workspace.taxonomy, counts(workspace)))
    text = render_vocabulary(lines, f"tier {workspace.tier.name}", datetime.now(UTC))
    with replace_file(path) as file:
        file.write(text.encode())
    return path


def counts(workspace: Workspace) -> dict[str, Counted]:
    """Concept id -> its images, as the table `tags` has them; of folders that are gone none."""
    if "tags" not in workspace.lake.tables():
        return {}
    with workspace.lake.connect(gone=workspace.home.gone_keys(), skip_damaged=True) as sql:
        rows = sql.execute(_COUNTED, {"examples": EXAMPLES, "sure": SURE}).fetchall()
    return {id_: Counted(images, tuple(examples)) for id_, images, examples in rows}


def tree(taxonomy: Taxonomy, counted: Mapping[str, Counted]) -> Iterator[Line]:
    """Each concept below each of its broader ones, by label; those without one come first."""
    none = Counted(0, ())
    labels = taxonomy.shown_labels
    seen: set[str] = set()

    def below(ids: tuple[str, ...]) -> list[str]:
        return sorted(ids, key=lambda id_: (labels[id_].casefold(), id_), reverse=True)

    waiting = [(id_, 0) for id_ in below(tuple(c.id for c in taxonomy.concepts if not c.broader))]
    made: list[tuple[str, int, bool]] = []
    while waiting:
        id_, depth = waiting.pop()
        narrower = () if id_ in seen else taxonomy.narrower_of(id_)
        seen.add(id_)
        made.append((id_, depth, bool(narrower)))
        waiting += [(child, depth + 1) for child in below(narrower)]
    depths = [*(depth for _, depth, _ in made[1:]), 0]
    for (id_, depth, opens), after in zip(made, depths, strict=False):
        colour = taxonomy.facet_of(id_).colour
        yield Line(
            taxonomy.by_id[id_], labels[id_], colour, counted.get(id_, none), opens, max(0, depth - after)
        )
