"""Where reviewers get their next pairs: the queue in its order, without what was said or is being looked at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import pyarrow as pa

from resources.decisions import Event, Lease, Leases, Pair, next_pairs
from resources.lake.versions import glance
from resources.tables import REVIEW_QUEUE
from resources.workspace import Workspace
from vistag_assets.review.heard import Heard
from vistag_assets.review.uniform import permanent_number

LEASE_S = 600.0
"""How long a batch is its reviewer's alone."""
SECOND = "second_opinion"


@dataclass(frozen=True, slots=True)
class Item:
    """A row of `review_queue`, or a pair that is to be looked at again: `reason` is second_opinion then."""

    id: str
    """of the image"""
    concept_id: str
    rank: int
    folder_key: str | None
    pixel_hash: str | None
    region_id: str | None
    reason: str
    probability: float | None
    is_uniform: bool
    inclusion_probability: float | None
    shown: str | None

    @property
    def pair(self) -> Pair:
        return self.id, self.concept_id

    @property
    def picture(self) -> str:
        return self.pixel_hash or self.id


@dataclass
class Desk:
    """Hands out the pairs of a home's queue; for any number of threads, and any number of processes beside it."""

    workspace: Workspace
    now_s: Callable[[], float] = time.time
    """seconds since 1970, UTC"""
    _heard: Heard = field(init=False)
    _leases: Leases = field(init=False)
    _queue: list[Item] = field(default_factory=list)
    _version: str = ""
    _one_at_a_time: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._heard = Heard(self.workspace.taxonomy.replaced)
        self._leases = Leases(self.workspace.decisions)

    def next_batch(
        self,
        who: str,
        count: int = 24,
        *,
        concept_id: str | None = None,
        one_concept: bool = False,
        second_opinion: bool = False,
        lease_s: float = LEASE_S,
    ) -> list[Item]:
        """The next pairs that `who` is to look at, leased to them for `lease_s`; those they hold already come again.

        What `who` held and does not get again is free for others.

        Args:
            concept_id: of this concept alone.
            one_concept: all of the concept that comes first.
            second_opinion: of the pairs that one other person decided, in an order that is random and always the same,
                so that whoever looks at the first few has looked at a fair sample.

        Raises:
            LogUnavailable, OSError: as `DecisionLog` does; MissingPartition where there is no queue yet.
        """
        with self._one_at_a_time:
            self._follow()
            queue = self._decided() if second_opinion else self._queue
            items = {item.pair: item for item in queue if concept_id in (None, item.concept_id)}

            def choose(leases: Sequence[Lease]) -> list[Pair]:
                def first(pairs: Iterable[Pair], some: int) -> list[Pair]:
                    return next_pairs(
                        pairs,
                        lambda pair: self._said(items[pair], who),
                        leases,
                        who,
                        some,
                        1 + second_opinion,
                    )

                if one_concept and (next_one := first(items, 1)):
                    return first((pair for pair in items if pair[1] == next_one[0][1]), count)
                return first(items, count)

            return [items[pair] for pair in self._leases.take(who, choose, self.now_s(), lease_s)]

    def give_back(self, who: str) -> None:
        """Let others have what `who` was handed and has not decided."""
        self._leases.give_back(who)

    def open_items(self) -> list[Item]:
        """The pairs of the queue that nobody decided, in its order."""
        with self._one_at_a_time:
            self._follow()
            return [item for item in self._queue if not self._said(item)]

    def waiting(self) -> Counter[str]:
        """Concept id -> pairs of the queue that nobody decided, in the order of the queue."""
        return Counter(item.concept_id for item in self.open_items())

    def _said(self, item: Item, who: str | None = None) -> list[str]:
        """Who decided a pair; `who` has spoken of it also where they skipped it."""
        words = self._heard.of(item.pair, item.pixel_hash)
        return [name for name, event in words.items() if event.verdict != "skip" or name == who]

    def _decided(self) -> list[Item]:
        """The pairs on which somebody's word stands, at random but always in the same order."""
        queued = {item.pair: item for item in self._queue}
        items = {
            (event.image_id, concept_id): queued.get((event.image_id, concept_id)) or _item(event, concept_id)
            for (_, concept_id), words in self._heard.by_pair.items()
            for event in words.values()
            if event.verdict != "skip"
        }
        return sorted(items.values(), key=lambda item: permanent_number(item.picture, item.concept_id))

    def _follow(self) -> None:
        """Read what is new: the queue where it was made again, the log since the last time."""
        lake = self.workspace.lake
        version = glance([lake.data_file(REVIEW_QUEUE.name)]) if lake.exists(REVIEW_QUEUE.name) else ""
        if not version or version != self._version:
            self._queue, self._version = read_queue(lake.read(REVIEW_QUEUE.name)), version
        self._heard.follow(self.workspace.decisions)


def _item(event: Event, concept_id: str) -> Item:
    """A pair that was decided and is in no queue any more."""
    return Item(
        event.image_id,
        concept_id,
        0,
        event.folder,
        event.pixel_hash,
        event.region_id,
        SECOND,
        None,
        False,
        None,
        event.shown,
    )


def read_queue(rows: pa.Table) -> list[Item]:
    """The rows of `review_queue` in their order."""
    names = [name for name in Item.__dataclass_fields__ if name in rows.column_names]
    return [Item(**row) for row in rows.select(names).sort_by("rank").to_pylist()]
