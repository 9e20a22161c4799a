"""An index over the vectors of the lake's folders: derived from Parquet, replaced in one step, changed where they changed.

It is a list of unchanging segments (segment.py), a list of their rows that are no more, and what each folder's table was
when it was read; one small file, `index.json`, names them, and replacing it replaces the index. Whoever is killed before
that leaves the old one in use, and directories that the next writer removes. A new segment takes along those that are not
larger than itself: so a vector is written again once for every doubling, and there are never many segments.
"""

from __future__ import annotations

import json
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.lake.files import make_directory, move_file, remove_temporaries, replace_file
from resources.lake.locks import FILE_LOCKS, Locks
from vistag_assets.search.segment import DamagedIndex, FileState, Segment, write_segment

INDEX = "index.json"
LOCK = ".lock"
VERSION = 1
"""To be raised when segments are written in another way: older indexes are made anew."""
_WASTE = 0.2
"""Share of rows that are no more from which a segment is written again."""
_BATCH = 1 << 15
Batch = tuple[pa.Table, NDArray[np.float16]]
"""Rows, and their vectors [n, dimension]."""
IDENTITY = ("folder", "id", "region_id", "part", "fingerprint")
"""The columns of `Segment.rows`, which tell vectors apart: of another fingerprint is another vector."""


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The encoder whose vectors an index holds."""

    name: str
    fingerprint: str
    dimension: int


class Source(Protocol):
    """The folders of a table of embeddings."""

    @property
    def made_by(self) -> MadeBy: ...

    def states(self) -> dict[str, str]:
        """By the key of each folder, what changes when its vectors may have changed."""

    def read(self, folder: str) -> Batch:
        """The vectors of a folder that this encoder made, each once, and the columns of IDENTITY."""


@dataclass(frozen=True)
class Index:
    """An index as it was at one moment. Later versions do not touch what it holds open."""

    version: str
    made_by: MadeBy
    segments: tuple[Segment, ...]
    dead: tuple[frozenset[int], ...]
    """of each segment the rows that are no more"""
    folders: Mapping[str, str]
    """folder -> its state when it was read"""

    @property
    def count(self) -> int:
        """Vectors that may be found."""
        return sum(s.rows.num_rows - len(d) for s, d in zip(self.segments, self.dead, strict=True))

    @cached_property
    def alive(self) -> tuple[NDArray[np.bool_] | None, ...]:
        """Of each segment which rows may be found; None: all."""
        return tuple(_alive(s, d) if d else None for s, d in zip(self.segments, self.dead, strict=True))

    def load(self) -> Index:
        """Open all files. Raises DamagedIndex."""
        for segment in self.segments:
            segment.load()
        return self


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update came to, in vectors."""

    index: Index
    kept: int
    added: int
    dropped: int
    rewritten: int
    """of the kept ones, those that were written again"""
    quarantined: Path | None = None
    """where a damaged index went"""


def open_index(directory: Path, *, on_card: bool = False) -> Index | None:
    """The index in a directory, its small files read; None where none was ever made. Raises DamagedIndex."""
    path = directory / INDEX
    try:
        whole = json.loads(path.read_bytes())
        content = whole["index"]
        if zlib.crc32(_compact(content)) != whole["crc32"]:
            raise ValueError("its checksum is of something else")
        if content["version"] != VERSION:
            return None
        segments = tuple(
            Segment(
                directory / segment["name"],
                content["made_by"]["dimension"],
                {name: FileState(**state) for name, state in segment["files"].items()},
                on_card,
            )
            for segment in content["segments"]
        )
        dead = tuple(frozenset(segment["dead"]) for segment in content["segments"])
        return Index(content["id"], MadeBy(**content["made_by"]), segments, dead, content["folders"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedIndex(f"{path} does not describe an index ({error})") from error


def load_index(directory: Path, *, on_card: bool = False) -> Index | None:
    """The index in a directory with all its files open, for readers, who hold no lock; `on_card`: searched on a GPU where
    there is one and faiss-gpu is installed. Raises DamagedIndex.
    """
    while True:
        version = current_version(directory)
        try:
            found = open_index(directory, on_card=on_card)
            return found.load() if found else None
        except DamagedIndex:
            if current_version(directory) == version:  # else it was replaced meanwhile
                raise


def current_version(directory: Path) -> str | None:
    """What is other when the index was replaced: cheap to ask."""
    try:
        status = (directory / INDEX).stat()
    except FileNotFoundError:
        return None
    return f"{status.st_ino} {status.st_mtime_ns}"


def update_index(directory: Path, source: Source, quarantine: Path, locks: Locks = FILE_LOCKS) -> Updated:
    """Bring the index in a directory up to date with its source. A damaged one is moved below `quarantine`, and made
    anew, as one of another encoder is. Waits for who is at it.
    """
    with locks.held(directory / LOCK):
        remove_temporaries(directory)
        known, moved = _sound(directory, quarantine)
        if known is not None and known.made_by != source.made_by:
            known = None
        _remove_others(directory, known)
        return replace(_updated(directory, known, source), quarantined=moved)


def remove_folders(directory: Path, folders: Sequence[str], locks: Locks = FILE_LOCKS) -> None:
    """Forget the vectors of folders, and write what holds them anew: nothing of them stays on the disk."""
    with locks.held(directory / LOCK):
        try:
            known = open_index(directory)
            if known is None or not known.folders.keys() & set(folders):
                return
            gone = pa.array(list(folders), pa.string())
            dead = [
                frozenset(d | set(np.flatnonzero(pc.is_in(s.rows["folder"], value_set=gone)).tolist()))
                for s, d in zip(known.segments, known.dead, strict=True)
            ]
            kept = {key: state for key, state in known.folders.items() if key not in set(folders)}
            touched = [number for number, d in enumerate(dead) if d]
            _write(directory, known.made_by, known.segments, dead, kept, touched, [])
        except DamagedIndex:  # it goes, and the next update makes another
            known = None
            (directory / INDEX).unlink(missing_ok=True)
        _remove_others(directory, open_index(directory))


def _sound(directory: Path, quarantine: Path) -> tuple[Index | None, Path | None]:
    """The index if it is whole, and where it was moved if it is damaged."""
    try:
        found = open_index(directory)
        return (found.load() if found else None), None
    except DamagedIndex:
        moved = quarantine / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        make_directory(moved)
        for path in directory.iterdir():
            if path.name != LOCK:
                move_file(path, moved / path.name)
        return None, moved


def _remove_others(directory: Path, known: Index | None) -> None:
    """What killed writers and earlier versions left. Who has it open keeps it until they let go."""
    named = {segment.directory.name for segment in known.segments} if known else set()
    for path in directory.iterdir():
        if path.is_dir() and path.name not in named:
            shutil.rmtree(path)


def _updated(directory: Path, known: Index | None, source: Source) -> Updated:
    states, before = source.states(), known.folders if known else {}
    changed = [key for key, state in states.items() if before.get(key) != state]
    if known and not changed and before.keys() == states.keys():
        return Updated(known, known.count, 0, 0, 0)
    segments = known.segments if known else ()
    dead = [set(rows) for rows in known.dead] if known else []
    touched = pa.array([*changed, *(before.keys() - states.keys())], pa.string())
    stored = [_stored(s, d, touched) for s, d in zip(segments, dead, strict=True)]
    there = {name for row_of in stored for name in row_of}

    wanted, added = set[str](), 0
    for key in changed if known else ():
        names = _names(source.read(key)[0])
        wanted.update(names)
        added += len(names) - len(there.intersection(names))
    for gone, row_of in zip(dead, stored, strict=True):
        gone.update(row for name, row in row_of.items() if name not in wanted)

    taken = _taken_along(segments, dead, added)
    kept = sum(s.rows.num_rows - len(d) for s, d in zip(segments, dead, strict=True))
    fresh = (_without(source.read(key), there) for key in changed)
    index, rewritten = _write(directory, source.made_by, segments, dead, states, taken, fresh)
    _remove_others(directory, index)
    return Updated(index, kept, index.count - kept, (known.count if known else 0) - kept, rewritten)


def _without(batch: Batch, there: Collection[str]) -> Batch:
    """What of a batch is not there yet."""
    rows, vectors = batch
    if not there:
        return rows, vectors
    missing = np.array([name not in there for name in _names(rows)], np.bool_)
    return rows.filter(pa.array(missing)), vectors[missing]


def _stored(segment: Segment, dead: Collection[int], folders: pa.Array) -> dict[str, int]:
    """Name -> row of what a segment holds of some folders."""
    rows = np.flatnonzero(pc.is_in(segment.rows["folder"], value_set=folders))
    names = _names(segment.rows.take(pa.array(rows)))
    return {name: row for name, row in zip(names, rows.tolist(), strict=True) if row not in dead}


def _names(rows: pa.Table) -> list[str]:
    """What tells a row from others, in one text each."""
    texts = [pc.fill_null(rows[column], "") for column in IDENTITY]
    names: list[str] = pc.binary_join_element_wise(*texts, "\0").to_pylist()
    return names


def _taken_along(segments: Sequence[Segment], dead: Sequence[set[int]], added: int) -> list[int]:
    """The segments that are written again with what is new: wasteful ones, and from the smallest on those that are
    not larger than what there is by then.
    """
    alive = [s.rows.num_rows - len(d) for s, d in zip(segments, dead, strict=True)]
    taken = [n for n, s in enumerate(segments) if len(dead[n]) > _WASTE * s.rows.num_rows]
    size = added + sum(alive[number] for number in taken)
    for number in sorted(set(range(len(segments))) - set(taken), key=lambda n: (alive[n], n)):
        if not size or alive[number] > size:
            break
        taken.append(number)
        size += alive[number]
    return taken


def _write(
    directory: Path,
    made_by: MadeBy,
    segments: Sequence[Segment],
    dead: Sequence[Collection[int]],
    folders: Mapping[str, str],
    taken: Sequence[int],
    new: Iterable[Batch],
) -> tuple[Index, int]:
    """The segments but the taken ones, and one of these and what is new; in use from the last line on. And how many
    vectors were written again.
    """
    pairs = [(s, frozenset(d)) for n, (s, d) in enumerate(zip(segments, dead, strict=True)) if n not in taken]
    batches = filter(_has_rows, chain(*(_joined(segments[n], dead[n]) for n in taken), new))
    if first := next(batches, None):
        place = directory / f"segment-{secrets.token_hex(4)}"
        pairs.append((write_segment(place, made_by.dimension, chain([first], batches)), frozenset()))
    kept, gone = tuple(s for s, _ in pairs), tuple(d for _, d in pairs)
    index = Index(secrets.token_hex(8), made_by, kept, gone, dict(folders))
    with replace_file(directory / INDEX) as file:
        file.write(_described(index))
    return index, sum(segments[n].rows.num_rows - len(dead[n]) for n in taken)


def _has_rows(batch: Batch) -> bool:
    return batch[0].num_rows > 0


def _joined(segment: Segment, dead: Collection[int]) -> Iterator[Batch]:
    """What is alive of a segment, in batches."""
    rows = np.flatnonzero(_alive(segment, dead))
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        yield segment.rows.take(pa.array(some)), segment.vectors[some]


def _alive(segment: Segment, dead: Collection[int]) -> NDArray[np.bool_]:
    alive = np.ones(segment.rows.num_rows, np.bool_)
    alive[list(dead)] = False
    return alive


def _described(index: Index) -> bytes:
    segments = [
        {
            "name": segment.directory.name,
            "files": {name: asdict(state) for name, state in segment.files.items()},
            "dead": sorted(dead),
        }
        for segment, dead in zip(index.segments, index.dead, strict=True)
    ]
    content = {
        "version": VERSION,
        "id": index.version,
        "made_by": asdict(index.made_by),
        "segments": segments,
        "folders": index.folders,
    }
    return _compact({"index": content, "crc32": zlib.crc32(_compact(content))})


def _compact(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode("ascii")
