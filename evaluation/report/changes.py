"""What both reports say of two runs: which differences are real, which tags were lost, and the trend of all."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.history import Compared, Run
from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.intervals import Interval
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.report.charts import PERCENT_AXIS, SYMBOLS, Spec, end_labels, layout, ribbon, spread_labels
from evaluation.report.view import BAND_ORDER, NBSP, interval, percent, signed_points

MOST_TICKS = 8


def verdict(compared: Compared) -> str:
    """The answer in one sentence: were rare tags lost or won, or can nobody tell."""
    tail = compared.comparison.band(RARE_BAND)
    if tail is None:
        return "The two runs have no rare tag of an image in common: they cannot be compared."
    bounds = f" (95{NBSP}% interval {points_interval(tail.ci95)})" if tail.ci95 else ""
    size = f"{signed_points(tail.difference, 1)} points of recall@{compared.comparison.k}{bounds}"
    if tail.is_real:
        return f"Rare tags were {'won' if tail.difference > 0 else 'lost'}: {size}."
    if not tail.difference:
        return f"Rare tags are recovered as before: {percent(tail.after, 1)} of them."
    return f"No difference that chance would not make: rare tags {size}."


def points_interval(bounds: Interval | None) -> str:
    """`−2.0 to +0.4`, in points."""
    if bounds is None:
        return "no interval: one image"
    return f"{signed_points(bounds.low, 1)} to {signed_points(bounds.high, 1)}"


def changed_tags(compared: Compared) -> list[dict[str, Any]]:
    """Rows of TAG_CHANGES_SCHEMA with a `label`, of the tags that changed on any image: tail first, losses first."""
    changed = compared.comparison.changed_tags.to_pylist()
    return [{**row, "label": compared.labels.get(row["concept_id"], row["concept_id"])} for row in changed]


def what_differs(compared: Compared) -> list[str]:
    """What was not the same in both runs, apart from the figures."""
    before, after = compared.before, compared.after
    facts = [
        f"{name} {getattr(before, name)} → {getattr(after, name)}"
        for name in ("tier", "option", "taxonomy", "corpus")
        if getattr(before, name) != getattr(after, name)
    ]
    old, new = ({model.role: model for model in run.models} for run in (before, after))
    for role in sorted(old.keys() | new.keys()):
        if old.get(role) != new.get(role):
            facts.append(f"{role} {_model(old.get(role))} → {_model(new.get(role))}")
    return facts


def _model(model: Any) -> str:
    return f"{model.name} ({model.fingerprint[:6]})" if model else "none"


def comparison_json(compared: Compared) -> dict[str, Any]:
    """The comparison as JSON: bands by name, changed tags in the order of the page."""
    comparison = compared.comparison
    return {
        "before": compared.before.run,
        "after": compared.after.run,
        "differs": what_differs(compared),
        "images": comparison.images,
        f"tag_recall@{comparison.k}": {
            change.band: {
                "before": change.before,
                "after": change.after,
                "difference": change.difference,
                **({"ci95": [change.ci95.low, change.ci95.high]} if change.ci95 else {}),
                "is_real": change.is_real,
                "support": change.support,
            }
            for change in comparison.bands
        },
        "changed_tags": [
            {name: row[name] for name in comparison.tags.column_names} for row in changed_tags(compared)
        ],
    }


def trend(history: Sequence[Run]) -> Spec:
    """Micro recall@HEADLINE_K of each band, run by run; runs that nobody accepted are drawn hollow."""
    order = list(range(1, len(history) + 1))
    series = {name: [run.recall(name, HEADLINE_K) for run in history] for name in BAND_ORDER}
    shown = {name: rows for name, rows in series.items() if any(rows)}
    last = {name: next(row["micro"] for row in reversed(rows) if row) for name, rows in shown.items()}
    step = -(-len(order) // MOST_TICKS)
    floor = min(row["micro"] for rows in shown.values() for row in rows if row)
    return {
        "data": [
            *(
                ribbon(
                    name, [(x, b) for x, row in zip(order, rows, strict=True) if row and (b := _bounds(row))]
                )
                for name, rows in shown.items()
                if name == RARE_BAND
            ),
            *(_line(name, order, rows, history) for name, rows in shown.items()),
        ],
        "layout": layout(
            xaxis={
                "tickvals": order[::step],
                "ticktext": [f"{run.created_at:%d %b}<br>{run.created_at:%H:%M}" for run in history[::step]],
                "showgrid": False,
                "zeroline": False,
                "range": [0.7, len(order) + 0.3],
            },
            yaxis={
                "title": {"text": f"recall@{HEADLINE_K}"},
                **PERCENT_AXIS,
                "tickvals": None,
                "nticks": 6,
                "range": [max(0.0, floor - 0.12), 1.02],
            },
            margin={"l": 60, "r": 64, "t": 16, "b": 48},
            annotations=end_labels(order[-1], spread_labels(last, 0.065 * (1.02 - max(0.0, floor - 0.12)))),
        ),
    }


def _line(
    name: str, order: list[int], rows: Sequence[Mapping[str, Any] | None], history: Sequence[Run]
) -> Spec:
    known = [(x, row, run) for x, row, run in zip(order, rows, history, strict=True) if row]
    return {
        "x": [x for x, _, _ in known],
        "y": [row["micro"] for _, row, _ in known],
        "text": [
            f"{run.created_at:%Y-%m-%d %H:%M}, tier {run.tier}<br>{percent(row['micro'], 1)}, "
            f"95 % interval {interval(_bounds(row))}<br>"
            + (f"accepted by {run.accepted_by}" if run.accepted_by else "not accepted")
            for _, row, run in known
        ],
        "name": name,
        "mode": "lines+markers",
        "line": {"color": f"var(--{name})", "width": 4 if name == RARE_BAND else 2},
        "marker": {
            "symbol": [
                SYMBOLS[name].removesuffix("-open") + ("" if run.accepted_by else "-open")
                for *_, run in known
            ],
            "size": 11 if name == RARE_BAND else 8,
        },
        "hovertemplate": "<b>%{fullData.name}</b> %{text}<extra></extra>",
    }


def _bounds(row: Mapping[str, Any]) -> Interval | None:
    return None if row["ci95_low"] is None else Interval(row["ci95_low"], row["ci95_high"])
