"""Whether rare tags that the last accepted run found were lost, and the sentence that says so."""

from collections.abc import Callable, Mapping

import pyarrow.compute as pc

from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.comparison import Comparison
from evaluation.report.changes import points_interval
from evaluation.report.view import percent, signed_points

_SHOWN_TAGS = 20


def is_kept(comparison: Comparison | None, allowed_drop: float) -> bool:
    """Whether the tail's recall fell by no more than `allowed_drop` (0..1) and what its interval explains.

    It is lost where the whole 95 % interval of the paired difference lies below -allowed_drop. Without a baseline,
    a common image, a tail or an interval nothing speaks against a run.
    """
    tail = comparison.band(RARE_BAND) if comparison else None
    return tail is None or tail.ci95 is None or tail.ci95.high >= -allowed_drop


def sentence(
    comparison: Comparison | None,
    allowed_drop: float,
    labels: Mapping[str, str],
    shown: Callable[[str], str] = str,
) -> str:
    """What `is_kept` says in words; `labels`: concept id -> what it is called, else it goes by its id.

    shown: how a name is written where the sentence is read as something else than text.
    """
    if comparison is None:
        return "There is no accepted run of this tier before it, so it has no baseline."
    tail = comparison.band(RARE_BAND)
    if tail is None:
        return "It has no rare tag of an image in common with the last accepted run."
    bounds = f" (95 % interval {points_interval(tail.ci95)})" if tail.ci95 else ""
    change = (
        f"Against the last accepted run recall@{comparison.k} of rare tags went from {percent(tail.before, 1)} to "
        f"{percent(tail.after, 1)}: {signed_points(tail.difference, 1)} points{bounds}, over {tail.support:,} true tags"
    )
    if is_kept(comparison, allowed_drop):
        return f"{change}."
    return (
        f"Rare tags were lost. {change}. Lost: {lost_tags(comparison, labels, shown)}. "
        "If that is meant, make this run the one to compare with: vistag accept"
    )


def lost_tags(comparison: Comparison, labels: Mapping[str, str], shown: Callable[[str], str] = str) -> str:
    """The rare tags found on fewer images than before, the most lost first: `anchor 3 to 1 of 3 images, ...`."""
    tags = comparison.tags
    fewer = tags.filter(pc.and_(pc.equal(tags["band"], RARE_BAND), pc.less(tags["after"], tags["before"])))
    names = [
        f"{shown(labels.get(row['concept_id'], row['concept_id']))} {row['before']} to {row['after']} of {row['images']}"
        for row in fewer.slice(0, _SHOWN_TAGS).to_pylist()
    ]
    rest = fewer.num_rows - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")
