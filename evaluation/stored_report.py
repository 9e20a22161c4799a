"""The report out of the lake: the figures that were stored, and what a reader needs around them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from evaluation import history
from evaluation.figures import Figures, RegionFigures, TagFigures, TextFigures, Throughput
from evaluation.metrics.ablation import AblationRow
from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.phrase_grounding import PhraseFigure
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.record import against_baseline
from evaluation.report.view import LongTailReport, points
from evaluation.stored import stored_figures
from resources.images import open_proxy
from resources.lake import Lake
from resources.previews import thumbnail
from resources.workspace import Workspace
from vistag_assets.whole_image.calibration import read_home_calibration
from vistag_assets.whole_image.home_adapter import read_home_adapter

EXAMPLES_A_TAG = 3
TAGS_WITH_EXAMPLES = 60
_NAMED = 8
"""Concepts of a group that a remark names."""

_EXAMPLES = """
with missed as (
    select concept_id, id, rank is null or rank > $k as missed from ranks where band = $band
),
lowest as (
    select concept_id from missed group by concept_id having bool_or(missed)
    order by avg(missed::int) desc, count(*) desc, concept_id limit $tags
)
select concept_id, (list(distinct proxies.path order by proxies.path))[:$count]
from missed semi join lowest using (concept_id) join proxies using (id) where missed group by concept_id
"""


def read_report(
    workspace: Workspace, throughput: Mapping[str, Throughput], created_at: datetime
) -> LongTailReport:
    """The report of the last evaluation. Raises MissingPartition, and EvaluationError as `stored_figures` does."""
    lake, tier, labels = workspace.lake, workspace.tier, workspace.taxonomy.pref_labels
    past = history.runs(lake)
    return LongTailReport(
        read_figures(lake, tier.name, throughput),
        created_at=created_at,
        model=tier.encoder.name,
        taxonomy_fingerprint=workspace.taxonomy.fingerprint,
        labels=labels,
        examples={
            concept_id: [thumbnail(open_proxy(workspace.home.root, path)) for path in paths]
            for concept_id, paths in example_images(lake, lake.read("tag_ranks")).items()
        },
        confusions=lake.read("tag_confusions"),
        remarks=[*calibration_remarks(workspace), *adapter_remarks(workspace)],
        history=[run for run in past if run.tier == tier.name],
        compared=against_baseline(lake, past[-1], labels) if past else None,
    )


def calibration_remarks(workspace: Workspace) -> list[str]:
    """What the probabilities were fitted to, where people fitted them in this home."""
    fitted = read_home_calibration(workspace.home, workspace.encoder)
    if fitted is None:
        return []
    return [
        f"Probabilities of {workspace.tier.encoder.name} are fitted to {fitted.name} (vistag calibrate). On those that "
        f"were held out the likeliest class was off by {points(fitted.error_after, 1)} points on average, before by "
        f"{points(fitted.error_before, 1)}."
    ]


def read_figures(lake: Lake, tier: str, throughput: Mapping[str, Throughput]) -> Figures:
    """Every figure that the assets of the evaluation stored."""
    tags = stored_figures(lake, "tag_recall", TagFigures)
    return Figures(
        tier=tier,
        images=tags.reported.images,
        rejects=lake.read_all("rejects", ["path"]).num_rows,
        tags=tags.with_tags(lake.read("tag_figures")),
        regions=stored_figures(lake, "grounding_recall", RegionFigures),
        phrases=stored_figures(lake, "phrase_grounding", tuple[PhraseFigure, ...]),
        texts=stored_figures(lake, "text_figures", TextFigures),
        ladder=stored_figures(lake, "ladder", tuple[AblationRow, ...]),
        throughput=throughput,
    )


def example_images(lake: Lake, ranks: pa.Table) -> dict[str, list[str]]:
    """Proxy paths of a few images on which a tail tag was missed, for the tags of the lowest recall.

    `ranks`: `tag_ranks`.
    """
    with lake.connect() as sql:
        sql.register("ranks", ranks)
        rows = sql.execute(
            _EXAMPLES,
            {"k": HEADLINE_K, "band": RARE_BAND, "count": EXAMPLES_A_TAG, "tags": TAGS_WITH_EXAMPLES},
        ).fetchall()
    return dict(rows)


def adapter_remarks(workspace: Workspace) -> list[str]:
    """What serves which concepts, where `vistag adapt` chose it."""
    adapter = read_home_adapter(workspace.home, workspace.encoder)
    if adapter is None:
        return []
    labels = workspace.taxonomy.pref_labels
    parts = []
    for remedy, concept_ids in adapter.concepts_by_remedy().items():
        named = [labels[id_] for id_ in concept_ids if id_ in labels]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        parts.append(f"{remedy}: {', '.join(named[:_NAMED])}{more}")
    return [
        f"Scores are adapted to {adapter.name} (vistag adapt). What serves was chosen by cross-validation, for each concept "
        f"by its examples. {'. '.join(parts) or 'Which concepts it serves was not kept: run vistag adapt again'}."
    ]
