"""A picture that a model fails on does not end the run: it is found by halving, named with the reason, and left out."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from resources.lake import LakeError
from resources.lake.leases import LeaseError
from resources.models.batch_sizes import free_memory, is_out_of_memory
from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError
from resources.models.tiers import TierError
from resources.text import one_line

WINDOW = 64
"""Ids that are halved to find the one that fails; the rest goes on in whole batches."""
MOST_IN_A_ROW = 20
"""Ids that fail one after the other before it is the model that fails, and not the pictures."""
_OF_ALL = (DeviceUnavailableError, LakeError, LeaseError, ModelUnavailableError, OSError, TierError)
"""What says nothing of a single picture."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that were made for some ids, without their fingerprints; an id may have many, or none."""

    ids: Sequence[str]
    rows: pa.Table | Sequence[Mapping[str, Any]]
    failed: Mapping[str, str] = field(default_factory=dict)
    """id -> why it could not be computed: it has no rows, and the next run tries again"""


def isolated(
    compute: Callable[[list[str]], Iterator[Batch]],
    ids: Sequence[str],
    halve_batches: Callable[[], bool] = lambda: False,
) -> Iterator[Batch]:
    """The batches of `compute`, where it raises for some ids without these: each is then a failed id with the reason.

    halve_batches: where the memory is too small, has the model take half as many at a time; whether it could. Ids that
    were not finished are then taken again, and else by halves.
    Raises what `compute` raised where it tells of no single picture, or where all of the ids fail, or
    `MOST_IN_A_ROW` of them one after the other.
    """
    waiting, in_a_row, finished = [list(ids)], 0, 0
    while waiting:
        part, done = waiting.pop(), set[str]()
        try:
            for batch in compute(part):
                done.update(batch.ids)
                finished, in_a_row = finished + len(batch.ids) - len(batch.failed), 0
                yield batch
            continue
        except _OF_ALL:
            raise
        except Exception as error:
            left = [id_ for id_ in part if id_ not in done]
            if not left:
                raise
            if is_out_of_memory(error) and halve_batches():
                free_memory()
                waiting.append(left)
                continue
            if len(left) == 1:
                in_a_row += 1
                if in_a_row == MOST_IN_A_ROW or (not finished and not waiting and len(ids) > 1):
                    raise
                _log.warning("%s could not be computed: %s", left[0], _reason(error))
                yield Batch(left, (), {left[0]: _reason(error)})
                continue
            free_memory()
        near, far = left[:WINDOW], left[WINDOW:]
        middle = len(near) // 2
        waiting += [part for part in (far, near[middle:], near[:middle]) if part]


def _reason(error: Exception) -> str:
    return one_line(" ".join(f"{type(error).__name__}: {error}".split())[:500])
