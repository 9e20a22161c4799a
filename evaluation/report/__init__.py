"""The long-tail report: one HTML page that needs no network, and Markdown for Dagster's metadata."""

from evaluation.report.html import render_comparison, render_html
from evaluation.report.markdown import comparison_markdown, render_markdown
from evaluation.report.view import LongTailReport

__all__ = ["LongTailReport", "comparison_markdown", "render_comparison", "render_html", "render_markdown"]
