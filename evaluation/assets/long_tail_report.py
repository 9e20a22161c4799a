"""`long_tail_report`: a view of the figures that the other assets stored; it measures nothing."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from evaluation.figures_json import figures_json
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.report import render_html, render_markdown
from evaluation.report.files import write_report
from evaluation.report.view import headline
from evaluation.stored_report import read_report
from evaluation.throughput import measured_throughput
from resources.metadata import OWNERS, page_link
from resources.tables import EVALUATION
from resources.workspace import VistagResource
from vistag_assets.failures import told_first
from vistag_assets.partitions import EVALUATION_POOL

REPORT = "long_tail"
# The sensor sees what changes; this, that it is off or that evaluations fail. A collection at rest grows old too.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=90), warn_window=timedelta(days=30))


@dg.asset(
    deps=[
        "tag_recall",
        "tag_figures",
        "tag_ranks",
        "tag_confusions",
        "grounding_recall",
        "phrase_grounding",
        "text_figures",
        "ladder",
        "evaluation_history",
        "proxies",
        "rejects",
    ],
    description="How well rare tags are recovered: a page, the same as Markdown, and the figures as JSON.",
    group_name=EVALUATION,
    kinds={"html", "markdown"},
    owners=OWNERS,
    code_version="3",
    freshness_policy=FRESHNESS,
    pool=EVALUATION_POOL,
)
@told_first()
def long_tail_report(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    report = read_report(workspace, measured_throughput(context.instance), datetime.now(UTC))
    markdown, page = render_markdown(report), workspace.home.reports_dir / f"{REPORT}.html"
    write_report(page, render_html(report), markdown, figures_json(report.figures))
    return dg.MaterializeResult(
        metadata={
            "headline": headline(report.tags),
            "report": dg.MetadataValue.md(markdown),
            **page_link(page.name),
            "path": dg.MetadataValue.path(page),
            **{
                f"recall@{HEADLINE_K}_{figure.band}": round(figure.micro, 4)
                for figure in report.tags.recall
                if figure.k == HEADLINE_K
            },
        }
    )
