"""Which vectors of an index may be found: by folder, tag, state and date, as the lake says now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.lake.versions import glance
from resources.workspace import Workspace
from taxonomy import Taxonomy
from taxonomy.problems import did_you_mean
from vistag_assets.exports.records import MIN_PROBABILITY
from vistag_assets.search.index import Index
from vistag_assets.search.question import ANY_FLAG, Query
from vistag_assets.search.segment import Segment

Mask = NDArray[np.bool_]
Keys = NDArray[np.uint64]
"""Images, each as a hash of folder and id."""
FRESH_S = 2.0
"""For so long what the lake said of a filter is believed without a look at its files."""
_STANDING = (
    f"(state = 'human' or (state = 'machine' and probability >= {MIN_PROBABILITY} and not needs_review))"
)
_STATES = {
    None: _STANDING,
    "human": "state = 'human'",
    "machine": f"state = 'machine' and {_STANDING}",
    "rejected": "state = 'rejected'",
    "review": "needs_review",
}
"""State that is asked for -> what it is of a row of `tags`."""


class UnknownTag(ValueError):
    """No concept of the vocabulary bears that name."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What images must be. Clauses are conditions of SQL on rows of a table."""

    folders: frozenset[str] | None
    """keys; None: all"""
    having: tuple[tuple[str, str], ...]
    """(table, clause): a row of the image that it is true of"""
    lacking: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, query: Query, taxonomy: Taxonomy) -> Filter:
        """Raises UnknownTag."""
        named = [f"concept_id = {_quoted(_concept(tag, taxonomy))} and " for tag in query.tags]
        if query.state and not named:
            named = [""]
        having = [("tags", f"{name}{_STATES[query.state]}") for name in named]
        if query.since:
            taken = "coalesce(taken_at, cast(modified_at as timestamp))"
            having.append(("images", f"{taken} >= timestamp '{query.since.isoformat()}'"))
        lacking = [
            ("tags", f"concept_id = {_quoted(_concept(tag, taxonomy))} and {_STANDING}")
            for tag in query.not_tags
        ]
        having += [("flags", _flagged(rule)) for rule in query.flags]
        lacking += [("flags", _flagged(rule)) for rule in query.not_flags]
        return cls(frozenset(query.folders) or None, tuple(having), tuple(lacking))


class Filters:
    """Which vectors a filter lets be found. What the lake says is asked once, until it says something else."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._there = lru_cache(maxsize=1)(self._not_gone)
        self._ask = lru_cache(maxsize=64)(self._asked)
        self._keys_of: WeakKeyDictionary[Segment, tuple[Keys, NDArray[np.intp]]] = WeakKeyDictionary()
        self._states: dict[str, tuple[float, str]] = {}

    def allowed(self, index: Index, chosen: Filter) -> tuple[Mask | None, ...]:
        """Of each segment the rows that may be found; None: all."""
        folders = self._folders(index, chosen.folders)
        having = [self._ask(table, clause, self._state(table)) for table, clause in chosen.having]
        lacking = [self._ask(table, clause, self._state(table)) for table, clause in chosen.lacking]
        masks = list[Mask | None]()
        for segment, alive in zip(index.segments, index.alive, strict=True):
            parts = [] if alive is None else [alive]
            if folders is not None:
                parts.append(_of_folders(segment, folders))
            parts += [self._mask(segment, keys) for keys in having]
            parts += [~self._mask(segment, keys) for keys in lacking]
            masks.append(np.logical_and.reduce(parts) if parts else None)
        return tuple(masks)

    def _folders(self, index: Index, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """The folders that may be shown, None for all: what is gone since the index was made is not."""
        known = frozenset(index.folders)
        there = known & self._there(self._workspace.home.folders_version)
        shown = there if wanted is None else there & wanted
        return None if shown == known else shown

    def _not_gone(self, _version: int) -> frozenset[str]:
        return frozenset(folder.key for folder in self._workspace.home.folders() if not folder.gone_since)

    def _state(self, table: str) -> str:
        asked_s, state = self._states.get(table, (-FRESH_S, ""))
        if time.monotonic() - asked_s > FRESH_S:
            lake = self._workspace.lake
            state = glance([lake.data_file(table, key) for key in lake.folders(table)])
            self._states[table] = time.monotonic(), state
        return state

    def _asked(self, table: str, clause: str, _state: str) -> Keys:
        """The images that have a row in a table that a clause is true of."""
        lake = self._workspace.lake
        if not lake.folders(table):
            return np.empty(0, np.uint64)
        with lake.connect(skip_damaged=True) as connection:
            found = connection.execute(f"select distinct hash(folder, id) as key from {table} where {clause}")
            return np.sort(found.fetchnumpy()["key"].astype(np.uint64))

    def _mask(self, segment: Segment, images: Keys) -> Mask:
        if segment not in self._keys_of:
            keys = _keys(segment.rows)
            self._keys_of[segment] = keys, np.argsort(keys, kind="stable")
        keys, order = self._keys_of[segment]
        mask = np.zeros(len(keys), np.bool_)
        first, last = (np.searchsorted(keys, images, side, sorter=order) for side in ("left", "right"))
        lengths = last - first
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        mask[order[np.repeat(first, lengths) + within]] = True
        return mask


def _keys(rows: pa.Table) -> Keys:
    """What the lake's rows of the same image hash to."""
    named = rows.select(["folder", "id"])
    with duckdb.connect() as connection:
        connection.register("named", named)
        found = connection.execute("select hash(folder, id) as key from named").fetchnumpy()
    return np.asarray(found["key"], np.uint64)


def _of_folders(segment: Segment, folders: frozenset[str]) -> Mask:
    return np.asarray(pc.is_in(segment.rows["folder"], value_set=pa.array(sorted(folders), pa.string())))


def _concept(tag: str, taxonomy: Taxonomy) -> str:
    """The id of a concept that is named by id or by a label. Raises UnknownTag."""
    found = tag if tag in taxonomy.by_id else taxonomy.labels.concept_of(tag)
    if found is None:
        near = did_you_mean(tag, [*taxonomy.by_id, *taxonomy.pref_labels.values()])
        raise UnknownTag(f"No concept of the vocabulary is called {tag!r}{near or '.'}")
    return found


def _flagged(rule: str) -> str:
    return "true" if rule == ANY_FLAG else f"rule = {_quoted(rule)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
