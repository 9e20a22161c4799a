"""Which classes a phrase names, and how surely: by WordNet's labels, else by the likest label of a sentence encoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from resources.models.encoders.conse.hierarchy import Node
from taxonomy.concept import Concept
from taxonomy.labels import Labels

GENERALITY = 0.12
"""Exponent of the discount of what has many kinds, `(kinds + 1) ** -GENERALITY`: Walker hound comes before dog."""
UNSURE = 0.6
"""Cosine of two labels from which on the sentence encoder is believed at all."""
SURENESS = 2.5
"""Exponent of the belief in a likeness, 0 at `UNSURE` and 1 at a cosine of 1.

Fitted on WordNet itself: of 2,386 labels, each looked up among those of all other synsets, the likest belonged to the
same synset for 0.13, 0.30, 0.45, 0.53 and 0.82 of those with a cosine of 0.5, 0.6, 0.7, 0.8 and 0.9. The belief stays below
these shares, because a name that is right is to come before one that is only like it.
"""
_SHOWS = re.compile(
    r"^(?:an?|the)\s(?:[\w-]+\s){0,3}?(?:photo|photograph|picture|image|view|snapshot|painting|drawing|work of art)s?\s"
    r"(?:of|showing|that shows|that depicts|with)\s(?P<shown>.+?)(?:\sin the background)?$"
    r"|^the place in the picture:\s(?P<place>.+)$",
    re.IGNORECASE,
)
"""Sentences that say that a picture shows something. Others ("an object made of glass") say something else of a word."""
_SAYS_OTHERWISE = re.compile(
    r"^(?:an?|the)\s(?:\w+\s)?(?:object|surface|detail|photo|photograph|picture|work of art|example)\b|\s(?:style|design)$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:an?|the)\s", re.IGNORECASE)

SentenceEmbedding = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to unit vectors `[n, width]`."""


class PhraseReader:
    """Phrases to weights of classes. `embed` is asked about phrases only that are no label; without it they name nothing."""

    def __init__(self, nodes: Sequence[Node], classes: int, embed: SentenceEmbedding | None = None) -> None:
        self._nodes, self._classes, self._embed = nodes, classes, embed
        self._labels = Labels(
            Concept(str(place), node.labels[0], node.labels[1:]) for place, node in enumerate(nodes)
        )
        self._label_vectors: NDArray[np.float32] | None = None

    def weights(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """`[n, classes]`, each 0..1: how surely an image of that class is one of which the phrase is true.

        A row of zeros for a phrase that names nothing that the classifier knows, or says of it how it was made.
        """
        found = np.zeros((len(phrases), self._classes), np.float32)
        unknown: dict[int, str] = {}
        for row, phrase in enumerate(phrases):
            if (thing := shown(phrase)) is None:
                continue
            named = self._named(thing)
            for node in named:
                self._add(found[row], node, 1.0)
            if not named:
                unknown[row] = thing
        if unknown and self._embed:
            self._add_likest(found, unknown, self._embed)
        return found

    def _named(self, thing: str) -> list[int]:
        """Places of the nodes that a whole phrase is a label of."""
        found = self._labels.named_in(thing)
        whole = len(found) == 1 and _words(found[0].phrase) == _words(thing)
        return [int(id_) for id_ in found[0].concept_ids] if whole else []

    def _add(self, row: NDArray[np.float32], place: int, sureness: float) -> None:
        node = self._nodes[place]
        general = 1.0 if node.is_class else (len(node.classes) + 1) ** -GENERALITY
        classes = list(node.classes)
        row[classes] = np.maximum(row[classes], sureness * general)

    def _add_likest(
        self, found: NDArray[np.float32], unknown: dict[int, str], embed: SentenceEmbedding
    ) -> None:
        owners = [place for place, node in enumerate(self._nodes) for _ in node.labels]
        if self._label_vectors is None:
            self._label_vectors = embed([label.lower() for node in self._nodes for label in node.labels])
        things = list(dict.fromkeys(thing.lower() for thing in unknown.values()))
        cosines = embed(things) @ self._label_vectors.T
        likest = dict(zip(things, zip(cosines.argmax(axis=1), cosines.max(axis=1), strict=True), strict=True))
        for row, thing in unknown.items():
            label, cosine = likest[thing.lower()]
            sureness = max(0.0, (float(cosine) - UNSURE) / (1 - UNSURE)) ** SURENESS
            self._add(found[row], owners[label], min(sureness, 1.0))


def shown(phrase: str) -> str | None:
    """What a phrase says that a picture shows; None where it says how something is made, lit or styled."""
    if said := _SHOWS.match(phrase):
        phrase = said["shown"] or said["place"]
    elif _SAYS_OTHERWISE.search(phrase):
        return None
    return _ARTICLE.sub("", phrase)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
