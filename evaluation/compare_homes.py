"""`vistag report --compare`: the last evaluation of a home against one of another home, or an older one of its own."""

from __future__ import annotations

from pathlib import Path

from evaluation.history import Compared, find_run
from evaluation.record import compare_runs
from evaluation.report import comparison_markdown, render_comparison
from evaluation.report.changes import comparison_json
from evaluation.report.files import write_report
from resources.home import Home
from resources.workspace import open_workspace

COMPARISON = "comparison"


def write_comparison(home: Home, other: str) -> tuple[Compared, Path]:
    """Compare and write reports/comparison.{html,md,json}; returns the comparison and the path of the page.

    Args:
        other: the directory of another home, whose last run is taken, or the key of a run of this home.

    Raises:
        HistoryError: there is no such run, or a home has none.
    """
    labels = open_workspace(home).taxonomy.pref_labels
    lake, key = (Home(Path(other)).lake, None) if Path(other).is_dir() else (home.lake, other)
    compared = compare_runs(lake, find_run(lake, key), home.lake, find_run(home.lake), labels)
    page = home.reports_dir / f"{COMPARISON}.html"
    write_report(page, render_comparison(compared), comparison_markdown(compared), comparison_json(compared))
    return compared, page
