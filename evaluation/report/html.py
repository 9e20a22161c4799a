"""Renders the report as one HTML file: style, script, charts and pictures are all inside it."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from evaluation.figures import HEADLINE_K, RARE_BAND
from evaluation.grounding import IOU_NAMES
from evaluation.metrics import KS, OVERALL
from evaluation.report import charts, more, view

_SHOWN_LOST_TAGS = 200


def render_html(report: view.LongTailReport) -> str:
    """The report as a page that loads nothing: its content security policy forbids the browser to try."""
    lost = view.lost_tags(report)
    evaluation = report.tags
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            evaluation=evaluation,
            whole=report.figures.tags_whole_vocabulary,
            headline=view.headline(evaluation),
            consequence=view.consequence(report),
            rows=view.band_rows(evaluation),
            lost=lost[:_SHOWN_LOST_TAGS],
            lost_count=len(lost),
            every_tag=view.weakest_first(report),
            embeddings=more.of_embeddings_alone(report),
            grounding=more.grounding_rows(report),
            gap_of_regions=report.figures.grounding and report.figures.grounding.gap,
            ious=tuple(IOU_NAMES),
            parts=more.part_cards(report),
            option_names=more.OPTION_NAMES,
            ladder=report.figures.ladder,
            verdict=more.ladder_verdict(report),
            lanes=report.figures.lanes,
            lane_sentence=more.lane_sentence(report),
            overall=OVERALL,
            rare_band=RARE_BAND,
            zero=[report.label(concept_id) for concept_id in evaluation.zero_support_tags],
            lvis=view.lvis_counts(evaluation),
            charts={"curves": charts.recall_curves(report), "scatter": charts.recall_by_frequency(report)},
            ks=KS,
            headline_k=HEADLINE_K,
            plotly=Markup(get_plotlyjs()),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evaluation.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=view.percent,
        points=view.points,
        interval=view.interval,
        number=lambda value: f"{value:,}",
        seconds=view.seconds,
        share=view.share,
        named=more.named,
        invented=more.invented,
        signed_points=view.signed_points,
    )
    return environment
