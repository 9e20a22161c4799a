"""Whether rare tags that the last accepted run found were lost, and the sentence that says so."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from evaluation.figures import RARE_BAND
from evaluation.metrics.bootstrap import Interval
from evaluation.metrics.comparison import Comparison
from evaluation.report.changes import points_interval
from evaluation.report.view import percent, signed_points

_SHOWN_TAGS = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the tail is recovered as well as before, and the sentence that says so."""

    passed: bool
    message: str


def judge(comparison: Comparison | None, allowed_drop: float, labels: Mapping[str, str]) -> Verdict:
    """Fail where the tail's recall fell by more than `allowed_drop` (0..1) and more than its interval explains.

    That is: where the whole 95 % interval of the paired difference lies below -allowed_drop. Without a run to
    compare with, a common image, a tail or an interval nothing can be held against a run, and it passes.

    Args:
        labels: concept id -> what the message calls it; a concept without one goes by its id.
    """
    if comparison is None:
        return Verdict(
            True, "There is no accepted run of this tier before it, so nothing to hold it against."
        )
    tail = comparison.band(RARE_BAND)
    if tail is None:
        return Verdict(True, "It has no rare tag of an image in common with the last accepted run.")
    bounds = tail.ci95
    change = (
        f"recall@{comparison.k} of rare tags went from {percent(tail.before, 1)} to {percent(tail.after, 1)}: "
        f"{signed_points(tail.difference, 1)} points{_interval(bounds)}, over {tail.support:,} true tags"
    )
    if bounds is None or bounds.high >= -allowed_drop:
        return Verdict(True, f"Against the last accepted run {change}.")
    return Verdict(
        False,
        f"Rare tags were lost. Against the last accepted run {change}. Lost: {lost_tags(comparison, labels)}. "
        "If that is meant, make this run the one to compare with: vistag accept",
    )


def lost_tags(comparison: Comparison, labels: Mapping[str, str]) -> str:
    """The rare tags found on fewer images than before, the most lost first: `anchor 3 to 1 of 3 images, ...`."""
    tags = comparison.tags
    fewer = tags.filter(pc.and_(pc.equal(tags["band"], RARE_BAND), pc.less(tags["after"], tags["before"])))
    names = [
        f"{labels.get(row['concept_id'], row['concept_id'])} {row['before']} to {row['after']} of {row['images']}"
        for row in fewer.slice(0, _SHOWN_TAGS).to_pylist()
    ]
    rest = fewer.num_rows - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _interval(bounds: Interval | None) -> str:
    if bounds is None:
        return ""
    return f" (95 % interval {points_interval(bounds)})"
