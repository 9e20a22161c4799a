"""What each remedy for rare tags is worth, on the hard corpus: python -m benchmarks.tail --images 2000.

Draws `vistag demo --corpus hard`, embeds it with the encoder of a tier, and tries each remedy by cross-validation: what is
judged was never fitted to. The last line is JSON. With --home the corpus and the embeddings are kept there.
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
from numpy.typing import NDArray

from benchmarks import tail_curves
from benchmarks.tail_corpus import Corpus, open_corpus, texts_of
from benchmarks.tail_curves import STRATEGIES, Reviewer, by_embeddings, curve, gained, walked
from benchmarks.tail_full import FullStack
from benchmarks.tail_rows import calibrated_a_facet, contrastive
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
    found_in_top,
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
from vistag_assets.whole_image.thresholds import f1_of, fit_thresholds

FOLDS = 5
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


def row_of(name: str, scores: Vectors, base: Vectors, corpus: Corpus, seconds: float) -> dict[str, object]:
    """A row of the ladder."""
    is_true, bands = corpus.is_true, corpus.bands()
    found, before = found_in_top(scores, is_true), found_in_top(base, is_true)
    tail = bands["tail"]
    counts = np.stack(
        [(found & ~before)[:, tail].sum(1), (before & ~found)[:, tail].sum(1), is_true[:, tail].sum(1)], 1
    )
    interval = paired_interval(counts)
    assert interval
    recall = {band: float(found[:, own].sum() / is_true[:, own].sum()) for band, own in bands.items()}
    gained = recall["tail"] - float(before[:, tail].sum() / is_true[:, tail].sum())
    f1, f1_kept = tail_f1(scores, is_true, tail)
    return {
        "remedy": name,
        "tail_recall@10": round(recall["tail"], 4),
        "gain": round(gained, 4),
        "ci95": [round(interval.low, 4), round(interval.high, 4)],
        "overall": round(recall["overall"], 4),
        "head": round(recall["head"], 4),
        "body": round(recall["body"], 4),
        "tail_map": round(mean_ap(scores[:, tail], is_true[:, tail]), 4),
        "tail_f1": round(f1, 4),
        "tail_f1_thresholds": round(f1_kept, 4),
        "seconds_per_image": round(corpus.seconds_per_image + seconds, 6),
    }


def mean_ap(scores: Vectors, is_true: NDArray[np.bool_]) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_true, scores, average="macro"))


def tail_f1(scores: Vectors, is_true: NDArray[np.bool_], tail: NDArray[np.bool_]) -> tuple[float, float]:
    """Of every other picture, at one threshold for all concepts and at one a concept, fitted to the rest."""
    likely = (1 / (1 + np.exp(-np.clip(scores, -30, 30)))).astype(np.float32)
    fitted = fit_thresholds([str(column) for column in range(scores.shape[1])], likely, is_true)
    rest = np.arange(len(likely)) % 2 == 1
    own = np.array([fitted.own[str(column)] for column in range(scores.shape[1])])
    told, true = likely[rest][:, tail], is_true[rest][:, tail]
    return f1_of(told >= fitted.overall, true), f1_of(told >= own[tail], true)


def ladder(corpus: Corpus, encoder: Encoder) -> list[dict[str, object]]:
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
        "policy": linear(by_policy),
    }
    rows, base = [], None
    for name, fit in fits.items():
        scores, seconds = cross_validated(corpus, fit)
        base = scores if base is None else base
        rows.append(row := row_of(name, scores, base, corpus, seconds))
        print("  " + "  ".join(f"{value}" for value in row.values()), flush=True)
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
        rows += full.ladder() if full else []
        found = reviewed(corpus, full)
    summary = {"images": len(corpus.vectors), "concepts": len(corpus.concept_ids), "ladder": rows, **found}
    print(json.dumps(summary))


def reviewed(corpus: Corpus, full: FullStack | None) -> dict[str, object]:
    """Learning curves, and what `AT` decisions of the queue are worth: in embeddings alone, and in the full stack."""
    tail, curves, gains, intervals = corpus.bands()["tail"], {}, {}, {}
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
    return {"curves": curves, "gain_at_200": gains, "gain_at_200_ci95": intervals}


if __name__ == "__main__":
    main()
