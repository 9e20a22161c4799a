"""Pictures that came from elsewhere: what is known of them is taken along, so that no model is asked again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from resources.images import Ingested
from resources.images.proxies import proxy_path
from resources.lake import Lake
from resources.lake.carry import Pairs, carry_rows
from resources.tables import PER_FOLDER_TABLES, PROXIES
from resources.workspace import Workspace
from vistag_assets.lineage import of_ids, pixel_hashes

INGESTED = ("proxies", "rejects", "images")
CARRIED = tuple(table for table in PER_FOLDER_TABLES if table not in INGESTED)
_WHERE = pa.schema([("folder", pa.string()), ("id", pa.string()), ("pixel_hash", pa.string())])


@dataclass(frozen=True)
class Elsewhere:
    """Which pictures the lake held when a run began, and in which folders, but for those `without`.

    `since`: only those that it did not hold there at that time.
    """

    lake: Lake
    without: frozenset[str] = frozenset()
    since: Elsewhere | None = None

    @cached_property
    def pictures(self) -> pa.Table:
        """folder, id, pixel_hash (null where an older home does not know it) of all images. Read once: before the
        first folder loses any, and not at all where none is new.
        """
        with self.lake.connect(skip_damaged=True) as sql:
            # what this connection sees: another run may have made the table since, or all of it may be damaged
            views = sql.execute("select view_name from duckdb_views() where not internal").fetchall()
            if ("images",) not in views:
                return _WHERE.empty_table()
            columns = {name for name, *_ in sql.execute("describe images").fetchall()}
            pixels = "pixel_hash" if "pixel_hash" in columns else "null"
            rows = sql.sql(f"select folder, id, {pixels} as pixel_hash from images order by all")
            known = rows.to_arrow_table().cast(_WHERE)
        known = known.filter(pc.invert(pc.is_in(known["folder"], pa.array(self.without, pa.string()))))
        if self.since is None:
            return known
        return known.join(self.since.pictures, ["folder", "id"], join_type="left anti")

    def donors(self, key: str, pictures: Mapping[str, str | None]) -> dict[str, Pairs]:
        """Folder -> (id there, id here) for those of `pictures` (id -> pixel hash), of the folder `key`, that are
        known: the same content in another folder, or the same pixels anywhere.
        """
        known = self.pictures
        pixels = [hash_ for hash_ in pictures.values() if hash_]
        same = pc.or_(
            pc.and_(
                pc.is_in(known["id"], pa.array(pictures.keys(), pa.string())),
                pc.not_equal(known["folder"], key),
            ),
            pc.is_in(known["pixel_hash"], pa.array(pixels, pa.string())),
        )
        of: dict[str | None, tuple[str, str]] = {}
        for row in known.filter(same).to_pylist():
            # an id is no pixel hash: both are hashes of other things
            for name in (row["id"], row["pixel_hash"]):
                of.setdefault(name, (row["folder"], row["id"]))
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for id_, hash_ in pictures.items():
            if there := of.get(id_) or (of.get(hash_) if hash_ else None):
                found[there[0]].append((there[1], id_))
        return dict(found)


def carry(
    workspace: Workspace, key: str, known: pa.Table | None, found: Ingested, elsewhere: Elsewhere
) -> tuple[Ingested, int]:
    """Take along what the lake holds of the pictures that are new in a folder.

    `known`: the rows of `images` before. Returns what was found, with the proxies by the fingerprints that the rows
    taken along were computed by, and how many pictures were known.
    """
    before = set() if known is None else set(known["id"].to_pylist())
    ids = found.images["id"].to_pylist()
    new = [id_ for id_ in ids if id_ not in before]
    if new or len(before) > len(ids) - len(new):
        _ = elsewhere.pictures  # now: the folder is about to lose some
    donors = elsewhere.donors(key, pixel_hashes(of_ids(found.images, new))) if new else {}
    for table in CARRIED if donors else ():
        carry_rows(workspace.lake, table, key, donors)
    count = sum(map(len, donors.values()))
    return replace(found, proxies=_as_before(workspace, found.proxies, donors)), count


def _as_before(workspace: Workspace, proxies: pa.Table, donors: Mapping[str, Pairs]) -> pa.Table:
    """Rows of `proxies` of which those that are, byte for byte, what they are elsewhere have its fingerprint.

    It is of an older version where the proxy came out then as it does now.
    """
    of = {row["id"]: row for row in proxies.to_pylist()}
    for source, pairs in donors.items():
        rows = workspace.lake.read_or_none("proxies", source)
        there = {} if rows is None else {row["id"]: row for row in rows.to_pylist()}
        for donor, id_ in pairs:
            if donor in there and there[donor]["fingerprint"] != of[id_]["fingerprint"]:
                of[id_] = _renamed(workspace.home.root, of[id_], there[donor])
    return pa.Table.from_pylist(list(of.values()), PROXIES.schema)


def _renamed(home: Path, own: Mapping[str, object], donor: Mapping[str, object]) -> Mapping[str, object]:
    file, other = home / str(own["path"]), home / str(donor["path"])
    if not other.is_file() or file.read_bytes() != other.read_bytes():
        return own
    path = proxy_path(str(own["id"]), str(donor["fingerprint"]))
    file.replace(home / path)
    return {**own, "path": str(path), "fingerprint": donor["fingerprint"]}
