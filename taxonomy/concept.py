"""A concept of a vocabulary."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Translation:
    """The labels of a concept in another language than the one shown."""

    language: str
    """BCP 47 tag, in lower case; empty where the file tags none"""
    pref_label: str
    """empty where the language has alternative labels alone"""
    alt_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "alt_labels", tuple(sorted(self.alt_labels)))

    @property
    def labels(self) -> tuple[str, ...]:
        """The preferred label, then the alternative ones in alphabetical order."""
        return (self.pref_label, *self.alt_labels) if self.pref_label else self.alt_labels


@dataclass(frozen=True, slots=True)
class Concept:
    """A SKOS concept. What is a set in SKOS is kept sorted here."""

    id: str
    pref_label: str
    alt_labels: tuple[str, ...] = ()
    facet: str = "object"
    broader: tuple[str, ...] = ()
    definition: str = ""
    language: str = ""
    """BCP 47 tag of the labels, in lower case; empty for English"""
    translations: tuple[Translation, ...] = ()
    """its labels in other languages"""
    iri: str = ""
    """what the file calls it: the id is the short form; empty where the file has no IRIs"""
    notation: str = ""
    """its number or code in the catalogue"""
    exact_match: tuple[str, ...] = ()
    """IRIs of the same concept elsewhere (Wikidata, AAT, Iconclass)"""
    close_match: tuple[str, ...] = ()
    hidden_labels: tuple[str, ...] = ()
    """misspellings and the like: found in texts and keywords, never shown, and no model is asked about them"""

    def __post_init__(self) -> None:
        for name in ("alt_labels", "translations"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))
        for name in ("broader", "exact_match", "close_match", "hidden_labels"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))

    @property
    def labels(self) -> tuple[str, ...]:
        """The preferred label, then the alternative ones in alphabetical order."""
        return (self.pref_label, *self.alt_labels)

    @property
    def english_labels(self) -> tuple[str, ...]:
        """Those in English, where it has any: what a model that knows no other language is asked."""
        english = [t for t in self.translations if t.language == "en" or t.language.startswith("en-")]
        if not self.language or not english:
            return self.labels
        best = next((t for t in english if t.pref_label), english[0])
        return tuple(dict.fromkeys((*best.labels, *(label for t in english for label in t.labels))))
