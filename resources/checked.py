"""What an asset check says: how many were looked at, how many are wrong, and a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from resources.lake import Lake
from resources.lake.checks import count_lacking, sample_rows
from resources.markdown import plain_text

UNIT_LENGTH_TOLERANCE = 2e-3
"""A float16 unit vector of any size is at most this far from length 1."""
_SAMPLED_VECTORS = 10_000
_EXAMPLES = 10


def checked(
    things: str,
    looked_at: int,
    wrong: int | Sequence[str],
    *,
    right: str,
    fault: str,
    allowed_share: float = 0.0,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    **metadata: float | str,
) -> dg.AssetCheckResult:
    """Passed where no more than `allowed_share` (0..1) of the things are wrong, with a sentence of the parts.

    `All 600 images are sharp.` or `3 of 600 images are blurred: a.jpg, b.jpg, c.jpg.`, where `images` are the
    things, `are sharp` is `right` and `are blurred` is `fault`. Names among `wrong` are told, the first ten,
    as plain text: Dagster reads the sentence as Markdown.
    """
    names = () if isinstance(wrong, int) else wrong
    count = wrong if isinstance(wrong, int) else len(wrong)
    passed = count <= allowed_share * looked_at
    return dg.AssetCheckResult(
        passed=passed,
        severity=severity,
        description=_sentence(things, looked_at, count, names, right, fault)
        + (f" Up to {allowed_share:.0%} pass." if count and allowed_share else ""),
        metadata={"looked_at": looked_at, "wrong": count, **metadata},
    )


def check_counterparts(
    lake: Lake, table: str, counterparts: str, keys: str, *, things: str, name: str, article: str = ""
) -> dg.AssetCheckResult:
    """Passed where each row of `table` has one of `counterparts` with the same `keys`, in the folders that have both."""
    count = lacking = 0
    if folders := sorted(lake.folders(counterparts)):
        with lake.connect(skip_damaged=True) as sql:
            rows = f"(from {table} where list_contains($folders, folder))"
            count, lacking = count_lacking(sql, rows, counterparts, keys, {"folders": folders})
    return checked(
        things,
        count,
        lacking,
        right=f"have {article}{name}",
        fault=f"have no {name}; run their folders again",
    )


def check_unit_length(lake: Lake, table: str, *columns: str) -> dg.AssetCheckResult:
    """Passed where the vectors of a sample of rows have length 1; a null is none."""
    lengths = ", ".join(f"coalesce(sqrt(list_dot_product({name}, {name})), 1)" for name in columns)
    rows = sample_rows(lake, table, lengths, _SAMPLED_VECTORS)
    wrong = sum(any(abs(length - 1) > UNIT_LENGTH_TOLERANCE for length in row) for row in rows)
    return checked(
        "rows with embeddings",
        len(rows),
        wrong,
        right="have embeddings of length 1",
        fault="have an embedding of another length",
    )


def _sentence(things: str, looked_at: int, count: int, names: Sequence[str], right: str, fault: str) -> str:
    if not looked_at:
        return f"There are no {things} to look at."
    if not count:
        every = f"All {looked_at:,}" if looked_at > 1 else "1 of 1"
        return f"{every} {things} {right}."
    examples = f": {', '.join(map(plain_text, names[:_EXAMPLES]))}" if names else ""
    rest = f" and {count - _EXAMPLES:,} more" if len(names) > _EXAMPLES else ""
    return f"{count:,} of {looked_at:,} {things} {fault}{examples}{rest}."
