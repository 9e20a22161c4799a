"""Which libraries are watched: what arrives there is run by the sensor `new_folders` of `vistag dev`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.choosing import choose
from vistag_assets.cli.common import HomeOption, TierOption, UsageError, own_home, plain_errors

if TYPE_CHECKING:
    from resources.home import Home, Settings


def watch(
    folder: Annotated[
        str | None,
        typer.Argument(
            help="A folder of images, or s3://bucket/prefix, with the folders below it; else lists."
        ),
    ] = None,
    tier: TierOption = None,
    home: HomeOption = None,
    library: Annotated[
        str | None, typer.Option(help="Name of the library; else the name of the folder.")
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that the files of a folder must stay as they are; 20 at first."),
    ] = None,
    stop: Annotated[
        str | None, typer.Option(help="Name of a library that is to be watched no longer.")
    ] = None,
) -> None:
    """Run what arrives in a folder, while vistag dev runs; without FOLDER, say what is watched."""
    from resources.home import read_settings, write_settings

    with plain_errors(), own_home(home) as base:
        settings = choose(base, tier) if tier or folder else read_settings(base)
        watched = dict(settings.watched)
        if folder is not None:
            name, root = _library(base, folder, library)
            if watched.get(name, root) != root:
                raise UsageError(
                    f"The library {name} is watched at {watched[name]}. Give this one another name: --library"
                )
            watched[name] = root
        if stop is not None:
            if stop not in watched:
                raise UsageError(
                    f"No library {stop} is watched. Watched: {', '.join(sorted(watched)) or 'none'}"
                )
            del watched[stop]
        seconds = settings.settle_seconds if settle is None else settle
        changed = settings.model_copy(update={"watched": watched, "settle_seconds": seconds})
        if changed != settings:
            write_settings(base, changed)
        _show(base, changed)


def forget(
    home: HomeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only list what would go.")] = False,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Also what people decided about images that are nowhere else.")
    ] = False,
) -> None:
    """Remove what the lake holds of folders that are gone for good. What people decided stays."""
    with plain_errors(), own_home(home) as base:
        from vistag_assets.automation.forget import decisions_about, forget_folders, gone_folders

        folders = gone_folders(base)
        for folder in folders:
            rows = base.lake.read_or_none("images", folder.key, ["id"])
            images = 0 if rows is None else rows.num_rows
            since = f"gone since {folder.gone_since}" if folder.gone_since else "gone"
            console.say(f"{folder.key}: {images:,} images, {since}")
        if not folders:
            console.say("No folder is gone.")
        elif yes:
            said = 0 if decisions else decisions_about(base, folders)
            removed = forget_folders(base, folders, decisions=decisions)
            console.say(f"Removed from the lake: {removed:,} folders.")
            if said:
                console.say(f"{said:,} decisions about their images are kept, for when they come back.")
        else:
            console.say("Is the disk below them mounted? If they are gone for good: vistag forget --yes")


def _library(home: Home, folder: str, library: str | None) -> tuple[str, str]:
    """The name and root of a library that is to be watched, if it may be."""
    from resources.object_store import location

    directory = location(folder)
    if not directory.is_dir():
        raise UsageError(f"{folder} is not a folder. Give the folder that images will arrive in.")
    directory = directory.resolve()
    root = str(directory)
    name = library or directory.name or "root"
    for known in home.folders():
        if known.library == name and known.root != root and known.directory.exists():
            raise UsageError(
                f"The library {name} of this home is {known.root}. Give this one another name: --library"
            )
    return name, root


def _show(home: Home, settings: Settings) -> None:
    from rich.table import Table

    from resources.models.tiers import load_tier
    from resources.object_store import SCHEME

    watched, tier = settings.watched, load_tier(settings.tier)
    if not watched:
        console.say("No library is watched: vistag watch FOLDER")
        return
    table = Table("library", "folder", "folders run", "gone")
    known = home.folders()
    for name, root in sorted(watched.items()):
        here = [folder for folder in known if (folder.library, folder.root) == (name, root)]
        gone = sum(folder.gone_since is not None for folder in here)
        table.add_row(console.one_line(name), console.one_line(root), f"{len(here) - gone:,}", f"{gone:,}")
    console.out.print(table)
    console.say(
        f"vistag dev runs what arrives there, once its files stay as they are for {settings.settle_seconds:g} "
        f"seconds, with the models of the tier {tier.name} (--tier names another)."
    )
    if any(root.startswith(SCHEME) for root in watched.values()):
        console.say("An object store is looked at every five minutes: each folder is a request to it.")
    if tier.caveat:
        console.say(tier.caveat)
