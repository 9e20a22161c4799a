"""Labels that several concepts bear, and what parts these: a qualifier that is written, or one that is found."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from taxonomy.concept import Concept
from taxonomy.validation import same_label_key

_PARENTHESES = re.compile(r"([^()]{1,300})\(([^()]{1,200})\)")
_WORDS = re.compile(r"[^\W\d_]{3,}")
_CLAUSE = re.compile(r"[.;:,(\n]")
_MOST_WORDS = 8
_WEIGHT = 3.0
"""How much more a concept is meant by each word of its own that stands in the text beside the label."""


def parted(label: str) -> tuple[str, str]:
    """A label without its qualifier, and that: ("cranes", "birds") of "cranes (birds)"; "" where there is none."""
    found = _PARENTHESES.fullmatch(label.strip())
    return (found[1].strip(), found[2].strip()) if found and found[1].strip() else (label, "")


def qualifiers(concepts: Sequence[Concept], by_id: Mapping[str, Concept]) -> dict[str, dict[str, str]]:
    """Concept id -> label -> its qualifier, of the labels that have one in parentheses, and of those that another
    concept of the facet bears too: then that of another of its labels, a broader concept, or its definition's beginning,
    whichever comes first that the others have not.
    """
    bearers: dict[tuple[str, str], dict[str, Concept]] = defaultdict(dict)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for concept in concepts:
        for label in dict.fromkeys((*concept.labels, *concept.english_labels)):
            base, qualifier = parted(label)
            bearers[concept.facet, same_label_key(base)][concept.id] = concept
            if qualifier:
                found[concept.id][label] = qualifier
    for several in bearers.values():
        if len(several) > 1:
            _part(several, by_id, bearers, found)
    return dict(found)


def shared_labels(concepts: Sequence[Concept]) -> list[tuple[str, ...]]:
    """Ids of the concepts of a facet that bear a common label, once for each set of them."""
    bearers: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for concept in concepts:
        for label in (*concept.labels, *concept.english_labels):
            bearers[concept.facet, same_label_key(parted(label)[0])][concept.id] = None
    return sorted({tuple(sorted(ids)) for ids in bearers.values() if len(ids) > 1})


def _part(
    several: Mapping[str, Concept],
    by_id: Mapping[str, Concept],
    bearers: Mapping[tuple[str, str], Mapping[str, Concept]],
    found: dict[str, dict[str, str]],
) -> None:
    offered = {id_: _offered(concept, by_id) for id_, concept in several.items()}
    for id_, concept in several.items():
        others = {text for other, texts in offered.items() if other != id_ for text in texts}
        mine = next((text for text in offered[id_] if text not in others), "")
        for label in (*concept.labels, *concept.english_labels):
            shared = len(bearers[concept.facet, same_label_key(parted(label)[0])]) > 1
            if mine and shared and not parted(label)[1]:
                found[id_].setdefault(label, mine)


def _offered(concept: Concept, by_id: Mapping[str, Concept]) -> list[str]:
    """Qualifiers of a concept, the best first."""
    written = [parted(label)[1] for label in (*concept.english_labels, *concept.labels)]
    above = [parted(by_id[parent].english_labels[0])[0] for parent in concept.broader if parent in by_id]
    clause = _CLAUSE.split(concept.definition, maxsplit=1)[0].split()[:_MOST_WORDS]
    return list(filter(None, dict.fromkeys([*written, *above, " ".join(clause)])))


def context_words(concept: Concept, by_id: Mapping[str, Concept]) -> frozenset[str]:
    """The words that speak for this concept among those that share a label: of its other labels, of what is broader,
    of its definition.
    """
    above = [label for parent in concept.broader if parent in by_id for label in by_id[parent].labels]
    texts = (
        *concept.labels,
        *above,
        concept.definition,
        *(t for x in concept.translations for t in x.labels),
    )
    return frozenset(words(" ".join(texts)))


def words(text: str) -> set[str]:
    """Its words of three letters and more, in lower case, without an s at the end."""
    return {word.removesuffix("s") for word in _WORDS.findall(text.casefold())}


def shares(text: str, own_words: Mapping[str, Iterable[str]]) -> dict[str, float]:
    """How far each of several concepts is meant by a label that they share: 0..1, 1 together.

    `own_words`: concept id -> its `context_words`. Without any in the text all are meant alike.
    """
    said = words(text)
    told_by_all = set.intersection(*(set(each) for each in own_words.values()))
    weight = {id_: 1 + _WEIGHT * len(said & set(own) - told_by_all) for id_, own in own_words.items()}
    total = sum(weight.values())
    return {id_: weight[id_] / total for id_ in weight}
