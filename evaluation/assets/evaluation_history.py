"""`evaluation_history`: every evaluation, compared with its baseline; its check fails where rare tags were lost."""

from datetime import UTC, datetime

import dagster as dg

from evaluation import history, verdict
from evaluation.assets.declaration import declared
from evaluation.record import record_run
from resources.markdown import plain_text
from resources.workspace import VistagResource
from vistag_assets.failures import told_first
from vistag_assets.partitions import EVALUATION_POOL


@dg.asset(
    deps=[
        "tag_recall",
        "tag_ranks",
        "grounding_recall",
        "ground_truth",
        "ground_truth_images",
        "ground_truth_concepts",
    ],
    pool=EVALUATION_POOL,
    **declared("evaluation_history", version=3),
)
@told_first()
def evaluation_history(
    context: dg.AssetExecutionContext, vistag: VistagResource
) -> dg.MaterializeResult[None]:
    run = record_run(vistag.open(), datetime.now(UTC), context.run.run_id)
    return dg.MaterializeResult(
        metadata={
            "run": run.run,
            "tier": run.tier,
            "corpus": run.corpus,
            "baseline": run.baseline or "none",
            "accepted_by": run.accepted_by or "nobody",
            **{f"{model.role}_fingerprint": model.fingerprint for model in run.models},
        }
    )


@dg.asset_check(
    asset=evaluation_history,
    description="Rare tags are recovered as well as in the last accepted run of the tier, as far as the paired "
    "interval over the same images can tell.",
)
def tail_recall_is_kept(vistag: VistagResource) -> dg.AssetCheckResult:
    workspace = vistag.open()
    setting, run = workspace.tier.checks.tail_recall_drop, history.find_run(workspace.lake)
    comparison = history.since_baseline(workspace.lake, run)
    sentence = verdict.sentence(comparison, setting.allowed_drop, workspace.taxonomy.pref_labels, plain_text)
    by_person = run.accepted_by == history.BY_PERSON
    return dg.AssetCheckResult(
        passed=by_person or verdict.is_kept(comparison, setting.allowed_drop),
        severity=dg.AssetCheckSeverity(setting.severity),
        description=f"Accepted by a person. {sentence}" if by_person else sentence,
        metadata={"run": run.run, "baseline": run.baseline or "none", "allowed_drop": setting.allowed_drop},
    )
