"""Reading tags back from the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from resources.lake import Lake
from resources.lake.ranges import IdSet


@dataclass(frozen=True, slots=True)
class Tag:
    concept_id: str
    probability: float
    """0..1"""


def best_tags(
    lake: Lake, folder: str, ids: Sequence[str], count: int, table: str = "tag_scores"
) -> dict[str, list[Tag]]:
    """The `count` best tags of each image that earned their own score, best first; of `tag_scores` or `tags`.

    A tag whose score was lent by a narrower one says nothing that the narrower one does not say better.
    Raises MissingPartition before the table.
    """
    rows = lake.read(table, folder, ids=IdSet(ids))
    wanted = pc.and_(pc.is_null(rows["inherited_from"]), pc.is_valid(rows["concept_id"]))
    if "state" in rows.column_names:
        wanted = pc.and_(wanted, pc.not_equal(rows["state"], "rejected"))
    tags: dict[str, list[Tag]] = {id_: [] for id_ in ids}
    for row in rows.filter(wanted).sort_by("rank").to_pylist():
        tags[row["id"]].append(Tag(row["concept_id"], row["probability"]))
    return {id_: best[:count] for id_, best in tags.items()}
