"""Plotly specifications (`data` and `layout` as plain dictionaries) of the two charts.

Colours are the page's CSS variables, written `var(--tail)`; page.js puts their values in, so that the charts
follow the light, dark and print styles. Bands differ by shape and dash as well as by colour.
"""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow.compute as pc

from evaluation.metrics.bands import BANDS
from evaluation.metrics.intervals import Interval
from evaluation.metrics.recall_at_k import HEADLINE_K, KS, OVERALL
from evaluation.report.view import BAND_ORDER, BandRow, LongTailReport, band_rows, interval, percent

Spec = dict[str, Any]

_DASHES = {"tail": "solid", "body": "dash", "head": "solid", OVERALL: "dot"}
SYMBOLS = {"tail": "diamond", "body": "square", "head": "circle", OVERALL: "circle-open"}
_POINT, _LARGEST_POINT = 9, 34  # pixels; the area of a point is that of its tags, up to the largest
_FEWEST_COUNTED = 5
"""Tags at one spot from which on their number stands in it."""
_NAMED_AT_A_SPOT = 12
_ASIDE = 0.07  # between bands that meet at one spot, as a share of the axis
PERCENT_AXIS: Spec = {
    "tickformat": ".0%",
    "gridcolor": "var(--line)",
    "zeroline": False,
    "tickvals": [0, 0.25, 0.5, 0.75, 1],
}


@dataclass(frozen=True, slots=True)
class Point:
    """The tags of a band that stand at one spot: on as many images each, found on as many of them."""

    images: float
    recall: float  # 0..1
    tags: int
    hover: str


def recall_curves(report: LongTailReport) -> Spec:
    """Micro recall against k: one line a band, its interval as a ribbon, and the ceiling of all tags."""
    rows = band_rows(report.tags)
    overall = next(row for row in rows if row.name == OVERALL)
    ceiling = {
        "x": list(KS),
        "y": [overall.by_k[k].ceiling for k in KS],
        "mode": "lines",
        "line": {"color": "var(--muted)", "width": 1, "dash": "dot"},
        "hovertemplate": "the most that %{x} suggestions allow over all tags: %{y:.1%}<extra></extra>",
    }
    ribbons = [
        ribbon(row.name, [(k, bounds) for k in KS if (bounds := row.by_k[k].ci95)])
        for row in rows
        if row.name != OVERALL
    ]
    ends = spread_labels({row.name: row.by_k[KS[-1]].micro for row in rows})
    return {
        "data": [*ribbons, ceiling, *(_curve(row) for row in rows)],
        "layout": layout(
            xaxis={
                "title": {"text": "suggestions looked at (k)"},
                "tickvals": list(KS),
                "showgrid": False,
                "zeroline": False,
                "range": [0, KS[-1] + 0.3],
            },
            yaxis={"title": {"text": "recall@k"}, "range": [-0.02, 1.04], **PERCENT_AXIS},
            margin={"l": 60, "r": 64, "t": 16, "b": 48},
            annotations=end_labels(KS[-1], ends),
        ),
    }


def recall_by_frequency(report: LongTailReport) -> Spec:
    """Recall@10 of every tag with support against the images that carry it (logarithmic)."""
    tags = report.tags.tags.filter(pc.greater(report.tags.tags["images"], 0)).to_pylist()
    decades = max(1.0, math.log10(max(row["images"] for row in tags)))
    together: dict[tuple[str, int, float], list[dict[str, Any]]] = {}
    for row in tags:
        together.setdefault((row["band"], row["images"], row["recall"]), []).append(row)
    points: dict[str, list[Point]] = {band: [] for band in BANDS}
    for (band, images, recall), rows in together.items():
        # bands that meet at one spot stand side by side, the tail on the left
        here = [name for name in reversed(BANDS) if (name, images, recall) in together]
        aside = (here.index(band) - (len(here) - 1) / 2) * _ASIDE * decades
        points[band].append(Point(images * 10**aside, recall, len(rows), _hover(report, rows)))
    return {
        "data": [_points(band, points[band]) for band in BANDS if points[band]],
        "layout": layout(
            xaxis={
                "title": {"text": "images that carry the tag (logarithmic)"},
                "type": "log",
                "dtick": "D2" if decades < 2.5 else 1,
                "gridcolor": "var(--line)",
                "range": [-0.07 * decades, 1.05 * decades],
            },
            yaxis={
                "title": {"text": f"recall@{HEADLINE_K} of the tag"},
                "range": [-0.09, 1.22],
                **PERCENT_AXIS,
            },
            margin={"l": 60, "r": 16, "t": 16, "b": 48},
            **_band_marks(report, decades),
        ),
    }


def _curve(row: BandRow) -> Spec:
    figures = [row.by_k[k] for k in KS]
    return {
        "x": list(KS),
        "y": [f.micro for f in figures],
        "text": [
            f"{percent(f.micro, 1)}, 95 % interval {interval(f.ci95)}<br>macro {percent(f.macro, 1)}"
            for f in figures
        ],
        "name": row.name,
        "mode": "lines+markers",
        "line": {
            "color": f"var(--{row.name})",
            "width": 4 if row.name == "tail" else 2,
            "dash": _DASHES[row.name],
        },
        "marker": {"symbol": SYMBOLS[row.name], "size": 11 if row.name == "tail" else 8},
        "hovertemplate": "<b>%{fullData.name}</b>, first %{x}: %{text}<extra></extra>",
    }


def ribbon(name: str, known: Sequence[tuple[int, Interval]]) -> Spec:
    """The area between the bounds of a band's intervals, left to right."""
    return {
        "x": [*(x for x, _ in known), *(x for x, _ in reversed(known))],
        "y": [*(bounds.low for _, bounds in known), *(bounds.high for _, bounds in reversed(known))],
        "fill": "toself",
        "fillcolor": f"var(--{name}-soft)",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
    }


def end_labels(x: float, heights: Mapping[str, float]) -> list[Spec]:
    """The name of each band to the right of where its line ends."""
    return [
        {
            "x": x,
            "y": y,
            "text": f"<b>{name}</b>",
            "xanchor": "left",
            "xshift": 10,
            "showarrow": False,
            "font": {"color": f"var(--{name})", "size": 14},
        }
        for name, y in heights.items()
    ]


def _points(band: str, points: Sequence[Point]) -> Spec:
    sizes = [min(_LARGEST_POINT, _POINT * math.sqrt(point.tags)) for point in points]
    return {
        "x": [point.images for point in points],
        "y": [point.recall for point in points],
        "hovertext": [point.hover for point in points],
        "text": [f"{point.tags:,}" if point.tags >= _FEWEST_COUNTED else "" for point in points],
        "name": band,
        "mode": "markers+text",
        "textfont": {"size": 11, "color": "var(--panel)"},
        "marker": {
            "symbol": SYMBOLS[band],
            "size": sizes,
            "color": f"var(--{band})",
            "opacity": 0.85,
            "line": {"color": "var(--panel)", "width": 1},
        },
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _precision(average: float | None) -> str:
    return "" if average is None else f"<br>average precision {average:.2f}"


def _hover(report: LongTailReport, rows: Sequence[dict[str, Any]]) -> str:
    """What one tag is; of several at one spot their names."""
    if len(rows) == 1:
        [row] = rows
        label = html.escape(report.label(row["concept_id"]))
        return (
            f"<b>{label}</b> ({row['band']})<br>found on {row['found']:,} of {row['images']:,} images "
            f"({percent(row['recall'])}){_precision(row['average_precision'])}"
        )
    names = [html.escape(report.label(row["concept_id"])) for row in rows]
    shown = "<br>".join(names[:_NAMED_AT_A_SPOT])
    more = f"<br>and {len(names) - _NAMED_AT_A_SPOT:,} more" if len(names) > _NAMED_AT_A_SPOT else ""
    each = f"each found on {rows[0]['found']:,} of {rows[0]['images']:,} images"
    return f"<b>{len(rows):,} tags</b> ({rows[0]['band']}), {each}<br>{shown}{more}"


def spread_labels(ends: dict[str, float], apart: float = 0.065) -> dict[str, float]:
    """Push labels at the ends of lines apart, top to bottom, so that none covers another."""
    placed: dict[str, float] = {}
    for name in sorted(ends, key=lambda name: (-ends[name], BAND_ORDER.index(name))):
        placed[name] = min(ends[name], min(placed.values(), default=2.0) - apart)
    return placed


def _band_marks(report: LongTailReport, decades: float) -> Spec:
    """A line where one band ends and the next begins, and each band's name above its part."""
    bands = [(name, report.tags.bands[name]) for name in reversed(BANDS) if name in report.tags.bands]
    cuts = [
        math.log10(math.sqrt(lower.max_images * upper.min_images))
        for (_, lower), (_, upper) in pairwise(bands)
    ]
    edges = [-0.07 * decades, *cuts, 1.05 * decades]
    return {
        "shapes": [
            {
                "type": "line",
                "x0": 10**cut,
                "x1": 10**cut,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "layer": "below",
                "line": {"color": "var(--muted)", "width": 1, "dash": "dot"},
            }
            for cut in cuts
        ],
        "annotations": [
            {
                "x": (left + right) / 2,
                "y": 1,
                "yref": "paper",
                "yanchor": "top",
                "text": f"<b>{name}</b>",
                "showarrow": False,
                "font": {"color": f"var(--{name})", "size": 14},
            }
            for (name, _), left, right in zip(bands, edges[:-1], edges[1:], strict=True)
        ],
    }


def layout(**parts: Any) -> Spec:
    return {
        "height": 380,
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "var(--ink)"},
        "hoverlabel": {
            "bgcolor": "var(--panel)",
            "bordercolor": "var(--muted)",
            "font": {"color": "var(--ink)", "size": 13},
            "align": "left",
        },
        **parts,
    }
