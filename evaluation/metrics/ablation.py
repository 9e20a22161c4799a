"""The ladder: one corpus evaluated as each option of the graph, from the cheapest to the full one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evaluation.metrics.bands import BANDS
from evaluation.metrics.bootstrap import RESAMPLES, Interval, interval95
from evaluation.metrics.grounding import grounding_recall, match_regions
from evaluation.metrics.recall_at_k import OVERALL, band_groups, pair_up, recall_at_k, true_ranks

OPTIONS = ("A1", "A2", "A3", "B2", "B3")
BASE_OPTION = "A2"
"""What gains are measured against: embeddings, no grounding."""
LADDER_K = 10
TAIL = BANDS[-1]

LADDER_SCHEMA = pa.schema(
    [
        ("option", pa.string()),
        ("tag_recall_overall", pa.float64()),
        ("tag_recall_tail", pa.float64()),
        ("grounding_recall_overall", pa.float64()),
        ("grounding_recall_tail", pa.float64()),
        ("tail_gain", pa.float64()),
        ("tail_gain_ci95_low", pa.float64()),
        ("tail_gain_ci95_high", pa.float64()),
        ("seconds_per_image", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class OptionTables:
    """What one option says about the evaluated images."""

    option: str
    predictions: pa.Table  # id, concept_id, score: larger is better
    regions: pa.Table | None = None  # as `grounding.match_regions` takes them; None: the option has none
    seconds_per_image: float | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One option. `tail_gain` is its tail recall minus that of BASE_OPTION, paired image by image."""

    option: str
    tag_recall: Mapping[str, float]  # micro recall@LADDER_K, overall and tail (absent without a tail)
    grounding_recall: Mapping[str, float]  # micro recall at IoU 0.5, overall and tail; empty without regions
    seconds_per_image: float | None
    tail_gain: float | None = None
    tail_gain_ci95: Interval | None = None


def ladder(
    options: Sequence[OptionTables],
    truth: pa.Table,
    true_regions: pa.Table | None,
    bands: pa.Table,
    concepts: Sequence[str],
    images: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Rung, ...]:
    """Evaluate every option on the same images; the resamples are the same too, so gains are paired.

    Args:
        truth, concepts, images: as `figures.compute_tag_figures` takes them.
        true_regions: as `grounding.match_regions` takes them, None or empty where nobody drew any.
        bands: of `bands.frequency_bands`.
    """
    rungs: list[Rung] = []
    samples: dict[str, np.ndarray] = {}
    for tables in options:
        pairs = pair_up(truth, tables.predictions, concepts, images)
        groups = {
            band: group
            for band, group in band_groups(bands, pairs.concepts).items()
            if band in (OVERALL, TAIL)
        }
        recall = recall_at_k(pairs, true_ranks(pairs), groups, (LADDER_K,), resamples, seed)
        by_band = {figure.band: figure for figure in recall.figures}
        if TAIL in by_band and by_band[TAIL].ci95:
            samples[tables.option] = recall.samples[TAIL, LADDER_K]
        rungs.append(
            Rung(
                tables.option,
                {band: figure.micro for band, figure in by_band.items()},
                _grounding(tables.regions, true_regions, bands),
                tables.seconds_per_image,
            )
        )
    return tuple(_with_gain(rung, rungs, samples) for rung in rungs)


def ladder_table(rungs: Sequence[Rung]) -> pa.Table:
    """The rungs as rows of `LADDER_SCHEMA`; what an option lacks is null."""
    rows = [
        {
            "option": rung.option,
            "tag_recall_overall": rung.tag_recall.get(OVERALL),
            "tag_recall_tail": rung.tag_recall.get(TAIL),
            "grounding_recall_overall": rung.grounding_recall.get(OVERALL),
            "grounding_recall_tail": rung.grounding_recall.get(TAIL),
            "tail_gain": rung.tail_gain,
            "tail_gain_ci95_low": rung.tail_gain_ci95 and rung.tail_gain_ci95.low,
            "tail_gain_ci95_high": rung.tail_gain_ci95 and rung.tail_gain_ci95.high,
            "seconds_per_image": rung.seconds_per_image,
        }
        for rung in rungs
    ]
    return pa.Table.from_pylist(rows, schema=LADDER_SCHEMA)


def _grounding(regions: pa.Table | None, true_regions: pa.Table | None, bands: pa.Table) -> dict[str, float]:
    if regions is None or true_regions is None or true_regions.num_rows == 0:
        return {}
    # the ladder shows no interval of it, so one resample is enough
    evaluation = grounding_recall(match_regions(true_regions, regions), bands, resamples=1)
    figures = {band: evaluation.figure(band) for band in (OVERALL, TAIL)}
    return {band: figure.micro for band, figure in figures.items() if figure}


def _with_gain(rung: Rung, rungs: Sequence[Rung], samples: Mapping[str, np.ndarray]) -> Rung:
    base = next((other for other in rungs if other.option == BASE_OPTION), None)
    if base is None or base is rung or TAIL not in rung.tag_recall or TAIL not in base.tag_recall:
        return rung
    differences = samples[rung.option] - samples[BASE_OPTION] if BASE_OPTION in samples else None
    return Rung(
        rung.option,
        rung.tag_recall,
        rung.grounding_recall,
        rung.seconds_per_image,
        rung.tag_recall[TAIL] - base.tag_recall[TAIL],
        None if differences is None else interval95(differences),
    )
