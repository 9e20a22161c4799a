"""From what lies in the lake and in the log to the rows of `review_queue`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.fingerprint import fingerprint
from resources.lake import CorruptPartition
from resources.lake.notes import NOTE_PREFIX
from resources.lake.versions import glance
from resources.tables import REVIEW_QUEUE
from resources.workspace import Workspace
from vistag_assets.review.likeness import (
    EXAMPLES_A_CONCEPT,
    Embeddings,
    Halves,
    Near,
    Place,
    Vectors,
    most_alike,
    nearest,
)
from vistag_assets.review.pool import POOL, Library, read_pool
from vistag_assets.review.selection import (
    FEWEST_A_CONCEPT,
    MOST_A_CONCEPT,
    NAMED_SHARE,
    SHORT_LIST,
    Candidates,
    Judged,
    Reason,
    choose,
    diverse,
    merged,
    quota,
    rarity,
    spread,
    uniform_places,
)
from vistag_assets.review.uniform_slice import Stratum, UniformSlice
from vistag_assets.tags.decided import import_states

VERSION = 1
"""To be raised when another queue would be made of the same."""
SOURCES = ("images", "tags", "tag_scores", "region_embeddings", "global_embeddings")
_MADE_OF = NOTE_PREFIX + b"made_of"
Row = dict[str, Any]
Neighbours = Mapping[str, Mapping[str, Near]]
"""Concept id -> image id -> the place in it that looks most like a confirmed one"""
_MOST_NEIGHBOURS = MOST_A_CONCEPT * SHORT_LIST


def update_queue(workspace: Workspace) -> pa.Table:
    """Make the queue anew where models or people say something else than when it was made, and return it.

    No model is asked. Raises LogUnavailable.
    """
    lake = workspace.lake
    for key in lake.folders("tags"):
        import_states(workspace.home, key)
    made_of = _made_of(workspace)
    try:
        stored = lake.read_or_none(REVIEW_QUEUE.name)
    except CorruptPartition:
        stored = None
    if stored is not None and (stored.schema.metadata or {}).get(_MADE_OF) == made_of:
        return stored
    rows = make_queue(workspace).replace_schema_metadata({_MADE_OF: made_of})
    lake.write(REVIEW_QUEUE.name, rows)
    return rows


def _made_of(workspace: Workspace) -> bytes:
    lake, events = workspace.lake, workspace.decisions.since()
    files = [lake.data_file(table, key) for table in SOURCES for key in lake.folders(table)]
    made_of = fingerprint(
        files=glance(files),
        gone=workspace.home.gone_keys(),
        decisions=[event.seq for event in events],
        taxonomy=workspace.taxonomy.fingerprint,
        replaced=dict(workspace.taxonomy.replaced),
        settings=workspace.tier.tags.model_dump(),
        version=VERSION,
    )
    return json.dumps(made_of).encode()


def make_queue(workspace: Workspace) -> pa.Table:
    """The rows of `review_queue`. Raises LogUnavailable."""
    library = Library.read(workspace)
    pool = read_pool(workspace, library, FEWEST_A_CONCEPT)
    embeddings = Embeddings(workspace.lake, library.folder_of)
    active = _active_rows(_of_concepts(pool, library, _neighbours(pool, embeddings)), embeddings)
    uniform = _uniform_rows(pool, library, workspace.taxonomy.by_id, len(uniform_places(len(active))))
    rows = spread(active, uniform)
    for rank, row in enumerate(rows, start=1):
        row |= {
            "rank": rank,
            "folder_key": library.folder_of[row["id"]],
            "pixel_hash": library.hash_of[row["id"]],
        }
    return pa.Table.from_pylist(rows, REVIEW_QUEUE.schema)


@dataclass(frozen=True, slots=True)
class _Concept:
    """The pairs of a concept that can be asked about: a row of POOL and a place in `candidates` each."""

    rows: pa.Table
    candidates: Candidates


def _neighbours(pool: pa.Table, embeddings: Embeddings) -> Neighbours:
    """Around the last EXAMPLES_A_CONCEPT confirmed places of each concept: regions of regions, pictures of pictures."""
    confirmed: dict[str, list[Place]] = {}
    for row in pool.filter(pc.fill_null(pool["accepted"], False)).to_pylist():
        confirmed.setdefault(row["concept_id"], []).append(Place(row["id"], row["region_id"]))
    confirmed = {concept: places[-EXAMPLES_A_CONCEPT:] for concept, places in confirmed.items()}
    vector_of = embeddings.of(place for places in confirmed.values() for place in places)
    found: dict[str, Mapping[str, Near]] = {concept: {} for concept in confirmed}
    least: dict[str, float] = {}
    for regions in (True, False):
        examples = _examples(confirmed, vector_of, regions=regions)
        for there, vectors in embeddings.blocks(regions=regions) if examples else ():
            for concept, near in nearest(examples, there, vectors, _MOST_NEIGHBOURS, least):
                found[concept] = best = most_alike([*found[concept].values(), *near], _MOST_NEIGHBOURS)
                if len(best) == _MOST_NEIGHBOURS:
                    least[concept] = min(one.cosine for one in best.values())
    return found


def _examples(
    confirmed: Mapping[str, Sequence[Place]], vector_of: Mapping[Place, Halves], *, regions: bool
) -> dict[str, Vectors]:
    """Concept id -> float32 [places, dimension], of those that are regions, or of those that are whole pictures."""
    of = {
        concept: [
            vector_of[place]
            for place in places
            if place in vector_of and (place.region_id is not None) == regions
        ]
        for concept, places in confirmed.items()
    }
    return {concept: np.stack(vectors).astype(np.float32) for concept, vectors in of.items() if vectors}


def _of_concepts(pool: pa.Table, library: Library, neighbours: Neighbours) -> list[_Concept]:
    """The concepts that have a pair to ask about, by id."""
    skipped: dict[str, list[str]] = {}
    for id_, concept_id in library.skipped:
        skipped.setdefault(concept_id, []).append(id_)
    runs = pc.run_end_encode(pool["concept_id"].combine_chunks())
    concepts, start = [], 0
    for name, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        rows, ids = pool.slice(start, end - start), pa.array(skipped.get(name, ()), pa.string())
        rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=ids))) if len(ids) else rows
        concepts.append(_concept(name, rows, neighbours.get(name, {})))
        start = end
    return [concept for concept in concepts if concept.rows.num_rows]


def _concept(concept_id: str, rows: pa.Table, near: Mapping[str, Near]) -> _Concept:
    judged, open_rows = rows.filter(pc.is_valid(rows["accepted"])), rows.filter(pc.is_null(rows["accepted"]))
    likeness = np.full(open_rows.num_rows, -1.0)
    if near:
        spoken_of = set(rows["id"].to_pylist())
        silent = [
            {"id": id_, "concept_id": concept_id, "probability": 0.0, "region_id": one.place.region_id}
            for id_, one in near.items()
            if id_ not in spoken_of
        ]
        open_rows = pa.concat_tables([open_rows, pa.Table.from_pylist(silent, POOL)])
        likeness = np.array(
            [near[id_].cosine if id_ in near else -1.0 for id_ in open_rows["id"].to_pylist()]
        )
    accepted = judged["accepted"].to_numpy(zero_copy_only=False).astype(bool)
    candidates = Candidates(
        concept_id,
        open_rows["probability"].to_numpy(),
        likeness,
        Judged(judged["probability"].to_numpy(), accepted),
        carried_by=float(accepted.sum()),
    )
    return _Concept(open_rows, candidates)


def _active_rows(concepts: Sequence[_Concept], embeddings: Embeddings) -> list[Row]:
    """What is asked about each concept, in the order of the whole."""
    rarest = max((rarity(concept.candidates.expected_images) for concept in concepts), default=1.0)
    counts = [quota(concept.candidates, rarest) for concept in concepts]
    choices = [choose(concept.candidates, count) for concept, count in zip(concepts, counts, strict=True)]
    short_lists = [
        concept.rows.take(choice.places).to_pylist()
        for concept, choice in zip(concepts, choices, strict=True)
    ]
    vector_of = embeddings.of(_place(row) for rows in short_lists for row in rows)
    missing: Halves = np.zeros(len(next(iter(vector_of.values()), ())), np.float16)
    queues = []
    for rows, choice, count in zip(short_lists, choices, counts, strict=True):
        vectors = np.array([vector_of.get(_place(row), missing) for row in rows], np.float32)
        row_of = dict(zip(choice.places, rows, strict=True))
        chosen = diverse(choice, vectors, count)
        queues.append(
            [_row(row_of[place], reason) for place, reason in zip(chosen.places, chosen.reasons, strict=True)]
        )
    order = merged([concept.candidates for concept in concepts], [len(queue) for queue in queues])
    return [queues[number][place] for number, place in order]


def _place(row: Row) -> Place:
    return Place(row["id"], row["region_id"])


def _row(row: Row, reason: Reason) -> Row:
    names = ("id", "concept_id", "region_id", "probability", "shown")
    return {name: row[name] for name in names} | {"reason": reason, "is_uniform": False}


def _uniform_rows(pool: pa.Table, library: Library, concepts: Iterable[str], count: int) -> list[Row]:
    """The next `count` pairs of the uniform slice: those of the smallest numbers that nobody has looked at."""
    whole = UniformSlice.of(library, pool.filter(pool["named"]), concepts)
    named = round(NAMED_SHARE * count)
    rows: list[tuple[float, Row]] = []
    shares: dict[Stratum, int] = {"named": named, "silent": count - named}
    for stratum, share in shares.items():
        pairs, bound = whole.next(stratum, share)
        marks = {"reason": "uniform", "is_uniform": True, "inclusion_probability": bound}
        for place, (id_, concept_id) in enumerate(pairs):
            rows.append(((place + 0.5) / share, {"id": id_, "concept_id": concept_id, **marks}))
    drawn = [row for _, row in sorted(rows, key=lambda turn: turn[0])]
    ids = pa.array(sorted({row["id"] for row in drawn}), pa.string())
    said = {
        (row["id"], row["concept_id"]): row
        for row in pool.filter(pc.is_in(pool["id"], value_set=ids)).to_pylist()
    }
    silent: Row = {"region_id": None, "probability": 0.0, "shown": None}
    for row in drawn:
        known = said.get((row["id"], row["concept_id"]), silent)
        row |= {name: known[name] for name in silent}
    return drawn
