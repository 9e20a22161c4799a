"""Groups of images that are copies of one another, within folders and across them, and which one to keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.images import open_proxy
from resources.lake import Lake, LakeError, UpdateStats, empty_ids, read_stored, same_rows, with_empty_ids
from resources.metadata import OWNERS, column_schema, moved_away
from resources.models.tiers import DuplicateThresholds
from resources.previews import Preview, preview, thumbnail
from resources.tables import NEAR_DUPLICATES
from resources.workspace import VistagResource, Workspace
from vistag_assets.failures import told_first
from vistag_assets.partitions import PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.search.duplicates import Picture, are_copies, groups, hash_bits
from vistag_assets.search.index import Index, load_index
from vistag_assets.search.segment import Segment
from vistag_assets.search.sources import index_directory

VERSION = 1
_QUERIES, _BLOCK = 256, 8192
_NEIGHBOURS = 50
"""By vector, in a large segment: of more copies of one image, each is near to others of them."""
_TIMES = ("taken_at", "modified_at")
_COLUMNS = ["id", "path", "phash", "width", "height", "bytes", *_TIMES]
Pair = tuple[str, str]


@dg.asset(
    deps=["image_index", "images"],
    description=NEAR_DUPLICATES.about,
    metadata=column_schema(NEAR_DUPLICATES),
    group_name=NEAR_DUPLICATES.group,
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version=str(VERSION),
)
@told_first()
def near_duplicates(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    stats = find_near_duplicates(workspace, Meter("Comparing images"))
    rows = workspace.lake.read(NEAR_DUPLICATES.name)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.num_rows,
            "groups": pc.count_distinct(rows["group_id"]).as_py(),
            "images_compared": stats.computed,
            "images_kept": stats.kept,
            **workspace.tier.search.duplicates.model_dump(),
            **moved_away(stats.quarantined),
            **_shown(workspace, rows).in_metadata(),
        }
    )


def find_near_duplicates(workspace: Workspace, meter: Meter) -> UpdateStats:
    """Bring `near_duplicates` up to date with the index of images. Images that were compared with all others are not
    compared again, but where a group of theirs lost one.
    """
    lake, table, thresholds = workspace.lake, NEAR_DUPLICATES.name, workspace.tier.search.duplicates
    index = load_index(index_directory(workspace.home, "image_index"))
    known = _Known.of(index, workspace) if index else _Known({}, {}, {})
    wanted = {id_: known.fingerprint_of(id_, thresholds) for id_ in known.hash_of}
    with lake.locked(table):
        found = read_stored(lake, table, None, NEAR_DUPLICATES.schema)
        stored = NEAR_DUPLICATES.schema.empty_table() if found.rows is None else found.rows
        whole, compared = _standing(stored, wanted)
        missing = [id_ for id_ in wanted if id_ not in compared]
        on_progress = meter.folder()
        pairs = [(first, other) for first, *others in whole for other in others]
        for start in range(0, len(missing), _QUERIES):
            on_progress(start, len(missing))
            pairs += _copies(known, missing[start : start + _QUERIES], index, thresholds)
        joined = groups(
            [*pairs, *((id_, id_) for id_, places in known.pictures_of.items() if len(places) > 1)]
        )
        rows = pa.Table.from_pylist(
            [row for members in joined for row in _rows(known, members, wanted)], NEAR_DUPLICATES.schema
        )
        silent = wanted.keys() - set(rows["id"].to_pylist())
        rows = with_empty_ids(rows, {id_: wanted[id_] for id_ in sorted(silent)})
        if found.rows is None or not same_rows(stored, rows) or empty_ids(stored) != empty_ids(rows):
            lake.replace(table, rows)
    dropped = len((set(stored["id"].to_pylist()) | empty_ids(stored).keys()) - wanted.keys())
    return UpdateStats(len(compared), len(missing), dropped, 0, quarantined=found.quarantined)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the images of an index, by id; one may lie in several folders."""

    place_of: Mapping[str, tuple[Segment, int]]
    """where its vector is"""
    hash_of: Mapping[str, int]
    pictures_of: Mapping[str, dict[str, Picture]]
    """folder -> what decides whether it is kept"""

    @classmethod
    def of(cls, index: Index, workspace: Workspace) -> _Known:
        place_of: dict[str, tuple[Segment, int]] = {}
        for segment, alive in zip(index.segments, index.alive, strict=True):
            for row, id_ in enumerate(segment.rows["id"].to_pylist()):
                if alive is None or alive[row]:
                    place_of[id_] = segment, row
        hash_of, pictures_of = dict[str, int](), dict[str, dict[str, Picture]]()
        for key in sorted(index.folders):
            try:
                images = workspace.lake.read("images", key, _COLUMNS)
            except LakeError:  # it is told where it is read first
                continue
            made_s = _made_s(images)
            columns = [name for name in _COLUMNS if name not in _TIMES]
            for row, seconds in zip(images.select(columns).to_pylist(), made_s, strict=True):
                if row["id"] in place_of:
                    hash_of[row["id"]] = row["phash"] or 0
                    size = row["width"] * row["height"], row["bytes"] or 0
                    pictures_of.setdefault(row["id"], {})[key] = Picture(*size, seconds, row["path"])
        return cls(place_of, hash_of, pictures_of)

    def fingerprint_of(self, id_: str, thresholds: DuplicateThresholds) -> str:
        segment, row = self.place_of[id_]
        vector = segment.rows["fingerprint"][row].as_py()
        return fingerprint(vector=vector, hash=self.hash_of[id_], version=VERSION, **thresholds.model_dump())

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        places = [self.place_of[id_] for id_ in ids]
        return np.concatenate([segment.read(np.array([row])) for segment, row in places])

    def hashes(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        return np.array([self.hash_of.get(id_, 0) for id_ in ids], np.uint64)


def _made_s(images: pa.Table) -> list[float]:
    """When pictures were taken, else when their files were written, in seconds since 1970: Python has no date for
    every year that a disk may say."""
    taken_s = images["taken_at"].cast(pa.int64())
    written_s = pc.divide(images["modified_at"].cast(pa.int64()), 1_000_000)
    return [
        float("inf") if seconds is None else seconds
        for seconds in pc.coalesce(taken_s, written_s).to_pylist()
    ]


def _standing(stored: pa.Table, wanted: Mapping[str, str]) -> tuple[list[list[str]], set[str]]:
    """The groups that are as they were, and all ids that were compared and need not be again."""
    members: dict[str, dict[str, str]] = {}
    for row in stored.select(["group_id", "id", "fingerprint"]).to_pylist():
        members.setdefault(row["group_id"], {})[row["id"]] = row["fingerprint"]
    whole = [
        list(group) for group in members.values() if all(wanted.get(id_) == by for id_, by in group.items())
    ]
    alone = {id_ for id_, by in empty_ids(stored).items() if wanted.get(id_) == by}
    return whole, alone.union(*whole)


def _copies(
    known: _Known, ids: Sequence[str], index: Index | None, thresholds: DuplicateThresholds
) -> Iterator[Pair]:
    """The pairs of some images and whatever in the index is a copy of them."""
    vectors, hashes = known.vectors(ids), known.hashes(ids)
    for segment, alive in zip(index.segments, index.alive, strict=True) if index else ():
        names = segment.rows["id"].to_pylist()
        theirs = known.hashes(names)
        rows = np.arange(len(names)) if alive is None else np.flatnonzero(alive)
        if segment.is_exact:
            for start in range(0, len(rows), _BLOCK):
                some = rows[start : start + _BLOCK]
                cosines = vectors @ segment.vectors[some].astype(np.float32).T
                found = are_copies(cosines, hash_bits(hashes[:, None], theirs[some]), thresholds)
                yield from ((ids[one], names[some[other]]) for one, other in np.argwhere(found))
            continue
        for id_, vector, hash_ in zip(ids, vectors, hashes, strict=True):
            near, _ = segment.nearest(vector, _NEIGHBOURS, alive)
            alike = rows[hash_bits(hash_, theirs[rows]) <= thresholds.max_bits]
            both = np.union1d(near, alike)
            cosines = segment.read(both) @ vector
            found = are_copies(cosines, hash_bits(hash_, theirs[both]), thresholds)
            yield from ((id_, names[row]) for row in both[found])


def _rows(known: _Known, members: Sequence[str], wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """A group, the image to keep first; none where it is one image in one place."""
    ids = [id_ for id_ in members if id_ in wanted]
    places = sorted(
        ((picture.worth, key, id_) for id_ in ids for key, picture in known.pictures_of[id_].items()),
    )
    if len(places) < 2:
        return []
    kept = places[0][2]
    vectors, hashes = known.vectors([kept, *ids]), known.hashes([kept, *ids])
    cosine_of = dict(zip(ids, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    bits_of = dict(zip(ids, np.bitwise_count(hashes[1:] ^ hashes[0]).tolist(), strict=True))
    return [
        {
            "group_id": kept,
            "folder_key": key,
            "id": id_,
            "path": known.pictures_of[id_][key].path,
            "keep": number == 0,
            "cosine": cosine_of[id_],
            "bits": bits_of[id_],
            "fingerprint": wanted[id_],
        }
        for number, (_, key, id_) in enumerate(places)
    ]


def _shown(workspace: Workspace, rows: pa.Table) -> Preview:
    """Some groups, the image to keep first."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        if row["group_id"] in shown or len(shown) < PREVIEWED_IMAGES:
            shown.setdefault(row["group_id"], []).append(row)
    lines = [
        (_thumbnail(workspace, group[0]), ", ".join(row["path"] for row in group if not row["keep"]))
        for group in shown.values()
    ]
    return preview(["kept", "copies of it"], lines)


def _thumbnail(workspace: Workspace, row: Mapping[str, Any]) -> str:
    proxies = workspace.lake.read("proxies", row["folder_key"], ["id", "path"])
    (path,) = proxies.filter(pc.equal(proxies["id"], row["id"]))["path"].to_pylist()
    return thumbnail(open_proxy(workspace.home.root, path))


def forget(lake: Lake, folders: Sequence[str]) -> None:
    """Take the groups out that have an image in these folders; what is left of them is compared again by the next run."""
    table = NEAR_DUPLICATES.name
    with lake.locked(table):
        rows = lake.read_or_none(table)
        if rows is None:
            return
        there = pc.is_in(rows["folder_key"], value_set=pa.array(list(folders), pa.string()))
        torn = pc.is_in(rows["group_id"], value_set=rows["group_id"].filter(there).combine_chunks())
        if pc.any(torn).as_py():
            lake.replace(table, rows.filter(pc.invert(torn)))
