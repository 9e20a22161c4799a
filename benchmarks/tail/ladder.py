"""Every remedy for whole pictures, cross-validated on the hard corpus: a row each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.tail.corpus import Corpus, texts_of
from benchmarks.tail.figures import FOLDS, Row, row_of, threshold_rows
from benchmarks.tail.tried import calibrated_a_facet, contrastive, tempered_a_facet
from demo.world.hard.world import hard_taxonomy
from resources.models.encoders import Encoder
from taxonomy import Taxonomy
from vistag_assets.whole_image.adapter_policy import (
    REMEDIES,
    Texts,
    adapter_of,
    choose,
    described,
    folds_of,
)
from vistag_assets.whole_image.adapters import (
    Examples,
    Linear,
    Vectors,
    cached,
    centred,
    logistic_heads,
    priors,
    projected,
)
from vistag_assets.whole_image.scoring import unit_rows

BASELINE = "text"
KEPT_BY_THRESHOLDS = (BASELINE, "shared", "policy")
"""Remedies whose thresholds have rows of their own."""


def wordings(taxonomy: Taxonomy, concept_ids: Sequence[str]) -> dict[str, dict[str, Sequence[str]]]:
    """Ways to ask for a concept -> concept id -> phrases; the first is how the tiers ask."""
    concepts = [taxonomy.by_id[id_] for id_ in concept_ids]
    return {
        "labels in templates": {c.id: taxonomy.phrases(c) for c in concepts},
        "preferred label": {c.id: [c.pref_label] for c in concepts},
        "labels": {c.id: [c.pref_label, *c.alt_labels] for c in concepts},
        "definition": {c.id: [c.definition or c.pref_label] for c in concepts},
        "random words": {
            c.id: [f"{word} {c.pref_label}" for word in ("quiet", "seven", "above", "paper")]
            for c in concepts
        },
    }


def chosen_words(ways: Sequence[Texts], examples: Examples) -> Vectors:
    """Of each concept the way to ask whose centred score tells its own examples best from all pictures, a concept.

    The gain over the first way is drawn to 0 by as much as five examples weigh.
    """
    counts, gains = examples.counts, []
    for way in ways:
        scores = centred(way.vectors, 1.0, examples.vectors).log_odds(examples.vectors)
        scores /= scores.std(axis=0)
        own = np.bincount(examples.column, scores[examples.row, examples.column], len(counts))
        gains.append(own / (counts + 5))
    best = np.argmax(gains, axis=0)
    return np.stack([ways[way].vectors[concept] for concept, way in enumerate(best)])


Fit = Callable[[Examples], Callable[[Vectors], Vectors]]
"""From examples to a function of embeddings to scores."""


def cross_validated(corpus: Corpus, fit: Fit) -> tuple[Vectors, float]:
    """Scores [pictures, concepts], each picture's by a fit without its fold; and seconds a picture that scoring took."""
    scores = np.empty(corpus.is_true.shape, np.float32)
    seconds = 0.0
    for others, own, vectors in folds_of(corpus.examples, FOLDS):
        told = fit(others)
        started = time.perf_counter()
        scores[own] = told(vectors)
        seconds += time.perf_counter() - started
    return scores, seconds / len(scores)


def ladder(corpus: Corpus, encoder: Encoder) -> list[Row]:
    ways = {
        name: texts_of(encoder, phrases)
        for name, phrases in wordings(hard_taxonomy(), corpus.concept_ids).items()
    }
    texts = corpus.texts

    def by_policy(examples: Examples) -> Linear:
        policy = choose(texts, examples)
        print(f"  policy: {described(policy)}")
        return adapter_of(policy, texts, examples)

    def linear(fit: Callable[[Examples], Linear]) -> Fit:
        return lambda examples: fit(examples).log_odds

    def words(examples: Examples) -> Linear:
        return projected(unit_rows(chosen_words([*ways.values()], examples)), examples)

    def asked(way: Texts) -> Fit:
        return linear(lambda examples: REMEDIES["text"](way, examples))

    def remedied(name: str) -> Fit:
        return linear(lambda examples: REMEDIES[name](texts, examples))

    def with_prior(name: str) -> Fit:
        return linear(lambda e: REMEDIES[name](texts, e) + priors(e).scaled(0.5))

    fits: dict[str, Fit] = {
        BASELINE: asked(texts),
        **{f"words: {name}": asked(way) for name, way in list(ways.items())[1:]},
        "words: chosen a concept": linear(
            lambda e: REMEDIES["text"](replace(texts, vectors=chosen_words([*ways.values()], e)), e)
        ),
        "prior": with_prior("text"),
        **{name: remedied(name) for name in list(REMEDIES)[1:]},
        **{f"{name} + prior": with_prior(name) for name in list(REMEDIES)[1:]},
        "projected, words chosen": linear(words),
        "cache": lambda e: lambda vectors: cached(vectors, e),
        "logistic heads": linear(lambda e: logistic_heads(e)),
        "contrastive": linear(lambda e: contrastive(texts.vectors, e)),
        "isotonic a facet": calibrated_a_facet(corpus, texts),
        "temperature a facet": tempered_a_facet(corpus, texts),
        "policy": linear(by_policy),
    }
    rows: list[Row] = []
    base = None
    for name, fit in fits.items():
        scores, seconds = cross_validated(corpus, fit)
        base = scores if base is None else base
        row = row_of(name, scores, base, corpus, seconds)
        found = [row, *(threshold_rows(name, scores, row, corpus) if name in KEPT_BY_THRESHOLDS else ())]
        rows += found
        print(*found, sep="\n", flush=True)
    return rows
