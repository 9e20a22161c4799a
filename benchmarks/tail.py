"""What each remedy for rare tags is worth, on the hard corpus: python -m benchmarks.tail --images 2000.

Draws `vistag demo --corpus hard`, embeds it with the encoder of a tier, and tries each remedy by cross-validation: what is
judged was never fitted to. The last line is JSON, the one before it has all figures of the rows. With --home the corpus and
the embeddings are kept there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import tail_curves
from benchmarks.tail_asking import escalation_rows
from benchmarks.tail_corpus import Corpus, open_corpus, texts_of
from benchmarks.tail_curves import STRATEGIES, Reviewer, by_embeddings, curve, gained, walked
from benchmarks.tail_figures import FOLDS, Row, row_of, threshold_rows
from benchmarks.tail_full import FullStack
from benchmarks.tail_rows import calibrated_a_facet, contrastive, tempered_a_facet
from demo.corpus import CORPORA
from demo.world.hard.world import hard_taxonomy
from evaluation.metrics.intervals import paired_interval
from resources.models.checkpoints import make_model
from resources.models.encoders import Encoder
from resources.models.tiers import load_tier
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

AT = 200
"""Decisions whose gain is told."""
REVIEWERS: Mapping[str, tuple[str, Reviewer]] = {
    **{name: (name, Reviewer()) for name in STRATEGIES},
    "queue, 5% errors": ("queue", Reviewer(errors=0.05)),
    "queue, 10% errors": ("queue", Reviewer(errors=0.1)),
    "queue, rejections weigh 0.05": ("queue", Reviewer(rejected_weight=0.05)),
    "queue, nothing corrected": ("queue", Reviewer(corrects=False)),
}
"""Name of a curve -> strategy and who answers."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=CORPORA["hard"].images)
    parser.add_argument("--tier", default="demo")
    parser.add_argument(
        "--full", type=int, default=120, help="pictures of rare concepts that the whole graph tags; 0: none"
    )
    parser.add_argument("--home", type=Path, help="where corpus and embeddings are kept")
    options = parser.parse_args(arguments)
    tier = load_tier(options.tier)
    encoder = make_model(tier.encoder, tier.device)
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        corpus = open_corpus(home, options.images, encoder)
        print(f"{len(corpus.vectors):,} pictures, {len(corpus.concept_ids)} concepts that they show")
        rows = ladder(corpus, encoder)
        full = FullStack.of(home, corpus, options.full) if options.full else None
        rows += [*full.ladder(), *escalation_rows(full)] if full else []
        among = full.among_candidates() if full else {}
        curves, gains, intervals = reviewed(corpus, full)
    more = {"rows": [row.whole() for row in rows], "among_candidates": among, "gain_at_200_ci95": intervals}
    print(json.dumps(more))
    summary = {
        "images": len(corpus.vectors),
        "concepts": len(corpus.concept_ids),
        "ladder": [row.asked() for row in rows],
        "curves": curves,
        "gain_at_200": gains,
    }
    print(json.dumps(summary))


Curve = list[tuple[int, float]]


def reviewed(
    corpus: Corpus, full: FullStack | None
) -> tuple[dict[str, Curve], dict[str, float], dict[str, list[float] | None]]:
    """Learning curves; what `AT` decisions of the queue are worth, in embeddings alone and in the full stack; its intervals."""
    tail = corpus.bands()["tail"]
    curves: dict[str, Curve] = {}
    gains: dict[str, float] = {}
    intervals: dict[str, list[float] | None] = {}
    judges = {"A2": by_embeddings(corpus), **({"full": full.judge} if full else {})}
    for name, (strategy, reviewer) in REVIEWERS.items():
        seeds = range(tail_curves.SEEDS)
        walks = [walk for seed in seeds for walk in walked(STRATEGIES[strategy], corpus, reviewer, seed)]
        curves[name] = curve(walks, judges["A2"], tail)
        print(f"  {name}: {curves[name]}", flush=True)
        if name != "queue":
            continue
        for option, judge in judges.items():
            first = walks[: tail_curves.THIRDS]
            interval = paired_interval(gained(first, judge, tail, AT))
            at = dict(curve(walks, judge, tail)) if option == "full" else dict(curves[name])
            gains[option] = round(at[AT] - at[0], 4)
            intervals[option] = [round(interval.low, 4), round(interval.high, 4)] if interval else None
            if option == "full":
                curves["queue, full"] = [*at.items()]
    return curves, gains, intervals


if __name__ == "__main__":
    main()
