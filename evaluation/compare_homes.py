"""`vistag report --compare`: the last evaluation of a home against one of another home, or an older one of its own."""

from __future__ import annotations

import json
from pathlib import Path

from evaluation.history import Compared
from evaluation.record import compare_runs
from evaluation.report import comparison_markdown, render_comparison
from evaluation.report.changes import comparison_json
from resources.home import Home
from resources.lake.files import replace_file
from resources.workbench import open_workbench

COMPARISON = "comparison"


def write_comparison(home: Home, other: str) -> tuple[Compared, Path]:
    """Compare and write reports/comparison.{html,md,json}; returns the comparison and the path of the page.

    Args:
        other: the directory of another home, whose last run is taken, or the key of a run of this home.

    Raises:
        HistoryError: there is no such run, or a home has none.
    """
    labels = {concept.id: concept.pref_label for concept in open_workbench(home).taxonomy.concepts}
    if Path(other).is_dir():
        compared = compare_runs(Home(Path(other)).lake, None, home.lake, None, labels)
    else:
        compared = compare_runs(home.lake, other, home.lake, None, labels)
    page = home.reports_dir / f"{COMPARISON}.html"
    for path, text in (
        (page, render_comparison(compared)),
        (page.with_suffix(".md"), comparison_markdown(compared) + "\n"),
        (page.with_suffix(".json"), json.dumps(comparison_json(compared), indent=2) + "\n"),
    ):
        with replace_file(path) as file:
            file.write(text.encode())
    return compared, page
