"""The calibration plot and the sentence beside it: how far the probabilities of tags can be believed."""

from collections.abc import Mapping

from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.calibration import Reliability
from evaluation.metrics.recall_at_k import OVERALL
from evaluation.report.charts import PERCENT_AXIS, SYMBOLS, Spec, layout
from evaluation.report.view import interval, percent, points

SURE = 0.9
NOISE = 0.1
_NAMES = {OVERALL: "all tags", RARE_BAND: "rare tags"}


def calibration_sentence(calibration: Mapping[str, Reliability]) -> str:
    """What the surest tags are worth, and how far probabilities lie from what is true on average."""
    shares = []
    for name, found in calibration.items():
        sure = [bin_ for bin_ in found.bins if bin_.low >= SURE]
        if sure:
            pairs = sum(bin_.pairs for bin_ in sure)
            true = sum(bin_.share_true * bin_.pairs for bin_ in sure) / pairs
            shares.append(f"{percent(true)} of the {pairs:,} {_NAMES[name]}")
    first = (
        f"Given a probability of {percent(SURE)} or more, {' and '.join(shares)} are true. " if shares else ""
    )
    errors = [
        f"{points(error, 1)} points for {_NAMES[name]}"
        for name, found in calibration.items()
        if (error := _error_above(found, NOISE)) is not None
    ]
    second = f"On average a probability of {percent(NOISE)} or more is off by {' and '.join(errors)}."
    return first + (second if errors else "")


def _error_above(found: Reliability, low: float) -> float | None:
    """The expected calibration error of the bins from `low` on; most pairs lie below and would drown the rest."""
    bins = [bin_ for bin_ in found.bins if bin_.low >= low]
    pairs = sum(bin_.pairs for bin_ in bins)
    return sum(b.pairs * abs(b.mean_probability - b.share_true) for b in bins) / pairs if pairs else None


def calibration_chart(calibration: Mapping[str, Reliability]) -> Spec:
    """Share true against mean probability by bin, with 95 % intervals; on the diagonal they are equal."""
    diagonal = {
        "x": [0, 1],
        "y": [0, 1],
        "mode": "lines",
        "line": {"color": "var(--muted)", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return {
        "data": [diagonal, *(_bins(name, found) for name, found in calibration.items())],
        "layout": layout(
            xaxis={"title": {"text": "probability given"}, "range": [-0.03, 1.03], **PERCENT_AXIS},
            yaxis={"title": {"text": "share that is true"}, "range": [-0.03, 1.06], **PERCENT_AXIS},
            margin={"l": 60, "r": 16, "t": 36, "b": 48},
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        ),
    }


def _bins(name: str, found: Reliability) -> Spec:
    upper = [(b.ci95.high if b.ci95 else b.share_true) - b.share_true for b in found.bins]
    lower = [b.share_true - (b.ci95.low if b.ci95 else b.share_true) for b in found.bins]
    return {
        "x": [b.mean_probability for b in found.bins],
        "y": [b.share_true for b in found.bins],
        "error_y": {"type": "data", "symmetric": False, "array": upper, "arrayminus": lower, "width": 3},
        "text": [
            f"given {percent(b.low)} to {percent(b.high)}: {percent(b.share_true, 1)} of {b.pairs:,} are true<br>"
            f"95 % interval {interval(b.ci95)}"
            for b in found.bins
        ],
        "name": _NAMES[name],
        "mode": "lines+markers",
        "line": {
            "color": f"var(--{name})",
            "width": 3 if name == RARE_BAND else 1.5,
            "dash": "solid" if name == RARE_BAND else "dot",
        },
        "marker": {"symbol": SYMBOLS[name], "size": 10 if name == RARE_BAND else 8},
        "hovertemplate": "<b>%{fullData.name}</b> %{text}<extra></extra>",
    }
