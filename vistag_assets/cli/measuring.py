"""What was measured: the report, comparisons, any two files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, own_home, plain_errors

if TYPE_CHECKING:
    from evaluation.evaluate import FileEvaluation
    from evaluation.metrics.matching import Cap
    from evaluation.readers import Reading
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
        Path,
        typer.Option(help="What is true: COCO, LVIS, OpenImages, imagefolder, CSV of image,tag and others."),
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
            help="One of the formats of docs/evaluate.md; for two TRUTH,PREDICTIONS. Else what the files look like.",
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="F1 of the tags with at least this score; else of the first ten.")
    ] = None,
    cap: Annotated[
        str,
        typer.Option(
            help="Boxes that count: lvis (300 an image), coco (100 a tag of an image), or a number an image."
        ),
    ] = "lvis",
    boxes: Annotated[
        str | None,
        typer.Option(
            help="What the four numbers of a predicted box are: xywh, xyxy or cxcywh; for both files TRUTH,PREDICTIONS. "
            "Without it they are as the format has them, and refused where another reading fits better."
        ),
    ] = None,
    relative: Annotated[
        bool | None,
        typer.Option("--relative/--pixels", help="Predicted boxes are fractions of the image, or pixels."),
    ] = None,
    category_ids: Annotated[
        str | None,
        typer.Option(
            help="What the ids of results are: as-given, plus-one, minus-one, positions, positions-from-1."
        ),
    ] = None,
    image_labels: Annotated[
        Path | None,
        typer.Option(help="Labels of whole images that people verified (OpenImages), beside boxes."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="A list of the images that are evaluated, also those without a box or tag."),
    ] = None,
    hierarchy: Annotated[
        Path | None,
        typer.Option(help="A tree of classes (OpenImages): what is there is all of its parents too."),
    ] = None,
    normalise_names: Annotated[
        bool,
        typer.Option("--normalise-names", help="Names that differ in spaces, case or Unicode form are one."),
    ] = False,
    clip: Annotated[
        bool, typer.Option("--clip", help="Cut true boxes at the edges of their images.")
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Regions overlap by their masks (COCO, LVIS), not by their boxes.")
    ] = False,
    boundary: Annotated[
        bool,
        typer.Option("--boundary", help="As --masks, by the smaller of mask IoU and boundary IoU."),
    ] = False,
    areas: Annotated[
        bool,
        typer.Option(
            "--areas", help="Average precision of small, medium and large regions too (APs, APm, APl)."
        ),
    ] = False,
    groups: Annotated[
        str,
        typer.Option(
            help="Boxes around many (IsGroupOf, iscrowd): ignored, or found once as in the OpenImages challenge."
        ),
    ] = "ignored",
    classes: Annotated[Path | None, typer.Option(help="Write the figures of each tag here, as CSV.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the page of the report here, the same as .md and .json beside it."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Where the pictures are that the page shows; else beside the two files."),
    ] = None,
) -> None:
    """Measure predictions against a ground truth, from any two files; needs no home."""
    with plain_errors():
        from pyarrow.csv import write_csv

        from evaluation.evaluate import Terms, evaluate_files
        from evaluation.figures import Cut
        from evaluation.figures_json import file_evaluation_json
        from vistag_assets.cli.evaluation_tables import show_evaluation

        names = (file_format or "").split(",")
        if len(names) > 2:
            raise UsageError(f"--format {file_format}: give one format, or two as TRUTH,PREDICTIONS.")
        terms = Terms(
            f1_cut=Cut() if min_score is None else Cut(None, min_score),
            cap=_cap(cap),
            reading=_reading(boxes, relative, category_ids),
            image_labels=image_labels,
            images=images,
            hierarchy=hierarchy,
            normalise_names=normalise_names,
            clip=clip,
            masks=masks or boundary,
            boundary=boundary,
            areas=areas,
            groups_once=_once(groups),
        )
        found = evaluate_files(ground_truth, predictions, names[0] or None, names[-1] or None, terms)
        if as_json:
            console.say_json(file_evaluation_json(found))
        else:
            show_evaluation(found)
        if classes:
            write_csv(found.classes, classes)
            console.say(f"{classes}", to=console.err)
        if html:
            _write_page(html, found, ground_truth, predictions, pictures)
            console.say(f"{html}", to=console.err)


def _write_page(
    page: Path, found: FileEvaluation, ground_truth: Path, predictions: Path, pictures: Path | None
) -> None:
    from evaluation.figures_json import file_evaluation_json
    from evaluation.file_report import file_report
    from evaluation.report import render_html, render_markdown
    from evaluation.report.files import write_report

    folders = [pictures] if pictures else []
    report = file_report(found, ground_truth, predictions, datetime.now(UTC), folders)
    write_report(page, render_html(report), render_markdown(report), file_evaluation_json(found))


def _cap(name: str) -> Cap:
    from evaluation.evaluate import CAPS
    from evaluation.metrics.matching import Cap

    if name not in CAPS and not (name.isdecimal() and int(name)):
        raise UsageError(f"--cap {name}: give {', '.join(CAPS)} or a number of boxes an image.")
    return CAPS.get(name) or Cap(int(name))


def _once(groups: str) -> bool:
    if groups not in ("ignored", "once"):
        raise UsageError(f"--groups {groups}: give ignored or once.")
    return groups == "once"


def _reading(boxes: str | None, relative: bool | None, category_ids: str | None) -> Reading:
    from evaluation.readers import Reading

    *true, predicted = (boxes or "").split(",")
    try:
        return Reading(predicted or None, ",".join(true) or None, relative, category_ids)
    except ValueError as error:
        raise UsageError(f"{error}; --boxes takes two as TRUTH,PREDICTIONS.") from error


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
