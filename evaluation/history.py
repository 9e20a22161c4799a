"""The history of evaluations: one partition a run in the table `evaluation_history` of the lake.

A partition holds one row with the figures of its run and the rank of every true tag, which is what a later run
is compared with; a note in its file says what changed since its baseline. It is written once and whole, so a kill
leaves every run before it as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from evaluation.metrics.comparison import Comparison, compare_ranks
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.stored import figures_of, with_figures
from resources.fingerprint import fingerprint
from resources.lake import Lake
from resources.tables import EVALUATION_HISTORY, TAG_RANKS

HISTORY = "evaluation_history"
BY_CHECK, BY_PERSON = "check", "person"
_TICK = timedelta(seconds=1)  # what a key tells apart


def _rows_of(schema: pa.Schema) -> pa.DataType:
    return pa.list_(pa.struct([*schema]))


_SHORT = [name for name in EVALUATION_HISTORY.schema.names if name != "ranks"]


class HistoryError(ValueError):
    """A run that is not in the history; the message lists those that are."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that had a part in a run."""

    role: str
    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation, without its ranks."""

    run: str
    created_at: datetime
    tier: str
    option: str
    models: tuple[Model, ...]
    taxonomy: str
    corpus: str
    images: int
    baseline: str | None
    accepted_by: str | None
    tag_recall: tuple[Mapping[str, Any], ...]
    """rows of `tag_recall`"""
    grounding_recall: tuple[Mapping[str, Any], ...]
    """rows of `grounding_recall`"""

    def recall(self, band: str, k: int) -> Mapping[str, Any] | None:
        """The row of a band at a cut-off."""
        return next((row for row in self.tag_recall if (row["band"], row["k"]) == (band, k)), None)


@dataclass(frozen=True, slots=True)
class Compared:
    """Two runs, and what changed from the one to the other over the pairs that both have."""

    before: Run
    after: Run
    comparison: Comparison
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # concept id -> prefLabel


def run_key(created_at: datetime, run_id: str) -> str:
    """`20250102t030405z-0123abcd`: sorts by time, and no two runs of one second share it."""
    return f"{created_at:%Y%m%dt%H%M%Sz}-{run_id[:8]}"


def following(history: list[Run], now: datetime) -> datetime:
    """The time of a run that is added now: later than those before it, also where the clock went back since."""
    return max(now, history[-1].created_at + _TICK) if history else now


def corpus_fingerprint(truth: pa.Table, images: pa.Table, concepts: pa.Table) -> str:
    """What was evaluated: changes with any image, true tag or concept, not with the order of rows."""
    pairs = sorted(zip(truth["id"].to_pylist(), truth["concept_id"].to_pylist(), strict=True))
    return fingerprint(
        truth=pairs,
        images=sorted(images["id"].to_pylist()),
        concepts=sorted(concepts["concept_id"].to_pylist()),
    )


def append(lake: Lake, run: Run, ranks: pa.Table, comparison: Comparison | None = None) -> None:
    """Add a run.

    Args:
        ranks: `tag_ranks`, one row a true pair.
        comparison: of its baseline with it. Of the tags only those that changed are kept.
    """
    short = pa.Table.from_pylist([asdict(run)], schema=EVALUATION_HISTORY.select(*_SHORT))
    pairs = ranks.select(TAG_RANKS.schema.names).combine_chunks().to_struct_array()
    nested = pa.ListArray.from_arrays([0, ranks.num_rows], pa.concat_arrays(pairs.chunks))
    rows = short.append_column("ranks", nested).cast(EVALUATION_HISTORY.schema)
    if comparison:
        rows = with_figures(rows, Comparison, replace(comparison, tags=comparison.changed_tags))
    lake.write(HISTORY, rows, run.run)


def runs(lake: Lake) -> list[Run]:
    """Every run, the oldest first. Raises CorruptPartition.

    Each partition is read by itself: those of older versions may have fewer figures.
    """
    parts = (lake.read_or_none(HISTORY, run, _SHORT) for run in lake.folders(HISTORY))
    rows = [row for part in parts if part is not None for row in part.to_pylist()]
    return sorted(TypeAdapter(list[Run]).validate_python(rows), key=lambda run: (run.created_at, run.run))


def ranks_of(lake: Lake, run: str) -> pa.Table:
    """`tag_ranks` of one run. Raises MissingPartition."""
    nested = lake.read(HISTORY, run, ["ranks"])["ranks"]
    return pa.Table.from_struct_array(pc.list_flatten(nested)).cast(TAG_RANKS.schema)


def since_baseline(lake: Lake, run: Run) -> Comparison | None:
    """What changed from the baseline of a run to it; None where there was none."""
    if run.baseline is None:
        return None
    stored = figures_of(lake.read(HISTORY, run.run, ["run"]), Comparison)
    # older versions stored the ranks alone
    return stored or compare_ranks(ranks_of(lake, run.baseline), ranks_of(lake, run.run), HEADLINE_K)


def last_accepted(history: list[Run], tier: str) -> Run | None:
    """The newest accepted run of a tier."""
    return next((run for run in reversed(history) if run.tier == tier and run.accepted_by), None)


def find_run(lake: Lake, name: str | None = None) -> Run:
    """The run whose key begins with `name`; the last one without a name.

    Raises:
        HistoryError: there is no such run, or several.
    """
    history = runs(lake)
    if not history:
        raise HistoryError(
            f"{lake.root} holds no evaluation yet. Evaluate first: vistag run FOLDER --ground-truth FILE"
        )
    found = [run for run in history if run.run.startswith(name or "")]
    if name and len(found) != 1:
        known = ", ".join(run.run for run in history[-10:])
        what = f"{len(found)} runs begin with" if found else "no run is called"
        raise HistoryError(f"{lake.root}: {what} {name!r}. The last runs: {known}")
    return found[-1]


def accept(lake: Lake, name: str | None = None) -> Run:
    """Make a run (the last one without a name) the baseline of those to come. Raises HistoryError."""
    run = find_run(lake, name)
    if run.accepted_by is None:
        with lake.locked(HISTORY, run.run):
            row = lake.read(HISTORY, run.run)
            index = row.column_names.index("accepted_by")
            lake.replace(HISTORY, row.set_column(index, "accepted_by", pa.array([BY_PERSON])), run.run)
    return find_run(lake, run.run)
