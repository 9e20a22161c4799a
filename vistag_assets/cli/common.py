"""What all commands share: the home, and errors told in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from resources.text import printable
from vistag_assets.cli import console

if TYPE_CHECKING:
    from resources.home import FolderRef, Home

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where vistag keeps everything; else $VISTAG_HOME, else ./.vistag."),
]
TierOption = Annotated[str | None, typer.Option(help="Which tier; else the one of the home.")]


class UsageError(ValueError):
    """Something that was given on the command line cannot be; the message says what to do."""


class LiteralGroup(TyperGroup):
    """Commands whose usage errors, which Typer tells, quote what was given in printable characters."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _printable_quotes():
            return super().make_context(*args, **extra)

    def invoke(self, *args: Any) -> Any:
        with _printable_quotes():
            return super().invoke(*args)


@contextmanager
def _printable_quotes() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        error.message = printable(error.message)
        raise


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
        from vistag_assets.failures import sentence_of

        console.complain("Error", sentence_of(error))
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
    from evaluation.public.fetching import BenchmarkError
    from evaluation.readers.tables import UnusableFile
    from resources.decisions import LogUnavailable
    from resources.home import CorruptRegistration, KeyTaken, SettingsError, UnknownFolder
    from resources.images import DecoderUnavailable
    from resources.lake import LakeError
    from resources.lake.leases import LeaseError
    from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError
    from resources.models.convert import ConversionError
    from resources.models.tiers import TierError
    from resources.models.vlms.server import NoServerError
    from resources.object_store import StoreUrlError
    from resources.web.guard import NoToken
    from taxonomy import TaxonomyError
    from taxonomy.learning.accepting import NotAcceptable
    from vistag_assets.automation.cluster import ClusterError
    from vistag_assets.automation.dev import DevError
    from vistag_assets.automation.storage import StorageError
    from vistag_assets.cli.serve import ServeError
    from vistag_assets.exports.job import ExportError
    from vistag_assets.exports.records import UnusableThresholds
    from vistag_assets.runs import NoImagesError
    from vistag_assets.search.filters import UnknownTag
    from vistag_assets.search.query import SearchError
    from vistag_assets.tags.decide import UnknownSubject
    from vistag_assets.tags.flag_policy import PolicyError
    from vistag_assets.whole_image.calibration import CalibrationError
    from vistag_assets.whole_image.catalogue_priors import PriorsError
    from vistag_assets.whole_image.home_adapter import AdapterError

    return (
        UsageError, TierError, SettingsError, NoImagesError, TaxonomyError, UnusableFile, EvaluationError, HistoryError,
        DeviceUnavailableError, ModelUnavailableError, LakeError, LeaseError, DecoderUnavailable, StoreUrlError, KeyTaken,
        UnknownFolder, CorruptRegistration, ClusterError, DevError, NoServerError, ServeError, StorageError, LogUnavailable,
        UnknownSubject, CalibrationError, ExportError, UnusableThresholds, SearchError, UnknownTag, NoToken, PolicyError,
        NotAcceptable, BenchmarkError, PriorsError, AdapterError, ConversionError, OSError,
    )  # fmt: skip


@contextmanager
def own_home(option: Path | None) -> Iterator[Home]:
    """The home, for a command that writes to it: within, what is made is readable by this account alone."""
    from resources.home.private import make_private, private_files

    base = home_of(option)
    with private_files(base.root):
        for sentence in make_private(base.root):
            console.say(sentence, to=console.err)
        yield base


def home_of(option: Path | None) -> Home:
    """The home, for a command that reads it."""
    from resources.home import Home

    return Home.resolve(option)


def folders_named(home: Home, named: Sequence[str]) -> list[FolderRef]:
    """The folders of the lake that are named by path or key, and those below them."""
    there = [home.folder(key) for key in home.lake.folders("images")]
    found: dict[str, FolderRef] = {}
    for name in named:
        path = Path(name).absolute()
        mine = [
            ref
            for ref in there
            if ref.key == name or str(ref.directory) == name or Path(str(ref.directory)).is_relative_to(path)
        ]
        if not mine:
            raise UsageError(f"--folder {name}: no image of it is in {home.root}. Run vistag on it first.")
        found |= {ref.key: ref for ref in mine}
    return [found[key] for key in sorted(found)]
