"""Writing what vistag knows into the files of other programs: a command a format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import (
    HomeOption,
    LiteralGroup,
    UsageError,
    folders_named,
    own_home,
    plain_errors,
)
from vistag_assets.exports.formats import FORMATS, ORIGINALS

if TYPE_CHECKING:
    from resources.home import Home
    from vistag_assets.exports.formats import Format, Options
    from vistag_assets.exports.job import Outcome
    from vistag_assets.exports.records import Selection

SHOWN_FILES = 20


class Flagged(StrEnum):
    WITH, WITHOUT, ONLY = "with", "without", "only"


_YES_NO = {"yes": True, "true": True, "no": False, "false": False}

export_app = typer.Typer(
    cls=LiteralGroup,
    help="Write what vistag knows into the files of other programs; originals are never touched, but by xmp --write-originals.",
    no_args_is_help=True,
)


def _command(format_: Format) -> Callable[..., None]:
    def export(
        home: HomeOption = None,
        to: Annotated[
            Path | None, typer.Option(help="Where to write: a folder of its own; else exports/ in the home.")
        ] = None,
        folder: Annotated[
            list[str] | None,
            typer.Option(
                help="Only this folder of images (its path, or its key), and those below it. Repeatable."
            ),
        ] = None,
        state: Annotated[str, typer.Option(help="Whose tags: human, machine, or both.")] = "human,machine",
        min_probability: Annotated[
            float, typer.Option(min=0, max=1, help="From which a machine's tag is exported.")
        ] = 0.5,
        thresholds: Annotated[
            Path | None,
            typer.Option(
                help="CSV with concept_id and threshold: a tag's own, in place of --min-probability."
            ),
        ] = None,
        flagged: Annotated[
            Flagged, typer.Option(help="Images that a policy flags: with them, without them, or only them.")
        ] = Flagged.WITH,
        ancestors: Annotated[
            bool, typer.Option("--ancestors", help="Name broader concepts beside narrower ones too.")
        ] = False,
        set_: Annotated[
            list[str] | None, typer.Option("--set", help="An option of the format, NAME=VALUE. Repeatable.")
        ] = None,
        follow: Annotated[
            bool | None,
            typer.Option(
                "--follow/--no-follow",
                help="From now on write it again, as it is told here, whenever a run has changed what it says; or no more.",
            ),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, say what would be.")] = False,
        write_originals: Annotated[
            bool,
            typer.Option(
                "--write-originals",
                help="Into the pictures' own files in place of sidecars, by exiftool; the files as they were are kept in "
                "backups/ of the home.",
            ),
        ] = False,
    ) -> None:
        from resources.workspace import open_workspace
        from vistag_assets.exports.follow import places
        from vistag_assets.exports.job import EXPORTS, Job
        from vistag_assets.exports.records import Selection, read_thresholds
        from vistag_assets.progress import watching

        with plain_errors(), own_home(home) as base:
            selection = Selection(
                _states(state),
                min_probability,
                read_thresholds(thresholds) if thresholds else {},
                flagged.value,
                ancestors,
            )
            written = ORIGINALS if write_originals else format_
            options = parse_options(written, set_ or ())
            if write_originals and to:
                raise UsageError("--write-originals: the files lie where they are; leave out --to.")
            if not base.lake.folders("images"):
                raise UsageError(f"There are no images in {base.root}. Run vistag on a folder first.")
            if follow and (folder or dry_run or write_originals):
                raise UsageError(
                    "--follow is for all folders, writes, and leaves originals alone: leave out --folder, --dry-run and "
                    "--write-originals."
                )
            refs = folders_named(base, folder) if folder else None
            outcomes = []
            beside = write_originals or getattr(options, "beside", False)
            with console.progress_bars() as watcher, watching(watcher):
                for place, those in places(
                    base, to or base.root / EXPORTS / format_.name, refs, beside=beside
                ):
                    job = Job(
                        open_workspace(base),
                        written,
                        place,
                        selection=selection,
                        folders=those,
                        options=options,
                        dry_run=dry_run,
                    )
                    outcomes.append((place, job.run()))
            if follow is not None:
                _remember(base, format_, to, selection, options, follow=follow)
            for place, outcome in outcomes:
                _tell(place, outcome, dry_run=dry_run)
            if any(outcome.failed for _, outcome in outcomes):
                raise typer.Exit(1)

    export.__doc__ = help_of(format_)
    if format_.name != "xmp":
        seen = signature(export, eval_str=True)
        others = [known for name, known in seen.parameters.items() if name != "write_originals"]
        export.__signature__ = seen.replace(parameters=others)  # type: ignore[attr-defined]
    return export


def _remember(
    home: Home, format_: Format, to: Path | None, selection: Selection, options: Options, *, follow: bool
) -> None:
    from resources.home import ExportSettings, read_settings, write_settings

    settings = read_settings(home)
    exports = {name: asked for name, asked in settings.exports.items() if name != format_.name}
    if follow:
        exports[format_.name] = ExportSettings(
            to=str(to.absolute()) if to else None,
            state=tuple(sorted(selection.states)),  # type: ignore[arg-type]
            min_probability=selection.min_probability,
            thresholds=dict(selection.thresholds),
            flagged=selection.flagged,
            ancestors=selection.ancestors,
            options={option.name: getattr(options, option.name) for option in fields(options)},
        )
    write_settings(home, settings.model_copy(update={"exports": exports}))
    console.say(
        f"From now on {format_.name} is written again whenever a run has changed what it says (--no-follow ends that)."
        if follow
        else f"{format_.name} is not written by itself any more."
    )


def help_of(format_: Format) -> str:
    """What a format is for, what it carries, what is lost, and its own options."""
    lines = [
        f"{format_.about}.",
        "",
        f"Carried: {format_.carried}.",
        "",
        f"Lost: {format_.lost}.",
    ]
    for option in fields(format_.options):
        default = _shown(option.default)
        lines += ["", f"--set {option.name}={default or '...'}  {option.metadata['help']}"]
    return "\n".join(lines)


def parse_options(format_: Format, given: Sequence[str]) -> Options:
    """The options of a format from NAME=VALUE. Raises UsageError."""
    known = {option.name: option for option in fields(format_.options)}
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in known or not equals:
            names = ", ".join(known) or "none"
            raise UsageError(f"--set {text}: give NAME=VALUE; the options of {format_.name}: {names}.")
        default = known[name].default
        assert default is not MISSING
        if isinstance(default, bool):
            if value.lower() not in _YES_NO:
                raise UsageError(f"--set {text}: give yes or no.")
            values[name] = _YES_NO[value.lower()]
        else:
            try:
                values[name] = type(default)(value)
            except ValueError:
                raise UsageError(f"--set {text}: {value!r} is no number.") from None
    return format_.options(**values)


def _shown(default: Any) -> str:
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)


def _states(text: str) -> frozenset[str]:
    from vistag_assets.exports.records import STATES

    states = frozenset(part.strip() for part in text.split(","))
    if not states or not states <= STATES:
        raise UsageError(f"--state {text}: give human, machine, or human,machine.")
    return states


def _tell(to: Path, outcome: Outcome, *, dry_run: bool) -> None:
    would = "would be written" if dry_run else "written"
    removed = f", {outcome.removed:,} removed" if outcome.removed else ""
    console.say(f"{to}: {len(outcome.written):,} files {would}, {outcome.unchanged:,} unchanged{removed}.")
    if dry_run:
        _list(outcome.written)
    for name, reason in outcome.skipped[:SHOWN_FILES]:
        console.say(f"Left out: {name}: {reason}", to=console.err)
    for name, reason in outcome.failed[:SHOWN_FILES]:
        console.complain("Not written", f"{name}: {reason}")
    for what, those in (("left out", outcome.skipped), ("not written", outcome.failed)):
        if len(those) > SHOWN_FILES:
            console.say(f"and {len(those) - SHOWN_FILES:,} more {what}", to=console.err)


def _list(names: Sequence[str]) -> None:
    for name in names[:SHOWN_FILES]:
        console.say(f"  {name}")
    if len(names) > SHOWN_FILES:
        console.say(f"  and {len(names) - SHOWN_FILES:,} more")


for _format in FORMATS.values():
    export_app.command(_format.name)(_command(_format))
