"""Finding what is like words, a picture, a part of one, or something in the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, folders_named, own_home, plain_errors

if TYPE_CHECKING:
    from PIL import Image

    from resources.home import Home
    from resources.workspace import Workspace
    from vistag_assets.search.query import Box, Hit, Query

STATES = ("human", "machine", "rejected", "review")
WITHIN = ("images", "regions", "both")


def search(
    words: Annotated[str, typer.Argument(help="What is to be seen, such as 'blue glaze with cracks'.")] = "",
    home: HomeOption = None,
    image: Annotated[Path | None, typer.Option(help="A picture that what is found is like.")] = None,
    region: Annotated[
        tuple[Path, str] | None,
        typer.Option(
            metavar="FILE X,Y,WIDTH,HEIGHT",
            help="A part of a picture: its file, and where, in its pixels or relative to it (0..1).",
        ),
    ] = None,
    like: Annotated[str | None, typer.Option(help="The id of an image or a region in the lake.")] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Words for what is not to be seen. Repeatable.")
    ] = None,
    words_weight: Annotated[
        float, typer.Option(min=0, max=1, help="Of the words, where there is a picture too.")
    ] = 0.5,
    within: Annotated[
        str | None,
        typer.Option(
            help="What is looked at: images, regions or both; else regions for a part of a picture, images for a "
            "picture, both for words."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    folder: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this folder of images (its path, or its key), and those below it. Repeatable."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only images with this tag (id or label). Repeatable.")
    ] = None,
    not_tag: Annotated[
        list[str] | None, typer.Option(help="Only images without this tag. Repeatable.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Only where --tag, or any tag, is human, machine, rejected or for review."),
    ] = None,
    flag: Annotated[
        list[str] | None,
        typer.Option(help="Only images that this rule of the policy flags; any for whichever. Repeatable."),
    ] = None,
    not_flag: Annotated[
        list[str] | None, typer.Option(help="Only images that this rule, or any, does not flag. Repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was taken from this day on, YYYY-MM-DD.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Nothing below is shown; else as the tier says.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The hits as JSON, alone on standard output.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="As a page with thumbnails, in the browser.")
    ] = False,
) -> None:
    """Find the images, and the parts of images, that are most like words, a picture, a part of a picture, or something in the lake.

    A score is, of words, how likely they are true of what was found, and of a picture, how much more like it that is than any
    two are (docs/search.md).
    """
    with plain_errors(), own_home(home) as base:
        from resources.workspace import open_workspace
        from vistag_assets.search.query import Query, Searcher
        from vistag_assets.search.updating import update_all

        if not base.lake.folders("images"):
            raise UsageError(f"There are no images in {base.root}. Run vistag on a folder first.")
        workspace = open_workspace(base)
        picture, box = _examples(workspace, image, region)
        query = Query(
            text=words,
            without=tuple(without or ()),
            image=picture,
            box=box,
            like=like or "",
            text_weight=words_weight,
            within=_one_of("--within", within, WITHIN),  # type: ignore[arg-type]
            top=top,
            folders=tuple(ref.key for ref in folders_named(base, folder)) if folder else (),
            tags=tuple(tag or ()),
            not_tags=tuple(not_tag or ()),
            flags=tuple(flag or ()),
            not_flags=tuple(not_flag or ()),
            state=_one_of("--state", state, STATES),  # type: ignore[arg-type]
            since=_day(since),
            min_score=min_score,
        )
        with console.err.status("Searching"):
            for updated in update_all(workspace):
                if updated.quarantined:
                    console.complain(
                        "Index", f"it was damaged, is now in {updated.quarantined}, and was made anew"
                    )
            hits = Searcher(workspace).search(query)
        if as_json:
            console.say_json({"home": str(base.root), "hits": [asdict(hit) for hit in hits]})
        else:
            _show(base, hits)
        if open_page:
            _open(workspace, query, hits)


def _show(home: Home, hits: Sequence[Hit]) -> None:
    from rich.table import Table

    from resources.text import one_line

    if not hits:
        console.say("Nothing is like it. --min-score shows what is less so.", to=console.err)
        return
    table = Table("score", "image", "region")
    for hit in hits:
        table.add_row(f"{hit.score:.2f}", one_line(hit.path), hit.region_id or "")
    console.out.print(table)


def _open(workspace: Workspace, query: Query, hits: Sequence[Hit]) -> None:
    import webbrowser

    from vistag_assets.search.page import write_page

    page = write_page(workspace, query, hits)
    console.say(f"Page: {page}", to=console.err)
    webbrowser.open(page.absolute().as_uri())


def _examples(
    workspace: Workspace, image: Path | None, region: tuple[Path, str] | None
) -> tuple[Image.Image | None, Box | None]:
    """The picture that is given, and the part of it that is meant."""
    from vistag_assets.search.examples import part_of, read_example

    if image and region:
        raise UsageError("--image and --region are two examples: give one.")
    if region:
        example = read_example(region[0], workspace.limits)
        return example.image, part_of(example, region[1])
    return (read_example(image, workspace.limits).image if image else None), None


def _one_of(option: str, given: str | None, known: Sequence[str]) -> str | None:
    if given is not None and given not in known:
        raise UsageError(f"{option} {given}: give {', '.join(known[:-1])} or {known[-1]}.")
    return given


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"--since {text}: give a day such as 2024-05-31.") from None
