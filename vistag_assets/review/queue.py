"""From what lies in the lake and in the log to the rows of `review_queue`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.tables import REVIEW_QUEUE
from resources.workspace import Workspace
from vistag_assets.review.likeness import EXAMPLES_A_CONCEPT, Embeddings, Near, Place, Vectors, nearest
from vistag_assets.review.pool import POOL, Library, read_pool
from vistag_assets.review.selection import (
    FEWEST_A_CONCEPT,
    MOST_A_CONCEPT,
    NAMED_SHARE,
    SHORT_LIST,
    Candidates,
    Choice,
    Judged,
    choose,
    diverse,
    merged,
    quota,
    rarity,
    spread,
    uniform_places,
)
from vistag_assets.review.uniform_slice import UniformSlice
from vistag_assets.tags.decided import import_states

Row = dict[str, Any]
Neighbours = Mapping[str, Mapping[str, Near]]
"""Concept id -> image id -> the place in it that looks most like a confirmed one"""


def update_queue(workspace: Workspace) -> pa.Table:
    """Make the queue anew, of what models and people say now; no model is asked. Raises LogUnavailable."""
    for key in workspace.lake.folders("tags"):
        import_states(workspace.home, key)
    rows = make_queue(workspace)
    workspace.lake.write(REVIEW_QUEUE.name, rows)
    return rows


def make_queue(workspace: Workspace) -> pa.Table:
    """The rows of `review_queue`. Raises LogUnavailable."""
    library = Library.read(workspace)
    pool = read_pool(workspace, library, FEWEST_A_CONCEPT)
    embeddings = Embeddings(workspace.lake, library.folder_of)
    own_queues = _own_queues(_of_concepts(pool, library, _neighbours(pool, embeddings)), embeddings)
    active = [
        _row(own_queues[number][0], own_queues[number][1], place)
        for number, place in merged(
            [concept.candidates for concept, _ in own_queues],
            [len(choice.places) for _, choice in own_queues],
        )
    ]
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
    """The pairs of a concept that can be asked about: a row of POOL and a row of `candidates` each."""

    rows: list[Row]
    candidates: Candidates


def _neighbours(pool: pa.Table, embeddings: Embeddings) -> Neighbours:
    """Around the last EXAMPLES_A_CONCEPT confirmed places of each concept: regions of regions, pictures of pictures."""
    confirmed: dict[str, list[Place]] = {}
    for row in pool.filter(pc.fill_null(pool["accepted"], False)).to_pylist():
        confirmed.setdefault(row["concept_id"], []).append(Place(row["id"], row["region_id"]))
    confirmed = {concept: places[-EXAMPLES_A_CONCEPT:] for concept, places in confirmed.items()}
    vector_of = embeddings.of(place for places in confirmed.values() for place in places)
    found: dict[str, dict[str, Near]] = {concept: {} for concept in confirmed}
    for regions in (True, False):
        examples = _examples(confirmed, vector_of, regions=regions)
        for there, vectors in embeddings.blocks(regions=regions) if examples else ():
            for concept, near in nearest(examples, there, vectors, MOST_A_CONCEPT * SHORT_LIST).items():
                for one in near:
                    known = found[concept].get(one.place.id)
                    if known is None or known.cosine < one.cosine:
                        found[concept][one.place.id] = one
    return found


def _examples(
    confirmed: Mapping[str, Sequence[Place]], vector_of: Mapping[Place, Vectors], *, regions: bool
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
    return {concept: np.stack(vectors) for concept, vectors in of.items() if vectors}


def _of_concepts(pool: pa.Table, library: Library, neighbours: Neighbours) -> list[_Concept]:
    """The concepts that have a pair to ask about, by id."""
    of: dict[str, list[Row]] = {}
    for row in pool.to_pylist():
        if (row["id"], row["concept_id"]) not in library.skipped:
            of.setdefault(row["concept_id"], []).append(row)
    concepts = [_concept(concept_id, rows, neighbours.get(concept_id, {})) for concept_id, rows in of.items()]
    return [concept for concept in concepts if concept.rows]


def _concept(concept_id: str, rows: Sequence[Row], near: Mapping[str, Near]) -> _Concept:
    judged = [row for row in rows if row["accepted"] is not None]
    open_rows = [row for row in rows if row["accepted"] is None]
    spoken_of = {row["id"] for row in rows}
    silent = dict.fromkeys(POOL.names) | {"concept_id": concept_id, "probability": 0.0}
    open_rows += [
        silent | {"id": id_, "region_id": one.place.region_id}
        for id_, one in near.items()
        if id_ not in spoken_of
    ]
    likeness = [near[row["id"]].cosine if row["id"] in near else -1.0 for row in open_rows]
    candidates = Candidates(
        concept_id,
        np.array([row["probability"] for row in open_rows], np.float64),
        np.array(likeness, np.float64),
        Judged(
            np.array([row["probability"] for row in judged], np.float64),
            np.array([row["accepted"] for row in judged], bool),
        ),
        carried_by=sum(row["accepted"] for row in judged),
    )
    return _Concept(open_rows, candidates)


def _own_queues(concepts: Iterable[_Concept], embeddings: Embeddings) -> list[tuple[_Concept, Choice]]:
    """Each concept with what is asked about it, in its own order."""
    known = list(concepts)
    rarest = max((rarity(concept.candidates.expected_images) for concept in known), default=1.0)
    counts = [quota(concept.candidates, rarest) for concept in known]
    choices = [choose(concept.candidates, count) for concept, count in zip(known, counts, strict=True)]
    vector_of = embeddings.of(
        _place(concept.rows[place])
        for concept, choice in zip(known, choices, strict=True)
        for place in choice.places
    )
    size = len(next(iter(vector_of.values()), ()))
    missing: Vectors = np.zeros(size, np.float32)
    return [
        (
            concept,
            diverse(
                choice,
                np.array([vector_of.get(_place(concept.rows[place]), missing) for place in choice.places]),
                count,
            ),
        )
        for concept, choice, count in zip(known, choices, counts, strict=True)
    ]


def _place(row: Row) -> Place:
    return Place(row["id"], row["region_id"])


def _row(concept: _Concept, choice: Choice, place: int) -> Row:
    names = ("id", "concept_id", "region_id", "probability", "shown")
    row = concept.rows[choice.places[place]]
    return {name: row[name] for name in names} | {"reason": choice.reasons[place], "is_uniform": False}


def _uniform_rows(pool: pa.Table, library: Library, concepts: Iterable[str], count: int) -> list[Row]:
    """The next `count` pairs of the uniform slice: those of the smallest numbers that nobody has looked at."""
    said = {(row["id"], row["concept_id"]): row for row in pool.to_pylist()}
    whole = UniformSlice.of(library, (pair for pair, row in said.items() if row["named"]), concepts)
    named = round(NAMED_SHARE * count)
    silent: Row = {"region_id": None, "probability": 0.0, "shown": None}
    rows: list[tuple[float, Row]] = []
    for stratum, share in (("named", named), ("silent", count - named)):
        pairs, bound = whole.next(stratum, share)  # type: ignore[arg-type]
        for place, (id_, concept_id) in enumerate(pairs):
            told = {name: said.get((id_, concept_id), silent)[name] for name in silent}
            marks = {"reason": "uniform", "is_uniform": True, "inclusion_probability": bound}
            rows.append(((place + 0.5) / share, {"id": id_, "concept_id": concept_id, **told, **marks}))
    return [row for _, row in sorted(rows, key=lambda turn: turn[0])]
