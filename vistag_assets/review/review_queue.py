"""The review queue: the pairs of an image and a concept that people are asked about, in order."""

from __future__ import annotations

from collections import Counter

import dagster as dg

from resources.metadata import OWNERS, column_schema
from resources.tables import REVIEW_QUEUE
from resources.workspace import VistagResource
from vistag_assets.failures import told_first
from vistag_assets.review.queue import SOURCES, VERSION, update_queue


@dg.asset(
    deps=[*SOURCES],
    description=REVIEW_QUEUE.about,
    metadata=column_schema(REVIEW_QUEUE),
    group_name=REVIEW_QUEUE.group,
    kinds={"parquet", "duckdb", "numpy"},
    owners=OWNERS,
    code_version=str(VERSION),
)
@told_first()
def review_queue(vistag: VistagResource) -> dg.MaterializeResult[None]:
    rows = update_queue(vistag.open())
    reasons = Counter(rows["reason"].to_pylist())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.num_rows,
            "concepts": len(set(rows["concept_id"].to_pylist())),
            **{f"because_{reason}": count for reason, count in sorted(reasons.items())},
        }
    )
