"""What all commands share: the home, and errors told in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console

if TYPE_CHECKING:
    from resources.home import Home

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where vistag keeps everything; else $VISTAG_HOME, else ./.vistag."),
]
TierOption = Annotated[str | None, typer.Option(help="Which tier; else the one of the home.")]


class UsageError(ValueError):
    """Something that was given on the command line cannot be; the message says what to do."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with a sentence and code 1 for what a user can do something about; bugs keep their traceback."""
    try:
        yield
    except BaseException as error:
        if _is_interrupt(error):
            console.say(
                "Stopped. What was finished is kept; the next run goes on from there.", to=console.err
            )
            raise typer.Exit(130) from None
        if not isinstance(error, _expected_errors()):
            raise
        console.complain("Error", _sentence(error))
        raise typer.Exit(1) from error


def _is_interrupt(error: BaseException) -> bool:
    """Ctrl-C, as Python tells it or as Dagster does in the middle of a step."""
    if isinstance(error, KeyboardInterrupt):
        return True
    dagster = sys.modules.get("dagster._core.errors")
    return dagster is not None and isinstance(error, dagster.DagsterExecutionInterruptedError)


def _expected_errors() -> tuple[type[Exception], ...]:
    from evaluation.from_lake import EvaluationError
    from evaluation.history import HistoryError
    from evaluation.readers.tables import UnusableFile
    from resources.decisions import LogUnavailable
    from resources.home import CorruptRegistration, KeyTaken, SettingsError, UnknownFolder
    from resources.images import DecoderUnavailable
    from resources.lake import LakeError
    from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError
    from resources.models.tiers import TierError
    from resources.models.vlms.server import NoServerError
    from resources.object_store import StoreUrlError
    from taxonomy import TaxonomyError
    from vistag_assets.automation.dev import DevError
    from vistag_assets.automation.storage import StorageError
    from vistag_assets.cli.serve import ServeError
    from vistag_assets.runs import NoImagesError
    from vistag_assets.tags.decide import UnknownSubject
    from vistag_assets.whole_image.calibration import CalibrationError

    return (
        UsageError, TierError, SettingsError, NoImagesError, TaxonomyError, UnusableFile, EvaluationError, HistoryError,
        DeviceUnavailableError, ModelUnavailableError, LakeError, DecoderUnavailable, StoreUrlError, KeyTaken, UnknownFolder,
        CorruptRegistration, DevError, NoServerError, ServeError, StorageError, LogUnavailable, UnknownSubject,
        CalibrationError, OSError,
    )  # fmt: skip


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def home_of(option: Path | None) -> Home:
    from resources.home import Home

    return Home.resolve(option)
