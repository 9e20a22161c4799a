"""What became of a vocabulary: from one file of it to the next."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from taxonomy.concept import Concept
from taxonomy.model import Taxonomy


@dataclass(frozen=True, slots=True)
class Differences:
    """Ids, sorted; a concept may be relabelled and moved at once."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: dict[str, str] = field(default_factory=dict)
    """of those removed, the ids that replace them"""
    relabelled: dict[str, tuple[str, str]] = field(default_factory=dict)
    """id -> preferred label before and now; equal where other labels changed"""
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)
    """id -> broader concepts and facet before and now"""
    described: tuple[str, ...] = ()
    """whose definition, IRI, notation or matches changed alone"""
    phrases: int = 0
    """new for the encoder, which embeds these alone"""
    rescored: bool = False
    """whether tags are computed again, without a look at pictures: something changed that decides them"""

    def lines(self) -> Iterator[str]:
        """For people: a line a change, then what will be computed again."""
        for id_ in self.added:
            yield f"added      {id_}"
        for id_ in self.removed:
            yield f"removed    {id_}" + (f" -> {self.replaced[id_]}" if id_ in self.replaced else "")
        for id_, (before, now) in self.relabelled.items():
            yield (
                f"relabelled {id_}: {before} -> {now}" if before != now else f"relabelled {id_}: other labels"
            )
        for id_, (before, now) in self.moved.items():
            yield f"moved      {id_}: {before} -> {now}"
        yield from (f"described  {id_}" for id_ in self.described)
        counts = (
            f"{len(self.added):,} added, {len(self.removed):,} removed, {len(self.relabelled):,} relabelled, "
            f"{len(self.moved):,} moved, {len(self.described):,} described anew"
        )
        again = (
            "tags are scored again from stored embeddings" if self.rescored else "no tag is computed again"
        )
        yield f"{counts}. {self.phrases:,} phrases are new to the encoder; {again}."


def differences(old: Taxonomy, new: Taxonomy) -> Differences:
    """What changed, concept by concept."""
    both = [(old.by_id[id_], new.by_id[id_]) for id_ in old.by_id if id_ in new.by_id]
    relabelled = {
        b.id: (a.pref_label, b.pref_label)
        for a, b in both
        if (a.labels, a.translations, a.language) != (b.labels, b.translations, b.language)
    }
    moved = {b.id: (_place(a), _place(b)) for a, b in both if _place(a) != _place(b)}
    known = {text for concept in old.concepts for text in old.phrases(concept)}
    removed = tuple(id_ for id_ in old.by_id if id_ not in new.by_id)
    return Differences(
        tuple(id_ for id_ in new.by_id if id_ not in old.by_id),
        removed,
        {id_: new.replaced[id_] for id_ in removed if id_ in new.replaced},
        relabelled,
        moved,
        tuple(b.id for a, b in both if a != b and b.id not in relabelled and b.id not in moved),
        len({text for concept in new.concepts for text in new.phrases(concept)} - known),
        old.fingerprint != new.fingerprint or old.identity != new.identity,
    )


def _place(concept: Concept) -> str:
    return f"{concept.facet}: {', '.join(concept.broader) or 'top'}"
