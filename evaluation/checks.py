"""The gate of an evaluation: rare tags that the last accepted run found may not be lost."""

import dagster as dg

from evaluation import history
from evaluation.record import against_baseline
from evaluation.verdict import judge
from resources.workspace import VistagResource


@dg.asset_check(
    asset="evaluation_history",
    description="Rare tags are recovered as well as in the last accepted run of the tier, as far as the paired "
    "interval over the same images can tell.",
)
def tail_recall_is_kept(vistag: VistagResource) -> dg.AssetCheckResult:
    workspace = vistag.open()
    setting = workspace.tier.checks.tail_recall_drop
    run = history.find_run(workspace.lake)
    labels = workspace.taxonomy.pref_labels
    compared = against_baseline(workspace.lake, run, labels)
    found = judge(compared.comparison if compared else None, setting.allowed_drop, labels)
    by_person = run.accepted_by == history.BY_PERSON
    return dg.AssetCheckResult(
        passed=found.passed or by_person,
        severity=dg.AssetCheckSeverity(setting.severity),
        description=f"Accepted by a person. {found.message}" if by_person else found.message,
        metadata={"run": run.run, "baseline": run.baseline or "none", "allowed_drop": setting.allowed_drop},
    )
