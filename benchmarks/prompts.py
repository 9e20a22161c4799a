"""Which words serve best as prompts for rare tags, on the hard corpus: python -m benchmarks.prompts --images 2000.

Each way to ask for a concept is a row of a ladder, as in benchmarks.tail: without labels as it is, and centred. The last rows
choose a way, for all, for a facet or for a concept, by cross-validation on the other folds. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tail.corpus import Corpus, open_corpus, texts_of
from benchmarks.tail.figures import row_of
from benchmarks.tail.ladder import Fit, chosen_words, cross_validated
from demo.corpus import CORPORA
from demo.world.hard.world import hard_taxonomy
from resources.models.checkpoints import make_model
from resources.models.encoders import Encoder
from resources.models.tiers import load_tier
from taxonomy import Concept, Taxonomy
from vistag_assets.whole_image.adapter_policy import REMEDIES, Texts, bands_by, folds_of, recalls
from vistag_assets.whole_image.adapters import Examples, Vectors

TEMPLATE_FREE = "preferred label"
WAFFLES = 4
"""Random endings a concept (Roth et al., Waffling around for performance, 2023)."""
_WORDS = (
    "quiet", "seven", "above", "paper", "window", "river", "copper", "early",
    "morning", "walking", "number", "simple", "second", "orange", "other", "field",
)  # fmt: skip
_FOLDS = 4


def wordings(
    taxonomy: Taxonomy, concept_ids: Sequence[str], seed: int = 0
) -> dict[str, dict[str, list[str]]]:
    """Ways to ask -> concept id -> phrases; the first is what the others are compared with, how the tiers ask."""
    concepts = [taxonomy.by_id[id_] for id_ in concept_ids]
    draw = random.Random(seed)

    def templates(concept: Concept, *labels: str) -> list[str]:
        prompts = taxonomy.facet_of(concept.id).prompts
        return [template.replace("{label}", label) for label in labels for template in prompts]

    def broader(concept: Concept) -> list[str]:
        return [taxonomy.pref_labels[id_] for id_ in concept.broader]

    def waffle() -> str:
        return f"{draw.choice(_WORDS)} {draw.choice(_WORDS)}"

    return {
        "all labels in templates": {c.id: templates(c, *c.labels) for c in concepts},
        TEMPLATE_FREE: {c.id: [c.pref_label] for c in concepts},
        "preferred label in templates": {c.id: templates(c, c.pref_label) for c in concepts},
        "all labels": {c.id: list(c.labels) for c in concepts},
        # captions of the encoder's training, by which REAL (Parashar et al., 2024) counts, are at hand for no bundled model
        "shortest label": {c.id: [min(c.labels, key=lambda label: (len(label), label))] for c in concepts},
        "definition": {c.id: [c.definition or c.pref_label] for c in concepts},
        "label and definition": {c.id: [f"{c.pref_label}: {c.definition}"] for c in concepts},
        "label and what is broader": {
            c.id: [f"{c.pref_label}, a kind of {above}" for above in broader(c)] or [c.pref_label] for c in concepts
        },
        "descriptors": {c.id: _described(c) for c in concepts},
        "random words": {c.id: [f"{c.pref_label}, which has {waffle()}" for _ in range(WAFFLES)] for c in concepts},
    }  # fmt: skip


def _described(concept: Concept) -> list[str]:
    """A phrase a part of the definition (Menon and Vondrick, 2023, ask a language model for such parts)."""
    parts = [
        part.strip() for part in concept.definition.replace(";", ",").rstrip(".").split(",") if part.strip()
    ]
    return [f"{concept.pref_label}, which is {part[0].lower()}{part[1:]}" for part in parts] or [
        concept.pref_label
    ]


@dataclass(frozen=True, slots=True)
class Chooser:
    """Picks of the ways to ask the one that serves a group of concepts best, by held-out recall@10 of rare ones."""

    ways: Sequence[Texts]
    groups: NDArray[np.intp]
    """[concepts]; one is chosen a group"""

    def vectors(self, examples: Examples) -> Vectors:
        """[concepts, dimension]; the first way where none is better."""
        is_true = np.zeros((len(examples.vectors), examples.concepts), bool)
        is_true[examples.row, examples.column] = True
        bands = bands_by(examples.counts)
        chosen = self.ways[0].vectors.copy()
        best = self._tail(chosen, examples, is_true, bands)
        for group in np.unique(self.groups):
            own, kept = self.groups == group, chosen.copy()
            for way in self.ways[1:]:
                tried = kept.copy()
                tried[own] = way.vectors[own]
                found = self._tail(tried, examples, is_true, bands)
                if found > best:
                    best, chosen = found, tried
        return chosen

    def _tail(
        self,
        vectors: Vectors,
        examples: Examples,
        is_true: NDArray[np.bool_],
        bands: tuple[NDArray[np.bool_], ...],
    ) -> float:
        scores = np.empty(is_true.shape, np.float32)
        texts = replace(self.ways[0], vectors=vectors)
        for others, own, pictures in folds_of(examples, _FOLDS):
            scores[own] = REMEDIES["centred"](texts, others).log_odds(pictures)
        return float(recalls(scores, is_true, bands)[2])


def ladder(corpus: Corpus, encoder: Encoder, taxonomy: Taxonomy) -> list[dict[str, object]]:
    ways = {name: texts_of(encoder, said) for name, said in wordings(taxonomy, corpus.concept_ids).items()}
    every, first = [*ways.values()], next(iter(ways.values()))
    facets = np.unique([taxonomy.by_id[id_].facet for id_ in corpus.concept_ids], return_inverse=True)[1]
    asked: Mapping[str, Callable[[Examples], Vectors]] = {
        name: partial(_as_it_is, way) for name, way in ways.items()
    }
    chosen: Mapping[str, Callable[[Examples], Vectors]] = {
        "chosen for all": Chooser(every, np.zeros_like(facets)).vectors,
        "chosen a facet": Chooser(every, facets).vectors,
        "chosen a concept": lambda examples: chosen_words(every, examples),
    }
    rows: list[dict[str, object]] = []
    base: Vectors | None = None
    for centring, fits in (("text", asked), ("centred", {**asked, **chosen})):
        for name, vectors_of in fits.items():
            scores, seconds = cross_validated(corpus, _scorer(centring, first, vectors_of))
            base = scores if base is None else base
            called = name if centring == "text" else f"{name}, centred"
            row = row_of(called, scores, base, corpus, seconds)
            rows.append(row.whole())
            print(row, flush=True)
    return rows


def _as_it_is(way: Texts, _: Examples) -> Vectors:
    return way.vectors


def _scorer(centring: str, texts: Texts, vectors_of: Callable[[Examples], Vectors]) -> Fit:
    return lambda examples: (
        REMEDIES[centring](replace(texts, vectors=vectors_of(examples)), examples).log_odds
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=CORPORA["hard"].images)
    parser.add_argument("--tier", default="demo")
    parser.add_argument("--home", type=Path, help="where corpus and embeddings are kept")
    options = parser.parse_args(arguments)
    tier = load_tier(options.tier)
    encoder = make_model(tier.encoder, tier.device)
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        corpus = open_corpus(home, options.images, encoder)
    print(f"{len(corpus.vectors):,} pictures, {len(corpus.concept_ids)} concepts that they show")
    rows = ladder(corpus, encoder, hard_taxonomy())
    print(json.dumps({"images": len(corpus.vectors), "concepts": len(corpus.concept_ids), "ladder": rows}))


if __name__ == "__main__":
    main()
