"""A concept of a vocabulary."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Concept:
    """A SKOS concept. ``alt_labels`` and ``broader`` are sets in SKOS; they are kept sorted here."""

    id: str
    pref_label: str
    alt_labels: tuple[str, ...] = ()
    facet: str = "object"
    broader: tuple[str, ...] = ()
    definition: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alt_labels", tuple(sorted(self.alt_labels)))
        object.__setattr__(self, "broader", tuple(sorted(set(self.broader))))

    @property
    def labels(self) -> tuple[str, ...]:
        """The preferred label, then the alternative ones in alphabetical order."""
        return (self.pref_label, *self.alt_labels)
