"""What each remedy for rare tags is worth, on the hard corpus: python -m benchmarks.tail --images 2000.

Draws `vistag demo --corpus hard`, embeds it with the encoder of a tier, and tries each remedy by cross-validation: what is
judged was never fitted to. The last line is JSON, the one before it has all figures of the rows. With --home the corpus and
the embeddings are kept there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.tail import curves as learning
from benchmarks.tail.asking import escalation_rows
from benchmarks.tail.corpus import Corpus, open_corpus
from benchmarks.tail.curves import STRATEGIES, Reviewer, by_embeddings, curve, gained, walked
from benchmarks.tail.full import FullStack
from benchmarks.tail.ladder import ladder
from demo.corpus import CORPORA
from evaluation.metrics.intervals import paired_interval
from resources.models.checkpoints import make_model
from resources.models.tiers import load_tier

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
        seeds = range(learning.SEEDS)
        walks = [walk for seed in seeds for walk in walked(STRATEGIES[strategy], corpus, reviewer, seed)]
        curves[name] = curve(walks, judges["A2"], tail)
        print(f"  {name}: {curves[name]}", flush=True)
        if name != "queue":
            continue
        for option, judge in judges.items():
            first = walks[: learning.THIRDS]
            interval = paired_interval(gained(first, judge, tail, AT))
            at = dict(curve(walks, judge, tail)) if option == "full" else dict(curves[name])
            gains[option] = round(at[AT] - at[0], 4)
            intervals[option] = [round(interval.low, 4), round(interval.high, 4)] if interval else None
            if option == "full":
                curves["queue, full"] = [*at.items()]
    return curves, gains, intervals


if __name__ == "__main__":
    main()
