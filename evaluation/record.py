"""Adds the evaluation that lies in the lake to the history, compared with its baseline: the last accepted run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from evaluation import history
from evaluation.history import Compared, Model, Run
from evaluation.metrics.comparison import compare_ranks
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.verdict import is_kept
from resources.lake import Lake
from resources.models.tiers import role_specs
from resources.workspace import Workspace


def record_run(workspace: Workspace, created_at: datetime, run_id: str) -> Run:
    """Append a run, after all others, of the tables `tag_recall`, `grounding_recall` and `tag_ranks`.

    It is accepted where rare tags are recovered as well as in its baseline, the last accepted run of its tier, as
    far as the tier's checks allow, and where there is no baseline.
    """
    lake, tier = workspace.lake, workspace.tier
    ranks = lake.read("tag_ranks")
    truth, images, concepts = map(lake.read, ("ground_truth", "ground_truth_images", "ground_truth_concepts"))
    earlier = history.runs(lake)
    created_at = history.following(earlier, created_at)
    baseline = history.last_accepted(earlier, tier.name)
    comparison = compare_ranks(history.ranks_of(lake, baseline.run), ranks, HEADLINE_K) if baseline else None
    run = Run(
        run=history.run_key(created_at, run_id),
        created_at=created_at,
        tier=tier.name,
        option=tier.option,
        models=models_of(workspace),
        taxonomy=workspace.taxonomy.fingerprint,
        corpus=history.corpus_fingerprint(truth, images, concepts),
        images=images.num_rows,
        baseline=baseline.run if baseline else None,
        accepted_by=history.BY_CHECK
        if is_kept(comparison, tier.checks.tail_recall_drop.allowed_drop)
        else None,
        tag_recall=tuple(lake.read("tag_recall").to_pylist()),
        grounding_recall=tuple(lake.read("grounding_recall").to_pylist()),
    )
    history.append(lake, run, ranks, comparison)
    return run


def against_baseline(lake: Lake, run: Run, labels: Mapping[str, str]) -> Compared | None:
    """What changed from its baseline to a run; None where there was none.

    `labels`: concept id -> preferred label.
    """
    comparison = history.since_baseline(lake, run)
    return Compared(history.find_run(lake, run.baseline), run, comparison, labels) if comparison else None


def compare_runs(
    before_lake: Lake, before: Run, after_lake: Lake, after: Run, labels: Mapping[str, str]
) -> Compared:
    """Two runs of two lakes, or of one."""
    ranks = history.ranks_of(before_lake, before.run), history.ranks_of(after_lake, after.run)
    return Compared(before, after, compare_ranks(*ranks, HEADLINE_K), labels)


def models_of(workspace: Workspace) -> tuple[Model, ...]:
    """The models that the tier names, each with the fingerprint that its rows in the lake depend on.

    But for depth, which no figure depends on.
    """
    return tuple(
        Model(field, spec.name, getattr(workspace, field).fingerprint)
        for field, spec in role_specs(workspace.tier).items()
        if field != "depth"
    )
