"""What the lake holds, as pages ask for it: pictures in the order of folder and path, a page at a time. It is only read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import duckdb

from resources.home import CorruptRegistration, UnknownFolder
from resources.images.ingest import FILE_TIMES
from resources.lake import CorruptPartition, MissingPartition
from resources.lake.versions import glance
from resources.workspace import Workspace
from vistag_assets.lineage import pixel_hashes
from vistag_assets.search.question import ANY_FLAG

PAGE = 60
TAGS_SHOWN = 4
_FOLDERS_KNOWN = 64
_TABLES = ("images", "proxies", "captions", "tags", "flags")
_ORDER = "folder, path, id"
Place = tuple[str, str]
"""(folder, image id)"""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """An image of a folder."""

    path: str
    """relative to its library"""
    pixel_hash: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pictures a page is to show: those that meet all of it."""

    folder: str = ""
    words: str = ""
    """each in the caption or the path"""
    tag: str = ""
    """concept id"""
    review: bool = False
    """with a tag that needs review"""
    flag: str = ""
    """name of a rule of the policy that flags them, or `search.question.ANY_FLAG`"""

    @property
    def is_all(self) -> bool:
        return self == Wanted()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a page."""

    folder: str
    id: str
    path: str
    width: int
    height: int
    caption: str = ""
    tags: tuple[str, ...] = ()
    """labels, best first"""

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the library."""

    number: int
    """from 1"""
    pages: int
    images: int
    """in all pages"""
    pictures: list[Picture]


def stored_rows(workspace: Workspace, table: str, folder: str, ids: Collection[str]) -> list[Row] | None:
    """The rows of some images in a folder's table, but for when files were changed: Python has no date for every year that
    a disk may say. None where there is no such table; a damaged one is as none: the next run says so and makes it anew.
    """
    try:
        rows = workspace.lake.rows_of(table, folder, ids)
    except (CorruptPartition, ValueError):  # ValueError: a key that no folder can have
        return None
    if rows is None:
        return None
    return list(rows.drop_columns(sorted(FILE_TIMES.intersection(rows.column_names))).to_pylist())


class Catalogue:
    """The images of a home."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._read = lru_cache(_FOLDERS_KNOWN)(self._files)
        self._counted = lru_cache(1)(self._count)
        self._lock = Lock()
        self._opened: tuple[Sequence[str], duckdb.DuckDBPyConnection] | None = None

    # ---- one picture

    def file_of(self, folder: str, image_id: str) -> File | None:
        """None where this home does not know the folder, or no such image in it."""
        return self._known(folder).get(image_id)

    def around(self, folder: str, image_id: str, wanted: Wanted) -> tuple[Place | None, Place | None]:
        """The pictures before and after one: in its folder, or among those that are wanted."""
        if not wanted.is_all:
            return self._around(folder, image_id, wanted)
        ids = list(self._known(folder))
        at = ids.index(image_id) if image_id in ids else -1
        before = (folder, ids[at - 1]) if at > 0 else None
        after = (folder, ids[at + 1]) if 0 <= at < len(ids) - 1 else None
        return before, after

    def _around(self, folder: str, image_id: str, wanted: Wanted) -> tuple[Place | None, Place | None]:
        where, values = self._where(wanted)
        with self._sql() as sql:
            found = sql.execute(
                f"""
                with placed as (
                    select folder, id, lag((folder, id)) over w as before, lead((folder, id)) over w as after
                    from images where {where} window w as (order by {_ORDER})
                ) select before, after from placed where folder = $of_folder and id = $of_id""",
                {**values, "of_folder": folder, "of_id": image_id},
            ).fetchone()
        before, after = found or (None, None)
        return before and tuple(before), after and tuple(after)

    # ---- many

    def folders(self) -> Sequence[tuple[str, int]]:
        """(key, images) of the folders that are there, in their order."""
        lake, gone = self.workspace.lake, set(self.workspace.home.gone_keys())
        keys = [key for key in lake.folders("images") if key not in gone]
        return self._counted(tuple(keys), glance([lake.data_file("images", key) for key in keys]))

    def _count(self, keys: tuple[str, ...], version: str) -> Sequence[tuple[str, int]]:
        """`version` tells these partitions from others of the same keys."""
        with self._sql() as sql:
            if not self._has("images"):
                return []
            counts = dict(sql.execute("select folder, count(*) from images group by all").fetchall())
        return [(key, counts[key]) for key in keys if key in counts]

    def flags(self) -> list[tuple[str, int]]:
        """(rule, images) of the rules that flag any, by name."""
        with self._sql() as sql:
            if not self._has("flags"):
                return []
            counted = f"select rule, count(*) from flags where {self._there()} group by all order by all"
            return sql.execute(counted).fetchall()

    def page(self, number: int, wanted: Wanted) -> Page:
        """The page of that number, or the last one."""
        if wanted == Wanted(folder=wanted.folder):
            return self._page_of_folders(number, wanted.folder)
        with self._sql() as sql:
            if not self._has("images"):
                return Page(1, 1, 0, [])
            where, values = self._where(wanted)
            [(images,)] = sql.execute(f"select count(*) from images where {where}", values).fetchall()
            pages = max(1, -(-images // PAGE))
            number = min(max(1, number), pages)
            rows = sql.execute(
                f"select folder, id, path from images where {where} order by {_ORDER} "
                f"limit {PAGE} offset {(number - 1) * PAGE}",
                values,
            ).fetchall()
        return Page(number, pages, images, self._pictures(rows))

    def _page_of_folders(self, number: int, folder: str) -> Page:
        """The page of all pictures, or of those of one folder: only the folders that it shows are read."""
        folders = [(key, images) for key, images in self.folders() if folder in ("", key)]
        images = sum(count for _, count in folders)
        pages = max(1, -(-images // PAGE))
        number = min(max(1, number), pages)
        start, rows = (number - 1) * PAGE, list[tuple[str, str, str]]()
        for key, count in folders:
            if start < count and len(rows) < PAGE:
                known = list(self._known(key).items())[start : start + PAGE - len(rows)]
                rows += [(key, id_, file.path) for id_, file in known]
            start = max(0, start - count)
        return Page(number, pages, images, self._pictures(rows))

    def _pictures(self, rows: Sequence[tuple[str, str, str]]) -> list[Picture]:
        """With what is shown of each; a page is of few folders, of which only its pictures are read."""
        more: dict[tuple[str, str], dict[str, Any]] = {(folder, id_): {} for folder, id_, _ in rows}
        labels = self.workspace.taxonomy.shown_labels
        for folder in dict.fromkeys(folder for folder, _, _ in rows):
            ids = [id_ for of, id_, _ in rows if of == folder]
            for row in stored_rows(self.workspace, "proxies", folder, ids) or ():
                more[folder, row["id"]] |= {"width": row["width"], "height": row["height"]}
            for row in stored_rows(self.workspace, "captions", folder, ids) or ():
                more[folder, row["id"]]["caption"] = row["caption"] or ""
            tagged = stored_rows(self.workspace, "tags", folder, ids) or ()
            for row in sorted(tagged, key=lambda row: row["rank"]):
                tags = more[folder, row["id"]].setdefault("tags", [])
                if row["state"] != "rejected" and not row["needs_review"] and len(tags) < TAGS_SHOWN:
                    tags.append(labels.get(row["concept_id"] or "", row["phrase"]))
        return [
            Picture(folder, id_, path, **{"width": 4, "height": 3, **more[folder, id_]})
            for folder, id_, path in rows
        ]

    # ---- SQL

    def _where(self, wanted: Wanted) -> tuple[str, dict[str, Any]]:
        """A condition on `images`, and its values."""
        conditions, values = [self._there()], dict[str, Any]()
        if wanted.folder:
            conditions.append("folder = $folder")
            values["folder"] = wanted.folder
        for number, word in enumerate(wanted.words.split()):
            in_caption = f"or (folder, id) in (select (folder, id) from captions where contains(lower(caption), $w{number}))"
            conditions.append(
                f"(contains(lower(path), $w{number}) {in_caption if self._has('captions') else ''})"
            )
            values[f"w{number}"] = word.lower()
        for is_asked, condition in (
            (wanted.tag, "concept_id = $tag and state <> 'rejected'"),
            (wanted.review, "needs_review and state = 'machine'"),
        ):
            if is_asked:
                found = f"(folder, id) in (select (folder, id) from tags where {condition})"
                conditions.append(found if self._has("tags") else "false")
        if wanted.tag and self._has("tags"):
            values["tag"] = wanted.tag
        if wanted.flag:
            of_rule = "true" if wanted.flag == ANY_FLAG else "rule = $flag"
            found = f"(folder, id) in (select (folder, id) from flags where {of_rule})"
            conditions.append(found if self._has("flags") else "false")
            if wanted.flag != ANY_FLAG and self._has("flags"):
                values["flag"] = wanted.flag
        return " and ".join(conditions), values

    def _there(self) -> str:
        """That a folder is not marked as gone."""
        keys = ", ".join("'" + key.replace("'", "''") + "'" for key in self.workspace.home.gone_keys())
        return f"folder not in ({keys})" if keys else "true"

    def _has(self, table: str) -> bool:
        return self._opened is not None and table in self._opened[0]

    @contextmanager
    def _sql(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor on views of the tables that are there now."""
        tables = [table for table in self.workspace.lake.tables() if table in _TABLES]
        with self._lock:
            if self._opened is None or self._opened[0] != tables:
                opened = self.workspace.lake.connect(skip_damaged=True, tables=tables)
                self._opened = tables, opened
            cursor = self._opened[1].cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    # ---- folders

    def _known(self, folder: str) -> Mapping[str, File]:
        """By id in the order of their paths, the images of a folder; none where it is not known."""
        try:
            self.workspace.home.folder(folder)
            version = glance([self.workspace.lake.data_file("images", folder)])
            return self._read(folder, version)
        except (
            ValueError, FileNotFoundError, MissingPartition, CorruptPartition, UnknownFolder, CorruptRegistration,
        ):  # fmt: skip
            return {}

    def _files(self, folder: str, version: str) -> Mapping[str, File]:
        """`version` tells a partition from the one that it replaces."""
        rows = self.workspace.lake.read("images", folder)
        pixels = pixel_hashes(rows)
        paths = zip(rows["path"].to_pylist(), rows["id"].to_pylist(), strict=True)
        return {id_: File(path, pixels[id_]) for path, id_ in sorted(paths)}
