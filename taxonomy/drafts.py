"""Concepts as a file writes them, before they are checked: what every reader gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from taxonomy.concept import Concept
from taxonomy.problems import Flaw


@dataclass(frozen=True, slots=True)
class Draft:
    """A concept as written, not yet checked, with the line it starts at. An absent value is empty."""

    concept: Concept
    line: int
    groups: tuple[str, ...] = ()
    """collections, schemes and categories that it is in, the nearest first: keys of `Reading.groups`"""
    deprecated: bool = False
    replaced_by: tuple[str, ...] = ()
    """ids of concepts that stand in for a deprecated one"""

    def having(self, **changes: Any) -> "Draft":
        """The draft with fields of its concept changed."""
        return replace(self, concept=replace(self.concept, **changes))

    def in_facet(self, facet: str) -> "Draft":
        return self.having(facet=facet)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader found in a file."""

    drafts: list[Draft]
    flaws: list[Flaw] = field(default_factory=list)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Collection, scheme or category -> how a person may call it: its IRI, the last part of that, labels, notation."""
