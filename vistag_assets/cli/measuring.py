"""What was measured: the report, comparisons, any two files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, own_home, plain_errors

if TYPE_CHECKING:
    from resources.home import Home


def report(
    as_json: Annotated[
        bool, typer.Option("--json", help="The figures as JSON, alone on standard output.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(help="Compare the last run with another: a home, or a run of this one (its key)."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show the last long-tail report, or what changed since another run."""
    with plain_errors():
        if compare:
            with own_home(home) as base:
                _show_comparison(base, compare, as_json)
            return
        page = report_page(home_of(home))
        figures = page.with_suffix(".json").read_text(encoding="utf-8")
        if as_json:
            console.put(figures)
        else:
            show_recall(json.loads(figures), page)


def accept(
    run: Annotated[
        str | None, typer.Argument(help="Key of a run, or how it begins; else the last run.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Make a run the baseline of later ones, though it lost rare tags."""
    with plain_errors(), own_home(home) as base:
        from evaluation import history

        accepted = history.accept(base.lake, run)
        console.say(f"{accepted.run} of the tier {accepted.tier} is the baseline of later ones.")


def evaluate(
    ground_truth: Annotated[
        Path, typer.Option(help="What is true: COCO, LVIS, OpenImages, imagefolder, CSV of image,tag.")
    ],
    predictions: Annotated[
        Path, typer.Option(help="What was predicted: COCO results, the same formats, or a home of vistag.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="The figures as JSON, alone on standard output.")
    ] = False,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="imagefolder, lake, coco, openimages or csv; for two formats TRUTH,PREDICTIONS. "
            "Else what the files look like.",
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="F1 of the tags with at least this score; else of the first ten.")
    ] = None,
) -> None:
    """Measure predictions against a ground truth, from any two files; needs no home."""
    with plain_errors():
        from evaluation.evaluate import evaluate_files
        from evaluation.figures import Cut
        from evaluation.figures_json import file_evaluation_json
        from vistag_assets.cli.evaluation_tables import show_evaluation

        names = (file_format or "").split(",")
        if len(names) > 2:
            raise UsageError(f"--format {file_format}: give one format, or two as TRUTH,PREDICTIONS.")
        cut = None if min_score is None else Cut(None, min_score)
        found = evaluate_files(ground_truth, predictions, names[0] or None, names[-1] or None, cut)
        if as_json:
            console.say_json(file_evaluation_json(found))
        else:
            show_evaluation(found)


def report_page(home: Home) -> Path:
    page = home.reports_dir / "long_tail.html"
    if not page.is_file():
        raise UsageError(
            f"There is no report in {home.root} yet. Make one: vistag demo, or "
            "vistag run FOLDER --ground-truth FILE."
        )
    return page


def _show_comparison(home: Home, other: str, as_json: bool) -> None:
    from evaluation.compare_homes import write_comparison
    from evaluation.report.changes import comparison_json, verdict

    compared, page = write_comparison(home, other)
    if as_json:
        console.say_json(comparison_json(compared))
        return
    console.out.print(console.comparison_table(comparison_json(compared)))
    console.say(verdict(compared))
    console.say(f"{page}")


def show_recall(figures: dict[str, Any], page: Path) -> None:
    console.out.print(console.recall_table(figures))
    console.say(f"{page}")
