"""The ladder, an ablation: one corpus evaluated as each option of the graph, from the cheapest to the full one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.intervals import Interval, flips_by_image, paired_interval
from evaluation.metrics.recall_at_k import HEADLINE_K, OVERALL, band_groups, pair_up, recall_at_k, true_ranks

OPTIONS = ("A1", "A2", "A2T", "A3", "B2", "B3")
BASE_OPTION = "A2"
"""What gains are measured against: embeddings, no grounding."""


@dataclass(frozen=True, slots=True)
class OptionTables:
    """What one option says about the evaluated images."""

    option: str
    predictions: pa.Table  # id, concept_id, score: larger is better
    grounding_recall: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """micro recall at IoU 0.5 of its regions, overall and tail; empty where the option has none"""
    seconds_per_image: float | None = None


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One option. `tail_gain` is its tail recall minus that of BASE_OPTION, paired image by image."""

    option: str
    tag_recall_overall: float | None  # micro recall@HEADLINE_K
    tag_recall_tail: float | None  # None without a tail
    grounding_recall_overall: float | None = None  # micro recall at IoU 0.5; None without regions
    grounding_recall_tail: float | None = None
    tail_gain: float | None = None
    tail_gain_ci95: Interval | None = None
    seconds_per_image: float | None = None


def ladder(
    options: Sequence[OptionTables],
    truth: pa.Table,
    bands: pa.Table,
    concepts: Sequence[str],
    images: Sequence[str],
) -> tuple[AblationRow, ...]:
    """Evaluate every option on the same images, so that gains are paired.

    Args:
        options: any number of options, evaluated one by one.
        truth, concepts, images: as `figures.compute_tag_figures` takes them.
        bands: of `bands.frequency_bands`.

    Returns:
        A row an option, in their order.

    Raises:
        ValueError: as `recall_at_k.pair_up` does.
    """
    rows: list[AblationRow] = []
    found_rare: dict[str, np.ndarray] = {}
    image = np.empty(0, np.int64)
    for tables in options:
        pairs = pair_up(truth, tables.predictions, concepts, images)
        groups = band_groups(bands, pairs.concepts)
        groups = {band: groups[band] for band in (OVERALL, RARE_BAND) if band in groups}
        ranks = true_ranks(pairs)
        found = recall_at_k(pairs, ranks, groups, (HEADLINE_K,))
        by_band = {figure.band: figure for figure in found.figures}
        if RARE_BAND in by_band:
            rare = groups[RARE_BAND][pairs.true_tag]
            found_rare[tables.option], image = ranks[rare] <= HEADLINE_K, pairs.true_image[rare]
        micro = {band: figure.micro for band, figure in by_band.items()}
        rows.append(
            AblationRow(
                tables.option,
                tag_recall_overall=micro.get(OVERALL),
                tag_recall_tail=micro.get(RARE_BAND),
                grounding_recall_overall=tables.grounding_recall.get(OVERALL),
                grounding_recall_tail=tables.grounding_recall.get(RARE_BAND),
                seconds_per_image=tables.seconds_per_image,
            )
        )
    base = next((row for row in rows if row.option == BASE_OPTION), None)
    return tuple(
        row if base is None or base is row else _with_gain(row, base, found_rare, image) for row in rows
    )


def _with_gain(
    row: AblationRow, base: AblationRow, found_rare: Mapping[str, np.ndarray], image: np.ndarray
) -> AblationRow:
    if row.tag_recall_tail is None or base.tag_recall_tail is None:
        return row
    flips = flips_by_image(image, found_rare[base.option], found_rare[row.option])
    return replace(
        row, tail_gain=row.tag_recall_tail - base.tag_recall_tail, tail_gain_ci95=paired_interval(flips)
    )
