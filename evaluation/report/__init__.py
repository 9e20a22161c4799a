"""The long-tail report: one HTML page that needs no network, and Markdown for Dagster's metadata."""

from evaluation.report.html import render_html
from evaluation.report.markdown import render_markdown
from evaluation.report.view import LongTailReport

__all__ = ["LongTailReport", "render_html", "render_markdown"]
