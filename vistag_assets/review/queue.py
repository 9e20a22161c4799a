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
    SHORT_LIST,
    Candidates,
    Choice,
    Judged,
    choose,
    diverse,
    merged,
    quota,
    rarity,
    uniform_places,
)
from vistag_assets.review.uniform import smallest

Row = dict[str, Any]
Neighbours = Mapping[str, Mapping[str, Near]]
"""Concept id -> image id -> the place in it that looks most like a confirmed one"""


def update_queue(workspace: Workspace) -> pa.Table:
    """Make the queue anew, of what models and people say now; no model is asked. Raises LogUnavailable."""
    rows = make_queue(workspace)
    workspace.lake.write(REVIEW_QUEUE.name, rows)
    return rows


def make_queue(workspace: Workspace) -> pa.Table:
    """The rows of `review_queue`. Raises LogUnavailable."""
    library = Library.read(workspace)
    pool = read_pool(workspace, library, FEWEST_A_CONCEPT)
    embeddings = Embeddings(workspace.lake, library.folder_of)
    own_queues = _own_queues(_of_concepts(pool, _neighbours(pool, embeddings)), embeddings)
    active = [
        _row(own_queues[number][0], own_queues[number][1], place)
        for number, place in merged(
            [concept.candidates for concept, _ in own_queues],
            [len(choice.places) for _, choice in own_queues],
        )
    ]
    rows = _with_uniform_slice(active, pool, library, sorted(workspace.taxonomy.by_id))
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


def _of_concepts(pool: pa.Table, neighbours: Neighbours) -> list[_Concept]:
    """The concepts that have a pair to ask about, by id."""
    of: dict[str, list[Row]] = {}
    for row in pool.to_pylist():
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


def _with_uniform_slice(
    active: Sequence[Row], pool: pa.Table, library: Library, concepts: Sequence[str]
) -> list[Row]:
    """The active rows with those of the uniform slice among them; a row that is both stands once, at the earlier place."""
    places, ids = uniform_places(len(active)), library.pictures["id"].to_pylist()
    row_of, column_of = ({name: n for n, name in enumerate(names)} for names in (ids, concepts))
    known = [(row_of[id_], column_of[c]) for id_, c in library.decided if id_ in row_of and c in column_of]
    drawn = smallest([library.hash_of[id_] or id_ for id_ in ids], concepts, len(places), known)
    said = {(row["id"], row["concept_id"]): row for row in pool.to_pylist()}
    bound = drawn[-1][0] if drawn else 0.0
    uniform: list[Row] = []
    for _, row, column in drawn:
        pair = {"id": ids[row], "concept_id": concepts[column]}
        known_row = said.get(
            (ids[row], concepts[column]), {"region_id": None, "probability": 0.0, "shown": None}
        )
        told = {name: known_row[name] for name in ("region_id", "probability", "shown")}
        uniform.append(
            pair | told | {"reason": "uniform", "is_uniform": True, "inclusion_probability": bound}
        )
    return _spread(active, uniform, places)


def _spread(active: Sequence[Row], uniform: Sequence[Row], places: Sequence[int]) -> list[Row]:
    """Each uniform row at its place among the active ones; what comes twice is asked at the earlier place."""
    slots, rest = dict(zip(places, uniform, strict=False)), iter(active)
    by_chance = {(row["id"], row["concept_id"]): row for row in uniform}
    rows: dict[tuple[str, str], Row] = {}
    for place in range(len(active) + len(uniform)):
        row = slots[place] if place in slots else next(rest, None)
        if row is None:
            break
        pair = row["id"], row["concept_id"]
        chance = by_chance.get(pair, {})
        marks = {name: chance[name] for name in ("is_uniform", "inclusion_probability") if chance}
        rows.setdefault(pair, row | marks)
    for row in uniform:
        rows.setdefault((row["id"], row["concept_id"]), row)
    return [*rows.values()]
