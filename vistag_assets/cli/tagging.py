"""Tagging folders: the demo's, and a user's."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.choosing import Vocabulary, choose
from vistag_assets.cli.common import HomeOption, UsageError, own_home, plain_errors
from vistag_assets.cli.keywords import pictures_with_keywords, show, told
from vistag_assets.cli.measuring import report_page, show_recall
from vistag_assets.cli.vocabulary import ColumnOption, LanguageOption, columns_of, languages_of

if TYPE_CHECKING:
    from resources.home import FolderRef, Home, Settings
    from resources.object_store import Location
    from resources.workspace import Workspace
    from vistag_assets.runs import TagOutcome

SHOWN_IMAGES = 5
SHOWN_TAGS = 5
PHRASES_WORTH_TELLING = 10_000


def demo(
    home: HomeOption = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=6,
            help="How many to draw: those that are there, else 300 (hard: 2,000). More make figures of rare tags surer.",
        ),
    ] = None,
    corpus: Annotated[
        str,
        typer.Option(
            help="Which museum: standard, whose objects the demo models were trained on, or hard, of which they know "
            "nothing and most tags are rare."
        ),
    ] = "standard",
) -> None:
    """Draw the demo corpus, tag it, and measure the tags against what was drawn."""
    with plain_errors(), own_home(home) as base:
        from demo.corpus import CORPORA, drawn_images, make_corpus

        if corpus not in CORPORA:
            raise UsageError(f"--corpus {corpus}: give {' or '.join(CORPORA)}.")
        chosen = CORPORA[corpus]
        drawn = base.root / chosen.folder
        with console.progress_bars() as watcher:
            make_corpus(
                drawn,
                images or drawn_images(drawn) or chosen.images,
                split=chosen.split,
                longer_side_px=chosen.longer_side_px,
                on_progress=lambda done, total: watcher("Drawing images", done, total),
            )
        choose(base, "demo", Vocabulary(chosen.vocabulary))
        take_ground_truth(base, drawn / "ground_truth.json", chosen.folder)
        tag_library(base, drawn / "library", chosen.folder)
        passed = measure(base)
        _say_where_the_gallery_is(base)
        console.say(f"Look at it, and say which rare tags are right: {_app_command(base)}")
        end_with(passed)


def run(
    folder: Annotated[
        str, typer.Argument(help="A folder of images, or s3://bucket/prefix; the folders below belong to it.")
    ],
    tier: Annotated[
        str | None,
        typer.Option(
            help="Which models: demo, offline, cpu, gpu-16gb, gpu-24gb, gpu-96gb, gpu-96gb-full, or a .yaml file."
        ),
    ] = None,
    home: HomeOption = None,
    library: Annotated[
        str | None, typer.Option(help="Name of the library; else the name of the folder.")
    ] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(
            help="What is true, in any format that vistag evaluate reads; ends with the long-tail report."
        ),
    ] = None,
    keywords_as_truth: Annotated[
        bool,
        typer.Option(
            "--keywords-as-truth",
            help="Take keywords that people left in the files as what is true, and end with the long-tail report. What "
            "they do not name is unknown.",
        ),
    ] = False,
    untagged: Annotated[
        str,
        typer.Option(
            help="Images of the ground truth without a tag: verified to carry none, or unknown and left out."
        ),
    ] = "verified",
    taxonomy: Annotated[
        str | None,
        typer.Option(
            help="A vocabulary (SKOS, .csv, a keyword list), or starter for the one that comes along."
        ),
    ] = None,
    facets: Annotated[
        Path | None,
        typer.Option(help="What the facets of the vocabulary are (.yaml); else the facets.yaml beside it."),
    ] = None,
    language: LanguageOption = None,
    column: ColumnOption = None,
    labels: Annotated[
        str | None, typer.Option(help="Which labels the encoder is asked about: all, or pref alone.")
    ] = None,
    flags: Annotated[
        str | None,
        typer.Option(
            help="A policy (.yaml) of what people have to look at (docs/flags.md); none for none any more."
        ),
    ] = None,
    lake: Annotated[
        str | None, typer.Option(help="Where a new home has its lake: s3://bucket/prefix; else in the home.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Read all files again, also those that look as they did.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on a Ray cluster: the address of its dashboard, http://host:8265, or local for this machine."
        ),
    ] = None,
    shard: Annotated[
        int, typer.Option(min=1, help="With --ray: how many folders one run takes, with models loaded once.")
    ] = 20,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="What to pass over, as in .gitignore; may be given again. Remembered for the library, until others "
            "are given; '' for none."
        ),
    ] = None,
) -> None:
    """Tag the images of a folder. Only what is new or changed is computed."""
    with plain_errors(), own_home(home) as base:
        from resources.object_store import location

        if keywords_as_truth and ground_truth:
            raise UsageError("--keywords-as-truth and --ground-truth: give one of them.")
        root = location(folder)
        if not root.is_dir():
            raise UsageError(f"{folder} is not a folder. Give the folder that holds the images.")
        name = library or root.resolve().name or "root"
        excluded = {name: list(filter(None, exclude))} if exclude else None
        vocabulary = Vocabulary(taxonomy, facets, languages_of(language), columns_of(column), labels)
        settings = choose(base, tier, vocabulary, lake, excluded, flags)
        if ground_truth:
            take_ground_truth(base, ground_truth, name, untagged)
        _say_what_phrases_cost(base)
        outcome = tag_library(base, root, name, read_again=force, ray=(ray, shard) if ray else None)
        _export(base)
        if keywords_as_truth:
            _take_keywords(base, name)
        passed = not (ground_truth or keywords_as_truth) or measure(base)
        _say_where_to_look(base, settings, outcome)
        end_with(passed)


def _say_what_phrases_cost(home: Home) -> None:
    """Before any work, where the vocabulary is big and new."""
    from resources.workspace import open_workspace
    from vistag_assets.whole_image.concept_embeddings import phrase_cost

    if cost := phrase_cost(open_workspace(home), PHRASES_WORTH_TELLING):
        told = f"{cost.missing:,} phrases of the vocabulary are to be embedded first, about {_minutes(cost.seconds)}"
        less = f"; --labels pref: {cost.preferred:,} in {_minutes(cost.preferred_seconds)}"
        console.say(told + (less if cost.preferred < cost.missing else "") + ".", to=console.err)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.0f} minutes" if seconds >= 90 else f"{seconds:.0f} s"


def take_ground_truth(home: Home, file: Path, library: str, untagged: str = "verified") -> None:
    """Keep a file of ground truth in the home, in the form that evaluations read, and say what is in doubt about it."""
    from evaluation.readers.converting import as_document, by_concepts
    from evaluation.readers.ground_truth import read_ground_truth
    from resources.workspace import open_workspace

    if untagged not in ("verified", "unknown"):
        raise UsageError(f"--untagged {untagged}: give verified or unknown.")
    document, remarks = as_document(file, untagged_are_verified=untagged == "verified")
    with TemporaryDirectory() as folder:
        checked = Path(folder) / file.name
        checked.write_bytes(document)
        truth = read_ground_truth(checked)
    _keep_ground_truth(home, document, library)
    for line in (*remarks, *by_concepts(truth, open_workspace(home).taxonomy).remarks()):
        console.say(line)


def _take_keywords(home: Home, library: str) -> None:
    """Keep what the keywords of a library's files mean as the ground truth of the home, and list what they are."""
    from evaluation.file_keywords import as_ground_truth
    from resources.workspace import open_workspace

    workspace = open_workspace(home)
    pictures = list(pictures_with_keywords(workspace, library))
    show(told(pictures), workspace.taxonomy)
    _keep_ground_truth(home, as_ground_truth(pictures), library)


def _keep_ground_truth(home: Home, document: bytes, library: str) -> None:
    from resources.home import read_settings, write_settings
    from resources.lake.files import replace_file

    with replace_file(home.ground_truth_path) as copy:
        copy.write(document)
    write_settings(home, read_settings(home).model_copy(update={"ground_truth_library": library}))


def tag_library(
    home: Home,
    folder: Location,
    library: str,
    *,
    read_again: bool = False,
    ray: tuple[str, int] | None = None,
) -> TagOutcome:
    from resources.home import read_settings
    from resources.images import survey_library
    from resources.workspace import open_workspace
    from vistag_assets.ingest.coverage import what_came_in
    from vistag_assets.runs import OnRay, find_library, tag_folders
    from vistag_assets.whole_image.familiarity import what_is_unfamiliar

    survey = survey_library(folder.resolve(), home.root, read_settings(home).excluded.get(library, ()))
    folders = find_library(folder, library, home, survey)
    if any(home.is_worked_on(folder.key) for folder in folders):
        console.err.print("Another run is at work on these folders: this one goes on when that has ended.")
    with console.progress_bars() as watcher:
        outcome = tag_folders(
            home,
            folders,
            watcher,
            read_again=read_again,
            leave_unchanged=True,
            ray=OnRay(*ray) if ray else None,
        )
    console.out.print(console.folders_table(outcome))
    console.say(console.summary(outcome))
    for line in what_came_in(home.lake, [folder.folder.key for folder in outcome.folders], survey):
        console.say(line)
    for line in what_is_unfamiliar(home.lake, [folder.folder.key for folder in outcome.folders]):
        console.say(line)
    for line in console.gone_lines(outcome):
        console.say(line)
    for file in outcome.quarantined:
        console.say(f"A damaged file of the lake was moved to {file}; its rows were computed again.")
    examples = _examples(open_workspace(home), [folder.folder for folder in outcome.folders if folder.images])
    if examples:
        console.out.print(console.tags_table(examples))
    return outcome


def _examples(workspace: Workspace, folders: list[FolderRef]) -> dict[str, list[str]]:
    """Best tags of a few images, one a folder as far as there are folders."""
    from vistag_assets.whole_image.best_tags import best_tags

    examples: dict[str, list[str]] = {}
    a_folder = -(-SHOWN_IMAGES // len(folders)) if folders else 0
    labels = workspace.taxonomy.pref_labels
    for folder in folders[:SHOWN_IMAGES]:
        images = workspace.lake.read("images", folder.key, ["id", "path"]).slice(0, a_folder).to_pylist()
        table = "tags" if workspace.lake.exists("tags", folder.key) else "tag_scores"
        tags = best_tags(workspace.lake, folder.key, [image["id"] for image in images], SHOWN_TAGS, table)
        for image in images[: SHOWN_IMAGES - len(examples)]:
            best = tags[image["id"]]
            examples[image["path"]] = [f"{labels[tag.concept_id]} {tag.probability:.2f}" for tag in best]
    return examples


def _export(home: Home) -> None:
    """Write again what the home follows, if it does."""
    from resources.home import read_settings

    if not read_settings(home).exports:
        return
    from vistag_assets.runs import export

    with console.progress_bars() as watcher:
        for made in export(home, watcher):
            left = f", {made['not_written']:,} left out or not written" if made["not_written"] else ""
            console.say(
                f"{made['asset']}: {made.get('path', '')}: {made['files_written']:,} files written{left}."
            )


def measure(home: Home) -> bool:
    """Measure, and say which checks failed; whether none failed that the tier calls an error."""
    from resources.markdown import as_words
    from vistag_assets.runs import evaluate

    with console.err.status("Measuring"):
        failed = evaluate(home)
    page = report_page(home)
    show_recall(json.loads(page.with_suffix(".json").read_text(encoding="utf-8")), page)
    for check in failed:
        console.complain("Check failed", as_words(check.description or check.check_name))
    return all(check.severity.value != "ERROR" for check in failed)


def end_with(passed: bool) -> None:
    """Exit code 1 where a check failed, so that a script stops."""
    if not passed:
        raise typer.Exit(1)


def _say_where_to_look(home: Home, settings: Settings, outcome: TagOutcome) -> None:
    from resources.models.tiers import load_tier
    from vistag_assets.tags.flags import flagged_images

    if outcome.rejects:
        console.say(
            f"{outcome.rejects:,} of the files could not be used. Why: "
            "vistag sql 'select path, reason from rejects'"
        )
    for asset, images in outcome.failed.items():
        console.say(
            f"{asset}: {images:,} images got no answer from the model; the run's log says why. "
            "The next run asks again."
        )
    if flagged := flagged_images(home.lake):
        console.say(f"{flagged:,} images are flagged by the policy: vistag app shows them, and why.")
    if caveat := load_tier(settings.tier).caveat:
        console.say(caveat)
    _say_where_the_gallery_is(home)
    console.say(f"Look further: {_app_command(home)}, vistag dev, or vistag sql 'from tags limit 20'")


def _app_command(home: Home) -> str:
    """The command that opens the application on a home."""
    from resources.home import Home as Homes

    return "vistag app" if home == Homes.resolve() else f"vistag app --home {shlex.quote(str(home.root))}"


def _say_where_the_gallery_is(home: Home) -> None:
    from vistag_assets.gallery.pages import gallery_page

    console.say(f"Contact sheet: {gallery_page(home)}")
