"""The long-tail report: one HTML page that needs no network, and Markdown for Dagster's metadata."""

from evaluation.report.render import comparison_markdown, render_comparison, render_html, render_markdown
from evaluation.report.view import LongTailReport

__all__ = ["LongTailReport", "comparison_markdown", "render_comparison", "render_html", "render_markdown"]
