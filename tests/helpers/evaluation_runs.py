"""Runs for the history of evaluations, as the evaluation would record them."""

from datetime import UTC, datetime

import pyarrow as pa

from evaluation import history
from evaluation.history import Run
from resources.tables import TAG_RANKS, TAG_RECALL

WHEN = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_run(number: int, tier: str = "demo", accepted_by: str | None = "check") -> Run:
    bounds = {"ci95_low": 0.25, "ci95_high": 0.75}
    when = WHEN.replace(minute=number)
    return Run(
        run=history.run_key(when, "0123abcd-0000"),
        created_at=when,
        tier=tier,
        option="B3",
        models=(history.Model("encoder", "tiny", "f" * 16),),
        taxonomy="t" * 16,
        corpus="c" * 16,
        images=3,
        baseline=None,
        accepted_by=accepted_by,
        tag_recall=(
            dict.fromkeys(TAG_RECALL.schema.names)
            | {"band": "tail", "k": 10, "micro": 0.5, "macro": 0.5, **bounds}
            | {"ceiling": 1.0, "support": 2, "tags": 1},
        ),
        grounding_recall=(),
    )


RANKS = pa.table(
    [["a", "b"], ["x", "x"], ["tail", "tail"], pa.array([3, None], pa.int32())], schema=TAG_RANKS.schema
)
