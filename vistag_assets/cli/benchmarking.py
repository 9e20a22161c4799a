"""Public data that anyone can measure rare tags on: fetched, tagged, measured."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets.cli import console
from vistag_assets.cli.choosing import Vocabulary, choose
from vistag_assets.cli.common import HomeOption, TierOption, UsageError, home_of, own_home, plain_errors
from vistag_assets.cli.tagging import end_with, measure, tag_library, take_ground_truth

if TYPE_CHECKING:
    from evaluation.public.benchmark import Prepared
    from evaluation.public.fetching import Data
    from resources.home import Home

PAGE = "benchmark.html"
_SHOWN = 5


def benchmark(
    name: Annotated[str, typer.Argument(help="lvis-minival or openimages-rare.")],
    images: Annotated[
        int | None,
        typer.Option(min=1, help="How many pictures, those that show the rarest concepts first; else all."),
    ] = None,
    tier: TierOption = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            help="A server that has the files under URL/host/path, asked in place of their publishers."
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Ask nobody: work with what was fetched, or say what is missing."),
    ] = False,
    fetch_only: Annotated[
        bool, typer.Option("--fetch-only", help="Fetch and check, and run nothing.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Measure a tier on public data: fetch it from where it is published, tag it, write the long-tail report.

    It has a home of its own, benchmarks/NAME of the home. What was fetched is checked and never fetched again; whatever was
    stopped goes on from there.
    """
    with plain_errors(), own_home(home_of(home).root / "benchmarks" / name if _known(name) else None) as base:
        from evaluation.public.benchmark import prepare
        from evaluation.public.benchmarks import BENCHMARKS
        from evaluation.public.fetching import Data, addresses

        chosen = BENCHMARKS[name]
        console.say(f"{chosen.licence}.")
        for line in addresses(chosen.annotations):
            console.say(line, to=console.err)
        data = Data(base.root / "data", mirror, offline)
        with console.progress_bars() as watcher:
            prepared = prepare(chosen, data, images, watcher)
        console.say(f"{prepared.images:,} of {prepared.of:,} pictures are in {prepared.library}.")
        for line in prepared.lacking[:_SHOWN]:
            console.say(f"Left out: {line}", to=console.err)
        if fetch_only:
            return
        choose(base, tier, Vocabulary(str(prepared.vocabulary)))
        take_ground_truth(base, prepared.truth, name)
        tag_library(base, prepared.library, name)
        passed = measure(base)
        page = _write_page(base, name, prepared, data)
        console.say(f"With what was verified to be absent alone counted as absent: {page}")
        end_with(passed)


def _known(name: str) -> bool:
    from evaluation.public.benchmarks import BENCHMARKS

    if name not in BENCHMARKS:
        raise UsageError(f"There is no benchmark {name}: give {' or '.join(BENCHMARKS)}.")
    return True


def _write_page(base: Home, name: str, prepared: Prepared, data: Data) -> Path:
    """The same figures by the rules of a federated ground truth, and what anyone needs to repeat them."""
    from evaluation.evaluate import evaluate_files
    from evaluation.figures_json import file_evaluation_json
    from evaluation.file_report import file_report
    from evaluation.report import render_html, render_markdown
    from evaluation.report.files import write_report
    from resources.home import read_settings

    found = evaluate_files(prepared.truth, base.root)
    report = file_report(found, prepared.truth, base.root, datetime.now(UTC), [prepared.library])
    ladder: dict[str, Any] = json.loads((base.reports_dir / "long_tail.json").read_text(encoding="utf-8"))
    figures = {
        "benchmark": name,
        "images": prepared.images,
        "of": prepared.of,
        "tier": read_settings(base).tier,
        "annotations": {
            url: pin.sha256 for url, pin in data.pins.items() if not url.endswith((".jpg", ".jpeg"))
        },
        "ladder": ladder.get("ladder", []),
        "federated": file_evaluation_json(found),
    }
    page = base.reports_dir / PAGE
    write_report(page, render_html(report), render_markdown(report), figures)
    return page
