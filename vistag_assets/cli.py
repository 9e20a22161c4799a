"""The command line. What is slow to import is imported inside the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets import console
from vistag_assets.ending import end_quietly

if TYPE_CHECKING:
    from resources.home import FolderRef, Home
    from resources.workbench import Settings, Workbench
    from vistag_assets.runs import TagOutcome

app = typer.Typer(
    help="Folders of images to tags, measured on the rare ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
taxonomy_app = typer.Typer(help="Look at a vocabulary.", no_args_is_help=True)
app.add_typer(taxonomy_app, name="taxonomy")

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where vistag keeps everything; else $VISTAG_HOME, else ./.vistag."),
]
SHOWN_IMAGES = 5
SHOWN_TAGS = 5
SHOWN_ROWS = 200
SHOWN_LETTERS = 160
DEMO_LIBRARY = "demo"


class UsageError(ValueError):
    """Something that was given on the command line cannot be; the message says what to do."""


@app.callback()
def main() -> None:
    end_quietly()


@app.command()
def demo(home: HomeOption = None) -> None:
    """Draw the demo corpus, tag it, and measure the tags against what was drawn."""
    with plain_errors():
        from demo.corpus import make_corpus

        base = _home(home)
        corpus = base.root / "demo"
        with console.progress_bars() as watcher:
            make_corpus(corpus, on_progress=lambda done, total: watcher("Drawing images", done, total))
        _choose(base, "demo", "starter")
        _take_ground_truth(base, corpus / "ground_truth.json", DEMO_LIBRARY)
        _tag(base, corpus / "library", DEMO_LIBRARY)
        passed = _evaluate(base)
        _say_where_the_gallery_is(base)
        _end_with(passed)


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(help="A folder of images; the folders below it belong to it.")],
    tier: Annotated[
        str | None,
        typer.Option(help="Which models: demo, cpu, gpu-16gb, gpu-24gb, gpu-96gb, or a .yaml file."),
    ] = None,
    home: HomeOption = None,
    library: Annotated[
        str | None, typer.Option(help="Name of the library; else the name of the folder.")
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="LVIS-style annotations; file names relative to FOLDER.")
    ] = None,
    taxonomy: Annotated[
        str | None,
        typer.Option(help="A vocabulary (.ttl, .jsonld, .csv), or starter for the one that comes along."),
    ] = None,
) -> None:
    """Tag the images of a folder. Only what is new or changed is computed."""
    with plain_errors():
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder. Give the folder that holds the images.")
        base = _home(home)
        name = library or folder.resolve().name or "root"
        settings = _choose(base, tier, taxonomy)
        if ground_truth:
            _take_ground_truth(base, ground_truth, name)
        outcome = _tag(base, folder, name)
        passed = not ground_truth or _evaluate(base)
        _say_where_to_look(base, settings, outcome)
        _end_with(passed)


@app.command()
def report(
    as_json: Annotated[
        bool, typer.Option("--json", help="The figures as JSON, alone on standard output.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(help="Hold the last run against another: a home, or a run of this one (its key)."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show the last long-tail report, or what changed since another run."""
    with plain_errors():
        if compare:
            _show_comparison(_home(home), compare, as_json)
            return
        page = _report_page(_home(home))
        figures = page.with_suffix(".json").read_text(encoding="utf-8")
        if as_json:
            typer.echo(figures, nl=False)
        else:
            _show_recall(json.loads(figures), page)


@app.command()
def accept(
    run: Annotated[
        str | None, typer.Argument(help="Key of a run, or how it begins; else the last run.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Make a run the one that later runs are held against, though it lost rare tags."""
    with plain_errors():
        from evaluation import history

        accepted = history.accept(_home(home).lake, run)
        typer.echo(f"{accepted.run} of the tier {accepted.tier} is the run that later ones are held against.")


@app.command()
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
        from vistag_assets.evaluation_tables import show_evaluation

        names = (file_format or "").split(",")
        if len(names) > 2:
            raise UsageError(f"--format {file_format}: give one format, or two as TRUTH,PREDICTIONS.")
        cut = None if min_score is None else Cut(None, min_score)
        found = evaluate_files(ground_truth, predictions, names[0] or None, names[-1] or None, cut)
        if as_json:
            typer.echo(json.dumps(file_evaluation_json(found), indent=2))
        else:
            show_evaluation(found)


@app.command()
def models(
    role: Annotated[str | None, typer.Option(help="Only this role: encoder, detector, ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The rows as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/models.md.")] = False,
) -> None:
    """List the models that a tier can name: licence, memory, what they need, what is not carried and why."""
    with plain_errors():
        from dataclasses import asdict

        from resources.registry import ROLES, listing, registry
        from vistag_assets.model_tables import models_listing, models_on_this_machine

        if role is not None and role not in ROLES:
            raise UsageError(f"There is no role {role!r}. Roles: {', '.join(ROLES)}")
        rows = listing.model_rows(registry(), role)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        elif as_markdown:
            typer.echo(listing.as_markdown(rows), nl=False)
        else:
            for part in models_listing(rows, models_on_this_machine()):
                console.out.print(part, highlight=False)


@app.command()
def doctor(
    tier: Annotated[str | None, typer.Option(help="Which tier; else the one of the home.")] = None,
    image: Annotated[Path | None, typer.Option(help="What to show the models; else a drawn vase.")] = None,
    trace: Annotated[bool, typer.Option(help="Show the traceback of what failed.")] = False,
    home: HomeOption = None,
) -> None:
    """Load each model of a tier, show it one image, and tell what it saw. Ends with 1 where one failed."""
    with plain_errors():
        from PIL import Image

        from resources.tiers import load_tier, model_specs
        from resources.tiers.planner import plan
        from resources.workbench import Workbench, read_settings
        from vistag_assets.doctor import examine, sample_image
        from vistag_assets.model_tables import plan_table, show_examined

        base = _home(home)
        settings = read_settings(base)
        bench = Workbench(base, settings, load_tier(tier or settings.tier))
        if bench.tier.vram_gib:
            console.out.print(plan_table(plan(model_specs(bench.tier), bench.tier.vram_gib)))
        picture = Image.open(image).convert("RGB") if image else sample_image()
        failed = 0
        for found in examine(bench, picture):
            show_examined(found)
            failed += bool(found.error)
            if trace and found.trace:
                typer.echo(found.trace, err=True)
        if failed:
            raise UsageError(f"{failed} of the models of the tier {bench.tier.name} did not run.")


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL; each table of the lake is a view.")],
    home: HomeOption = None,
) -> None:
    """Ask the lake."""
    with plain_errors():
        import duckdb

        base = _home(home)
        with base.lake.connect() as connection:
            try:
                result = connection.execute(query)
            except duckdb.Error as error:
                tables = ", ".join(base.lake.tables()) or "none yet"
                raise UsageError(f"{error}\nTables of {base.root}: {tables}") from error
            columns = [column[0] for column in result.description or []]
            _show_rows(columns, result.fetchmany(SHOWN_ROWS + 1) if columns else [])


@app.command()
def dev(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 3000,
) -> None:
    """Open Dagster's UI on the home, for this machine only; Ctrl-C stops it."""
    with plain_errors():
        from vistag_assets.dev import serve

        base = _home(home)
        serve(base.root, port, lambda url: typer.echo(f"Dagster on {base.root}: {url}  (Ctrl-C stops it)"))


@app.command()
def serve(
    tier: Annotated[str | None, typer.Option(help="Which tier; else the one of the home.")] = None,
    heavy: Annotated[bool, typer.Option("--heavy", help="The model of the heavy lane.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Start it, caption one picture, stop it.")] = False,
    home: HomeOption = None,
) -> None:
    """Serve the vision-language model of a tier with vLLM, on this machine only; Ctrl-C stops it."""
    with plain_errors():
        from resources.tiers import load_tier
        from resources.vlms import load_vlm
        from resources.workbench import read_settings
        from vistag_assets.doctor import caption, sample_image
        from vistag_assets.serve import serve as run_server
        from vistag_assets.serve import served_spec

        base = _home(home)
        chosen = load_tier(tier or read_settings(base).tier)
        spec = served_spec(chosen, heavy=heavy)
        log = base.root / "logs" / f"serve-{spec.server.port}.log"
        with console.err.status(f"Starting; messages go to {log}") as status:

            def waiting(last_message: str) -> None:
                status.update(
                    console.escape(f"Starting; messages go to {log}\n{last_message[:SHOWN_LETTERS]}")
                )

            def ready() -> bool:
                status.stop()
                typer.echo(f"{spec.name} answers at {spec.server.url}  (Ctrl-C stops it)")
                if check:
                    typer.echo(caption(load_vlm(spec, chosen.device), sample_image()))
                return not check

            run_server(spec, log, on_start=typer.echo, on_wait=waiting, on_ready=ready)


@taxonomy_app.command("check")
def taxonomy_check(file: Annotated[Path, typer.Argument(help=".ttl, .jsonld or .csv")]) -> None:
    """Say whether a vocabulary is sound, and if not, what is wrong in which line."""
    with plain_errors():
        from taxonomy import check_report

        typer.echo(check_report(file))


@taxonomy_app.command("stats")
def taxonomy_stats(
    file: Annotated[Path | None, typer.Argument(help="Else the starter vocabulary.")] = None,
) -> None:
    """Count concepts, labels and definitions by facet."""
    with plain_errors():
        from rich.table import Table

        from taxonomy import load_taxonomy, starter_taxonomy, stats

        found = stats(load_taxonomy(file) if file else starter_taxonomy())
        table = Table(*found.HEADER)
        for row in found.rows():
            table.add_row(*row)
        console.out.print(table)


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with a sentence and code 1 for what a user can do something about; bugs keep their traceback."""
    try:
        yield
    except KeyboardInterrupt:
        console.err.print("Stopped. What was finished is kept; the next run goes on from there.")
        raise typer.Exit(130) from None
    except Exception as error:
        if not isinstance(error, _expected_errors()):
            raise
        console.err.print(
            f"[bold red]Error:[/] {console.escape(_sentence(error))}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(1) from error


def _expected_errors() -> tuple[type[Exception], ...]:
    from evaluation.from_lake import EvaluationError
    from evaluation.history import HistoryError
    from evaluation.readers.tables import UnusableFile
    from resources.checkpoints import DeviceUnavailableError, ModelUnavailableError
    from resources.home import CorruptRegistration, KeyTaken, UnknownFolder
    from resources.lake import LakeError
    from resources.tiers import TierError
    from resources.vlms.server import NoServerError
    from resources.workbench import SettingsError
    from taxonomy import TaxonomyError
    from vistag_assets.dev import DevError
    from vistag_assets.runs import NoImagesError
    from vistag_assets.serve import ServeError

    return (
        UsageError,
        TierError,
        SettingsError,
        NoImagesError,
        TaxonomyError,
        UnusableFile,
        EvaluationError,
        HistoryError,
        DeviceUnavailableError,
        ModelUnavailableError,
        LakeError,
        KeyTaken,
        UnknownFolder,
        CorruptRegistration,
        DevError,
        NoServerError,
        ServeError,
        OSError,
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _home(option: Path | None) -> Home:
    from resources.home import Home

    return Home.resolve(option)


def _choose(home: Home, tier: str | None, taxonomy: str | None) -> Settings:
    """Check what was chosen before any work, and remember it in the home."""
    from resources.encoders import load_encoder
    from resources.tiers import load_tier
    from resources.workbench import read_settings, require_card, write_settings

    settings = read_settings(home)
    changes: dict[str, Any] = {}
    if tier:
        changes["tier"] = str(Path(tier).resolve()) if tier.endswith((".yaml", ".yml")) else tier
    if taxonomy:
        changes["taxonomy"] = None if taxonomy == "starter" else str(Path(taxonomy).resolve())
    settings = settings.model_copy(update=changes)
    if settings.taxonomy:
        from taxonomy import load_taxonomy

        load_taxonomy(Path(settings.taxonomy))
    chosen = load_tier(settings.tier)
    require_card(chosen)
    load_encoder(chosen.encoder, chosen.device)
    write_settings(home, settings)
    return settings


def _take_ground_truth(home: Home, file: Path, library: str) -> None:
    from evaluation.ground_truth import read_ground_truth
    from resources.lake.files import replace_file
    from resources.workbench import read_settings, write_settings

    read_ground_truth(file)
    with replace_file(home.ground_truth_path) as copy:
        copy.write(file.read_bytes())
    write_settings(home, read_settings(home).model_copy(update={"ground_truth_library": library}))


def _tag(home: Home, folder: Path, library: str) -> TagOutcome:
    from resources.workbench import open_workbench
    from vistag_assets.runs import find_library, tag_folders

    folders = find_library(folder, library, home)
    with console.progress_bars() as watcher:
        outcome = tag_folders(home, folders, watcher)
    console.out.print(console.folders_table(outcome))
    console.out.print(console.summary(outcome), highlight=False)
    examples = _examples(open_workbench(home), [folder.folder for folder in outcome.folders if folder.images])
    if examples:
        console.out.print(console.tags_table(examples))
    return outcome


def _examples(bench: Workbench, folders: list[FolderRef]) -> dict[str, list[str]]:
    """Best tags of a few images, one a folder as far as there are folders."""
    from vistag_assets.tags import best_tags

    examples: dict[str, list[str]] = {}
    a_folder = -(-SHOWN_IMAGES // len(folders)) if folders else 0
    labels = bench.taxonomy.pref_labels
    for folder in folders[:SHOWN_IMAGES]:
        images = bench.lake.read("images", folder.key, ["id", "path"]).slice(0, a_folder).to_pylist()
        table = "tags" if bench.lake.exists("tags", folder.key) else "tag_scores"
        tags = best_tags(bench.lake, folder.key, [image["id"] for image in images], SHOWN_TAGS, table)
        for image in images[: SHOWN_IMAGES - len(examples)]:
            best = tags[image["id"]]
            examples[image["path"]] = [f"{labels[tag.concept_id]} {tag.probability:.2f}" for tag in best]
    return examples


def _evaluate(home: Home) -> bool:
    """Measure, and say which checks failed; whether none failed that the tier calls an error."""
    from vistag_assets.runs import evaluate

    with console.err.status("Measuring"):
        failed = evaluate(home)
    page = _report_page(home)
    _show_recall(json.loads(page.with_suffix(".json").read_text(encoding="utf-8")), page)
    for check in failed:
        told = console.escape(check.description or check.check_name)
        console.err.print(f"[bold red]Check failed:[/] {told}", highlight=False, soft_wrap=True)
    return all(check.severity.value != "ERROR" for check in failed)


def _end_with(passed: bool) -> None:
    """Exit code 1 where a check failed, so that a script stops."""
    if not passed:
        raise typer.Exit(1)


def _report_page(home: Home) -> Path:
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
        typer.echo(json.dumps(comparison_json(compared), indent=2))
        return
    console.out.print(console.comparison_table(comparison_json(compared)))
    typer.echo(verdict(compared))
    typer.echo(f"{page}")


def _show_recall(figures: dict[str, Any], page: Path) -> None:
    console.out.print(console.recall_table(figures))
    typer.echo(f"{page}")


def _show_rows(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    from rich.table import Table

    table = Table(*columns)
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*(console.escape("" if value is None else str(value)) for value in row))
    console.out.print(table)
    if len(rows) > SHOWN_ROWS:
        console.err.print(f"The first {SHOWN_ROWS} rows; add a limit, or: copy (…) to 'file.csv'")


def _say_where_to_look(home: Home, settings: Settings, outcome: TagOutcome) -> None:
    from resources.tiers import load_tier

    if outcome.rejects:
        typer.echo(
            f"{outcome.rejects:,} of the files could not be used. Why: "
            "vistag sql 'select path, reason from rejects'"
        )
    for asset, images in outcome.failed.items():
        typer.echo(
            f"{asset}: {images:,} images got no answer from the model; the run's log says why. "
            "The next run asks again."
        )
    if caveat := load_tier(settings.tier).caveat:
        typer.echo(caveat)
    _say_where_the_gallery_is(home)
    typer.echo("Look further: vistag dev, or vistag sql 'from tags limit 20'")


def _say_where_the_gallery_is(home: Home) -> None:
    from vistag_assets.contact_sheet import gallery_page

    typer.echo(f"Contact sheet: {gallery_page(home)}")
