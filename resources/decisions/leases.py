"""Who is at work on which pair of an image and a concept, for a limited time: so that nobody is asked what another is
being asked, and nothing waits for someone who has left.

A lease keeps nobody from deciding: a decision that comes after its end is as good as any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from resources.decisions.log import DecisionLog

Pair = tuple[str, str]
"""(image id, concept id)"""
LEASES = sa.Table(
    "leases",
    sa.MetaData(),
    sa.Column("image_id", sa.Text, primary_key=True),
    sa.Column("concept_id", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, primary_key=True),
    sa.Column("until_s", sa.Float(53), nullable=False),  # seconds since 1970, UTC
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A pair that somebody is at work on."""

    pair: Pair
    who: str
    until_s: float
    """seconds since 1970, UTC; from then on it is anybody's"""


def next_pairs(
    queue: Iterable[Pair],
    said: Callable[[Pair], Collection[str]],
    leases: Iterable[Lease],
    who: str,
    count: int,
    opinions: int = 1,
) -> list[Pair]:
    """The first `count` pairs of the queue that are `who`'s to look at, in the order of the queue.

    Those that `who` holds already are among them: whoever asks again is asked the same. A pair comes back to its place
    where a lease ended without a word.

    Args:
        said: who has looked at a pair.
        leases: those that have not ended.
        opinions: how many people are to look at a pair; nobody is asked twice.
    """
    held: dict[Pair, set[str]] = {}
    for lease in leases:
        held.setdefault(lease.pair, set()).add(lease.who)
    chosen: list[Pair] = []
    for pair in queue:
        if len(chosen) == count:
            break
        heard = said(pair)
        if who not in heard and len((held.get(pair, set()) | {*heard}) - {who}) < opinions:
            chosen.append(pair)
    return chosen


@dataclass(frozen=True)
class Leases:
    """The leases of a home, in the database of its log. Every method raises as those of `DecisionLog` do."""

    log: DecisionLog

    def take(
        self, who: str, choose: Callable[[list[Lease]], Sequence[Pair]], now_s: float, seconds: float
    ) -> list[Pair]:
        """Lease to `who` what `choose` chooses in view of the leases of now; of several who ask at once each waits."""
        with self.log.turn() as sql:
            sql.execute(CreateTable(LEASES, if_not_exists=True))
            sql.execute(sa.delete(LEASES).where(LEASES.c.until_s <= now_s))
            pairs = list(choose(_leases(sql)))
            # what one asks for is what one is at work on: the rest is free again
            sql.execute(sa.delete(LEASES).where(LEASES.c.who == who))
            if pairs:
                sql.execute(sa.insert(LEASES), [_row(pair, who, now_s + seconds) for pair in pairs])
        return pairs

    def give_back(self, who: str) -> None:
        """Let others have what `who` holds."""
        with self.log.turn() as sql:
            sql.execute(CreateTable(LEASES, if_not_exists=True))
            sql.execute(sa.delete(LEASES).where(LEASES.c.who == who))


def _leases(sql: sa.Connection) -> list[Lease]:
    rows = sql.execute(sa.select(LEASES)).fetchall()
    return [Lease((row.image_id, row.concept_id), row.who, row.until_s) for row in rows]


def _row(pair: Pair, who: str, until_s: float) -> dict[str, Any]:
    image_id, concept_id = pair
    return {"image_id": image_id, "concept_id": concept_id, "who": who, "until_s": until_s}
