"""Renders the report as one HTML file, with style, script, charts and pictures inside it, and as Markdown.

Both are templates over the same context.
"""

import re
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from evaluation.history import Compared
from evaluation.metrics.bands import LVIS_BANDS, RARE_BAND
from evaluation.metrics.grounding import IOU_NAMES
from evaluation.metrics.recall_at_k import HEADLINE_K, KS
from evaluation.report import changes, charts, sections, view
from evaluation.report.reliability import calibration_chart, calibration_sentence
from resources.markdown import plain_text
from resources.web.templates import page_templates

_SHOWN_LOST_TAGS = 200
_SHOWN_TAGS_OF_MARKDOWN = 20


def render_html(report: view.LongTailReport) -> str:
    """The report as a page that loads nothing: its content security policy forbids the browser to try."""
    calibration = report.tag_figures.calibration
    drawn = {
        "curves": charts.recall_curves(report),
        "scatter": charts.recall_by_frequency(report),
        **({"calibration": calibration_chart(calibration)} if calibration else {}),
        **({"trend": changes.trend(report.history)} if len(report.history) > 1 else {}),
    }
    template = _environment().get_template("page.html.j2")
    return template.render(**_context(report), charts=drawn, plotly=Markup(get_plotlyjs()))


def render_markdown(report: view.LongTailReport) -> str:
    """The headline, the band and recall tables, the rare tags that are lost, and how all that was made.

    For the metadata of an asset; nothing that pictures or strangers said breaks out of its cell.
    """
    return _markdown("report.md.j2", _context(report))


def render_comparison(compared: Compared) -> str:
    """Two runs on a page of its own, under the same policy."""
    return _environment().get_template("comparison.html.j2").render(history=(), **_changes(compared))


def comparison_markdown(compared: Compared) -> str:
    """The verdict, the bands, and the rare tags that changed."""
    return _markdown("changes.md.j2", _changes(compared))


def _markdown(template: str, context: dict[str, Any]) -> str:
    words = _environment().overlay(autoescape=False).get_template(template)
    text = words.render(**context, shown_tags=_SHOWN_TAGS_OF_MARKDOWN)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def _context(report: view.LongTailReport) -> dict[str, Any]:
    missed = view.missed_tags(report)
    lost = [tag for tag in missed if tag.found == 0]
    at_times = [tag for tag in missed if tag.found]
    evaluation, figures = report.tags, report.figures
    embeddings, whole = report.tag_figures.embeddings, report.tag_figures.whole_vocabulary
    return {
        "report": report,
        "evaluation": evaluation,
        "embeddings": embeddings and view.by_band_and_k(embeddings.recall),
        "whole": whole,
        "whole_recall": whole and view.by_band_and_k(whole.recall),
        "headline": view.headline(evaluation),
        "consequence": view.consequence(report),
        "on_keywords": view.on_keywords(evaluation),
        "rows": view.band_rows(evaluation),
        "lvis_rows": view.band_rows(evaluation, LVIS_BANDS),
        "lost": lost[:_SHOWN_LOST_TAGS],
        "lost_count": len(lost),
        "at_times": at_times,
        "at_times_count": len(at_times),
        "calibration": report.tag_figures.calibration,
        "calibration_sentence": calibration_sentence(report.tag_figures.calibration),
        "history": report.history if len(report.history) > 1 else (),
        "every_tag": view.weakest_first(report),
        "grounding": sections.grounding_rows(report),
        "gap_of_regions": figures.regions.grounding and figures.regions.grounding.gap,
        "ious": tuple(IOU_NAMES),
        "parts": sections.part_cards(report),
        "option_names": sections.OPTION_NAMES,
        "ladder": figures.ladder,
        "verdict": sections.ladder_verdict(report),
        "lanes": figures.texts.lanes,
        "lane_sentence": sections.lane_sentence(report),
        "zero": [report.label(concept_id) for concept_id in evaluation.zero_support_tags],
        "lvis_sentence": view.lvis_sentence(evaluation),
        **_changes(report.compared),
        "ks": KS,
        "headline_k": HEADLINE_K,
    }


def _changes(compared: Compared | None) -> dict[str, Any]:
    if compared is None:
        return {"compared": None}
    changed = changes.changed_tags(compared)
    return {
        "compared": compared,
        "changes_verdict": changes.verdict(compared),
        "differs": changes.what_differs(compared),
        "changed": [row for row in changed if row["band"] == RARE_BAND],
        "changed_others": [row for row in changed if row["band"] != RARE_BAND],
    }


@cache
def _environment() -> Environment:
    environment = page_templates("evaluation.report")
    environment.filters.update(
        plain=plain_text,
        percent=view.percent,
        points=view.points,
        interval=view.interval,
        few_images=view.few_images,
        number=lambda value: f"{value:,}",
        seconds=view.seconds,
        share=view.share,
        named=sections.named,
        invented=sections.invented,
        signed_points=view.signed_points,
        points_interval=changes.points_interval,
    )
    return environment
