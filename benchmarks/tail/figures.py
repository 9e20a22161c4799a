"""A row of the ladder of remedies: what scores find of rare concepts, what thresholds keep of them, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.tail.corpus import Corpus
from demo.world.hard.world import hard_taxonomy
from evaluation.metrics.intervals import paired_interval
from resources.models.tiers import TagSettings
from vistag_assets.whole_image.adapter_policy import found_in_top
from vistag_assets.whole_image.adapters import Vectors
from vistag_assets.whole_image.thresholds import f1_of, thresholds_of, wider_groups

FOLDS = 5
FLOORS = (0.1, 0.25, 0.5, 0.75)
"""Of the precision of what thresholds keep."""
_FLOOR = TagSettings().precision_floor
_DRAWS = 2000

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """What one remedy is worth, every figure on pictures that it was not fitted to."""

    remedy: str
    tail_recall: float
    """at 10, 0..1"""
    gain: float
    """of it, over the row that it is compared with"""
    ci95: tuple[float, float]
    overall: float
    """recall@10 of all concepts"""
    seconds_per_image: float | None
    """of all that the remedy needs; None where nobody measured it"""
    more: Mapping[str, object] = field(default_factory=dict)

    def asked(self) -> dict[str, object]:
        """What the last line of the bench tells."""
        return {
            "remedy": self.remedy,
            "tail_recall@10": round(self.tail_recall, 4),
            "gain": round(self.gain, 4),
            "ci95": [round(bound, 4) for bound in self.ci95],
            "overall": round(self.overall, 4),
            "seconds_per_image": None if self.seconds_per_image is None else round(self.seconds_per_image, 6),
        }

    def whole(self) -> dict[str, object]:
        more = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in self.more.items()
        }
        return {**self.asked(), **more}

    def __str__(self) -> str:
        return "  " + "  ".join(f"{value}" for value in self.whole().values())


def row_of(name: str, scores: Vectors, base: Vectors, corpus: Corpus, seconds: float) -> Row:
    """Of scores [pictures, concepts] that every picture has from a fit without its fold, against those of `base`.

    `seconds`: a picture, that scoring takes beside the encoder.
    """
    row = recall_row(name, scores, base, corpus.is_true, corpus.bands(), corpus.seconds_per_image + seconds)
    tail = corpus.bands()["tail"]
    kept = {"one": kept_by(scores, corpus, one_for_all=True), "own": kept_by(scores, corpus, _FLOOR)}
    f1 = {rule: f1_of(taken[:, tail], corpus.is_true[:, tail]) for rule, taken in kept.items()}
    more = {
        **row.more,
        "tail_map": mean_ap(scores[:, tail], corpus.is_true[:, tail]),
        "tail_f1": f1["one"],
        "tail_f1_thresholds": f1["own"],
    }
    return Row(name, row.tail_recall, row.gain, row.ci95, row.overall, row.seconds_per_image, more)


def recall_row(
    name: str, scores: Vectors, base: Vectors, is_true: Bool, bands: Mapping[str, Bool], seconds: float | None
) -> Row:
    """Recall@10 alone; `bands`: bool [concepts] of overall, head, body and tail."""
    found, before, tail = found_in_top(scores, is_true), found_in_top(base, is_true), bands["tail"]
    counts = [(found & ~before)[:, tail], (before & ~found)[:, tail], is_true[:, tail]]
    interval = paired_interval(np.stack([part.sum(axis=1) for part in counts], 1))
    assert interval
    recall = {band: found[:, own].sum() / max(is_true[:, own].sum(), 1) for band, own in bands.items()}
    gain = recall["tail"] - before[:, tail].sum() / is_true[:, tail].sum()
    return Row(
        name,
        float(recall["tail"]),
        float(gain),
        (interval.low, interval.high),
        float(recall["overall"]),
        seconds,
        {"head": float(recall["head"]), "body": float(recall["body"])},
    )


def threshold_rows(name: str, scores: Vectors, base: Row, corpus: Corpus) -> list[Row]:
    """What thresholds of several kinds keep by the scores of a row, whose order they leave alone; gains of tail F1 are over
    one threshold for all.
    """
    tail = corpus.bands()["tail"]
    before = kept_by(scores, corpus, one_for_all=True)
    rows = []
    for floor in (None, *FLOORS):
        taken = kept_by(scores, corpus, floor)
        low, high = f1_interval(before[:, tail], taken[:, tail], corpus.is_true[:, tail])
        f1, f1_before = (f1_of(kept[:, tail], corpus.is_true[:, tail]) for kept in (taken, before))
        called = "best F1" if floor is None else f"precision {floor:g}"
        more = {
            "tail_f1_before": f1_before,
            "tail_f1": f1,
            "tail_f1_gain_ci95": [round(low, 4), round(high, 4)],
            "tail_precision": _precision(taken[:, tail], corpus.is_true[:, tail]),
            "overall_precision": _precision(taken, corpus.is_true),
            "overall_f1_before": f1_of(before, corpus.is_true),
            "overall_f1": f1_of(taken, corpus.is_true),
            "tail_kept": int(taken[:, tail].sum()),
        }
        same = (base.tail_recall, base.gain, base.ci95, base.overall, base.seconds_per_image)
        rows.append(Row(f"{name}, thresholds: {called}", *same, more))
    return rows


def kept_by(
    scores: Vectors, corpus: Corpus, precision_floor: float | None = None, *, one_for_all: bool = False
) -> Bool:
    """[pictures, concepts] that thresholds keep, each picture's fitted without its fold: one a concept, drawn to those of its
    groups, or one for all.
    """
    likely = (1 / (1 + np.exp(-np.clip(scores, -30, 30)))).astype(np.float32)
    groups, turn = wider_groups(hard_taxonomy()), np.arange(len(likely)) % FOLDS
    taken = np.empty_like(corpus.is_true)
    for fold in range(FOLDS):
        others = turn != fold
        overall, own = thresholds_of(
            corpus.concept_ids, likely[others], corpus.is_true[others], groups, precision_floor
        )
        least = overall if one_for_all else np.array([own[id_] for id_ in corpus.concept_ids])
        taken[~others] = likely[~others] >= least
    return taken


def _precision(taken: Bool, is_true: Bool) -> float:
    """Of what is taken, 0..1; 0 where nothing is."""
    return float((taken & is_true).sum() / max(taken.sum(), 1))


def f1_interval(before: Bool, after: Bool, is_true: Bool, seed: int = 0) -> tuple[float, float]:
    """95 % of after - before, micro-averaged F1 of the same pictures, which are drawn with replacement (bootstrap)."""
    pictures = len(is_true)
    drawn = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), _DRAWS)
    shares = []
    for taken in (before, after):
        counts = drawn @ np.stack([(taken & is_true).sum(1), taken.sum(1) + is_true.sum(1)], 1)
        shares.append(2 * counts[:, 0] / np.maximum(counts[:, 1], 1))
    low, high = np.quantile(shares[1] - shares[0], (0.025, 0.975))
    return float(low), float(high)


def mean_ap(scores: Vectors, is_true: Bool) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_true, scores, average="macro"))
