"""What people's words teach the vocabulary of a home: a diff to be reviewed, and what was accepted of it in a copy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resources.home import read_settings, write_settings
from resources.lake.files import replace_file
from resources.workspace import Workspace
from taxonomy import STARTER
from taxonomy.learning.accepting import NotAcceptable, with_accepted
from taxonomy.learning.diff_file import Entry, entries_to_turtle, read_entries, to_turtle
from taxonomy.learning.proposals import Learned, learn
from taxonomy.loading import facets_beside
from vistag_assets.review.phrases import phrases_of

FOLDER, PROPOSED, DECIDED = "vocabulary", "proposed.ttl", "decided.ttl"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a reviewed diff."""

    path: Path
    """of the copy; nothing lies there where nothing was accepted"""
    source: Path
    counts: Counter[str]
    """accept, reject and undecided -> how many labels"""


def propose(workspace: Workspace, to: Path | None, least: int) -> tuple[Learned, Path]:
    """Write the diff of what was said in at least `least` pictures, and say where; no file where nothing is proposed.

    The diff in the home is written anew each time: what was decided of an earlier one stands in the record. Raises
    LogUnavailable, OSError, TaxonomyError; NotAcceptable where `to` is there already, or a diff in the home is half decided.
    """
    decided = frozenset(entry.key for entry in _record(workspace))
    learned = learn(phrases_of(workspace.decisions.since()), workspace.taxonomy, least=least, decided=decided)
    path = to or workspace.home.root / FOLDER / PROPOSED
    if path.exists():
        _require_untouched(path, is_own=to is None)
    if learned.proposals:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as file:
            file.write(to_turtle(learned.proposals, workspace.taxonomy).encode())
    return learned, path


def _require_untouched(path: Path, *, is_own: bool) -> None:
    if not is_own:
        raise NotAcceptable(f"{path} is there already: give another name, or remove it")
    begun = sum(entry.decision != "undecided" for entry in read_entries(path))
    if begun:
        raise NotAcceptable(
            f"{path}: {begun:,} of its labels are decided and not taken yet. Run vistag taxonomy accept {path} first, or "
            "remove it"
        )


def accept(workspace: Workspace, diff: Path, to: Path | None, who: str, *, use: bool) -> Accepted:
    """Put the accepted labels of a diff into a copy of the home's vocabulary, and all that was decided on record.

    `use`: the home works with the copy from now on. Raises NotAcceptable, TaxonomyError, OSError.
    """
    entries, now = read_entries(diff), datetime.now(UTC)
    source = _source(workspace)
    counts = Counter[str](entry.decision for entry in entries)
    path = to or workspace.home.root / FOLDER / f"{source.stem}.ttl"
    if to is not None and (path.exists() or path.suffix.lower() != ".ttl"):
        raise NotAcceptable(f"{path}: give the name of a .ttl file that is not there yet")
    if counts["accept"]:
        content = with_accepted(source, workspace.taxonomy, entries, who, now)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as file:
            file.write(content)
    _remember(workspace, [entry for entry in entries if entry.decision != "undecided"])
    if use and counts["accept"]:
        _use(workspace, source, path)
    _remove_own(workspace, diff)
    return Accepted(path, source, counts)


def _source(workspace: Workspace) -> Path:
    name = workspace.settings.taxonomy or workspace.tier.taxonomy
    return STARTER if name == "starter" else Path(name)


def _record(workspace: Workspace) -> list[Entry]:
    path = workspace.home.root / FOLDER / DECIDED
    return read_entries(path) if path.exists() else []


def _remember(workspace: Workspace, decided: list[Entry]) -> None:
    """The last word on a label counts."""
    latest = {entry.key: entry for entry in (*_record(workspace), *decided)}
    path = workspace.home.root / FOLDER / DECIDED
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as file:
        file.write(entries_to_turtle([latest[key] for key in sorted(latest)]).encode())


def _remove_own(workspace: Workspace, diff: Path) -> None:
    """The home's own diff has been taken: the next one proposes again what is undecided."""
    if diff.resolve() == (workspace.home.root / FOLDER / PROPOSED).resolve():
        diff.unlink()


def _use(workspace: Workspace, source: Path, copy: Path) -> None:
    """The facets stay those of the vocabulary's own place."""
    settings = read_settings(workspace.home)
    facets = settings.facets or str(facets_beside(source).resolve())
    changes = {"taxonomy": str(copy.resolve()), "facets": facets, "columns": {}}
    write_settings(workspace.home, settings.model_copy(update=changes))
