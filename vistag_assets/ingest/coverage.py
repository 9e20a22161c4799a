"""What became of all the files of a library, in sentences: nothing is passed over in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from resources.images import Survey
from resources.images.scan import LIVE_SUFFIXES, RAW_SUFFIXES, suffix_of
from resources.lake import Lake

SHOWN = 8
OTHER_HALVES = RAW_SUFFIXES | LIVE_SUFFIXES


def what_came_in(lake: Lake, keys: Sequence[str], survey: Survey) -> list[str]:
    """Rejects of some folders by code, pairs of one picture, pictures with a note; files and folders passed over."""
    codes: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    pairs = 0
    for key in keys:
        codes.update(lake.read("rejects", key, ["code"])["code"].to_pylist())
        for row in lake.read("images", key, ["path", "also_at", "notes"]).to_pylist():
            pairs += any(suffix_of(other) in OTHER_HALVES for other in row["also_at"])
            notes.update(row["notes"] or ())
    lines = []
    if codes:
        lines.append(f"Rejected: {_counted(codes)}.")
    if pairs:
        lines.append(f"Pairs, each one picture (raw beside JPEG, film beside photograph): {pairs:,}.")
    if notes:
        lines.append(f"Pictures with a note (docs/ingest.md): {_counted(notes)}.")
    if survey.passed_over:
        named = Counter({suffix or "no suffix": count for suffix, count in survey.passed_over.items()})
        lines.append(f"Files passed over, being no pictures or excluded: {_counted(named)}.")
    if survey.ignored:
        lines.append(f"Folders passed over: {_counted(survey.ignored)}.")
    return lines


def _counted(of: Counter[str]) -> str:
    """The most frequent ones, and how many more there are."""
    shown = sorted(of.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in shown[SHOWN:])
    parts = [f"{count:,} {name}" for name, count in shown[:SHOWN]]
    return ", ".join([*parts, f"{rest:,} others"] if rest else parts)
