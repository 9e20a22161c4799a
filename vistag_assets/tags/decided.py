"""What people decided, as the states of tags: from the log, and into it what older homes hold in their rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from resources.decisions import DecisionLog, Event, Standing, fold
from resources.decisions.event import Subject
from resources.fingerprint import fingerprint
from resources.home import Home
from resources.lake import CorruptPartition, Lake
from taxonomy import Labels
from vistag_assets.lineage import by_id, column_by_id, pixel_hashes

_log = logging.getLogger(__name__)
MACHINE, ACCEPTED, REJECTED = "machine", "human", "rejected"
DECIDED = pa.schema(
    [
        ("id", pa.string()),
        ("concept_id", pa.string()),
        ("phrase", pa.string()),
        ("state", pa.string()),  # human or rejected
        ("decision", pa.int64()),  # where in the log it stands
    ]
)
_VERDICTS = {ACCEPTED: "accept", REJECTED: "reject"}
_UNKNOWN = "unknown"
"""Who decided what is in the rows of an older home."""


def decided_in(
    log: DecisionLog,
    images: pa.Table,
    replaced: Mapping[str, str] = MappingProxyType({}),
    labels: Labels | None = None,
) -> pa.Table:
    """`DECIDED`: what stands of the pictures of a folder. `images` has the column id, and pixel_hash where it is known.

    replaced: of the vocabulary, as `fold` takes it. labels: of the vocabulary; words that were decided before they were a
    label of one concept are that concept. Raises LogUnavailable.
    """
    pictures = pixel_hashes(images)
    events = log.about(pictures.keys(), {pixels for pixels in pictures.values() if pixels})
    rows = [
        {
            "id": id_,
            "concept_id": concept_id,
            "phrase": phrase or standing.event.phrase,
            "state": ACCEPTED if standing.accepted else REJECTED,
            "decision": standing.event.seq,
        }
        for id_, stands in sorted(fold(pictures, events, replaced).items())
        for (concept_id, phrase), standing in (_named(stands, labels) if labels else stands).items()
    ]
    return pa.Table.from_pylist(rows, DECIDED)


def _named(stands: Mapping[Subject, Standing], labels: Labels) -> dict[Subject, Standing]:
    """With what was said of words under the concept that they are a label of by now, unless that was spoken of itself."""
    found = {subject: standing for subject, standing in stands.items() if subject[0]}
    for subject, standing in stands.items():
        if subject[0] is None:
            owners = labels.concepts_of(subject[1] or "")
            found.setdefault((owners[0], None) if len(owners) == 1 else subject, standing)
    return found


def decision_fingerprints(decided: pa.Table) -> pa.Table:
    """(id, fingerprint) of what people said of each image, so that saying something makes its tags stale."""
    said: dict[str, list[list[str | None]]] = {}
    for row in decided.to_pylist():
        said.setdefault(row["id"], []).append([row["concept_id"], row["phrase"], row["state"]])
    return by_id({id_: fingerprint(decisions=sorted(of, key=str)) for id_, of in said.items()})


def import_states(home: Home, key: str) -> int:
    """Put into the log what the rows of a folder's `tags` say that people decided and the log does not know.

    That is so in homes of before the log, and where another program wrote into the table. Each row is imported once,
    whatever is said afterwards; returns how many were found. Raises LogUnavailable.
    """
    rows = _undocumented(home.lake, key)
    if rows is None or rows.num_rows == 0:
        return 0
    images = _images(home.lake, key)
    pixels = {} if images is None else pixel_hashes(images)
    paths = {} if images is None or "path" not in images.column_names else column_by_id(images, "path")
    home.decisions.append(
        [
            Event(
                who=_UNKNOWN,
                verdict=_VERDICTS[row["state"]],  # type: ignore[arg-type]
                image_id=row["id"],
                pixel_hash=pixels.get(row["id"]),
                concept_id=row["concept_id"],
                phrase=row["phrase"],
                folder=key,
                path=paths.get(row["id"]),
                shown=row["fingerprint"],
                client_id=_client(row),
            )
            for row in rows.to_pylist()
        ]
    )
    _log.info("%d decisions of the tags of %s were taken into the log", rows.num_rows, key)
    return rows.num_rows


def _undocumented(lake: Lake, key: str) -> pa.Table | None:
    """The rows of people that name no line of the log; None where there are no tags, or they do not read."""
    try:
        states = lake.reduced("tags", key, ["state"], _of_people)
        # most tables have none, and are not read any further
        if states is None or not states.num_rows:
            return None
        schema = lake.schema("tags", key)
        rows = None if schema is None else lake.reduced("tags", key, schema.names, _of_people)
        if rows is None:  # deleted since
            return None
    except CorruptPartition:  # whoever writes the table next moves it to quarantine
        return None
    return rows.filter(pc.is_null(rows["decision"])) if "decision" in rows.column_names else rows


def _images(lake: Lake, key: str) -> pa.Table | None:
    try:
        return lake.read_or_none("images", key)
    except CorruptPartition:
        return None


def _of_people(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.is_in(rows["state"], pa.array(list(_VERDICTS))))


def _client(row: dict[str, str | None]) -> str:
    said = [row[name] for name in ("id", "concept_id", "phrase", "state", "fingerprint")]
    return "tags-" + hashlib.sha256(repr(said).encode()).hexdigest()[:32]
