"""What the lake knows of each image, as exports write it: read a folder at a time, in batches of images."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from resources.home import FolderRef
from resources.lake.rows_by_id import RowsById
from resources.workspace import Workspace
from taxonomy import Concept, Taxonomy
from taxonomy.skos_writer import iri_of
from vistag_assets.tags.decided import ACCEPTED, MACHINE, REJECTED

Box = tuple[float, float, float, float]
"""x and y of the top left, width and height, relative to the upright picture, 0..1"""
Row = dict[str, Any]

STATES = frozenset([ACCEPTED, MACHINE])
MIN_PROBABILITY = 0.5
"""From which a machine's tag is more likely right than wrong: its probability is calibrated."""
MOST_PATHS = 8
"""From a concept up to its roots; a vocabulary of many parents has more than anybody reads."""
_BATCH = 500
_ESCAPED_BYTE = re.compile(r"\\x(?!5c)[0-9a-f]{2}")
_BACKSLASH = re.compile(r"\\x5c(?=x[0-9a-f]{2})")
_COLUMNS: Mapping[str, Sequence[str] | None] = {
    "tags": ["id", "concept_id", "phrase", "rank", "probability", "region_ids", "state", "needs_review"],
    "tag_scores": ["id", "concept_id", "rank", "probability", "inherited_from"],
    "grounded_regions": ["id", "region_id", "concept_id", "phrase", "bbox", "score"],
    "region_masks": ["id", "region_id", "height", "width", "counts"],
    "region_matches": ["id", "region_id", "verdict"],
    "captions": ["id", "caption"],
    "descriptions": ["id", "title", "description"],
    "proxies": ["id", "path", "width", "height"],
    "flags": ["id"],
}
ALWAYS = ("tags", "tag_scores", "flags")
"""Read for each format, beside `images`: the scores where there are no final tags yet."""


class UnusableThresholds(ValueError):
    """A file of thresholds that cannot be read; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tags are exported: those of `states`, the machine's from a probability on and not those for review."""

    states: frozenset[str] = STATES
    min_probability: float = MIN_PROBABILITY
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """concept -> its own least probability, in place of `min_probability`"""
    flagged: Literal["with", "without", "only"] = "with"
    """what becomes of images that a policy flags"""
    ancestors: bool = False
    """whether broader concepts are named too where a narrower one is"""

    def takes(self, row: Row) -> bool:
        if row["state"] not in self.states:
            return False
        if row["state"] == ACCEPTED:
            return True
        least = self.thresholds.get(row["concept_id"] or "", self.min_probability)
        return bool(row["probability"] >= least and not row["needs_review"])

    def takes_image(self, *, is_flagged: bool) -> bool:
        return self.flagged == "with" or (self.flagged == "only") == is_flagged

    @property
    def least(self) -> float:
        return min([self.min_probability, *self.thresholds.values()])


def read_thresholds(path: Path) -> dict[str, float]:
    """Concept -> least probability, from a CSV file with the columns concept_id and threshold (0..1).

    Raises UnusableThresholds, and OSError.
    """
    found, line = {}, str(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for number, row in enumerate(csv.DictReader(file), start=2):
                line = f"{path}, line {number}"
                value = float(row["threshold"])
                if not 0 <= value <= 1:
                    raise ValueError(f"{value} is not between 0 and 1")
                found[row["concept_id"]] = value
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise UnusableThresholds(
                f"{line}: {error}. Give a CSV file in UTF-8 with the columns concept_id and threshold (0 to 1)"
            ) from error
    return found


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of an image. `concept` is None for a phrase that is not in the vocabulary."""

    concept: Concept | None
    label: str
    probability: float
    state: str
    """human or machine"""
    paths: tuple[tuple[str, ...], ...]
    """labels from a root of the vocabulary down to this one; more than one where it has several parents"""

    @property
    def iri(self) -> str:
        return iri_of(self.concept) if self.concept else ""


@dataclass(frozen=True, slots=True)
class Mask:
    """COCO's compressed run-length encoding of a mask, in pixels of the proxy."""

    height: int
    width: int
    counts: str


@dataclass(frozen=True, slots=True)
class Region:
    """A box that stands behind a tag which is exported."""

    region_id: str
    tag: Tag
    box: Box
    score: float
    """the detector's, 0..1"""
    mask: Mask | None


@dataclass(frozen=True, slots=True)
class Proxy:
    """The upright working copy: its path in the home, its sides in pixels."""

    path: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """All that is exported of an image. Sides are pixels of the upright original."""

    id: str
    library: str
    path: str
    """relative to the library, posix"""
    also_at: tuple[str, ...]
    width: int
    height: int
    taken_at: datetime | None
    proxy: Proxy | None
    tags: tuple[Tag, ...]
    """best first"""
    rejected: tuple[Concept, ...]
    """what people said is not there"""
    regions: tuple[Region, ...]
    caption: str
    title: str
    description: str

    @property
    def name(self) -> str:
        """Of the image among all libraries of a home: no two have the same."""
        return f"{self.library}/{self.path}"


def undecodable(path: str) -> bool:
    """Whether the name of a file holds bytes that are no UTF-8: tables show them as escapes, and no export can name it."""
    return _ESCAPED_BYTE.search(path) is not None


def file_name(path: str) -> str:
    """The name on the disk of a path of the tables that is not `undecodable`."""
    return _BACKSLASH.sub(r"\\", path)


class FolderRecords:
    """The images of a folder, by path. Its tables are in memory while it is iterated over, records a batch at a time."""

    def __init__(
        self,
        workspace: Workspace,
        folder: FolderRef,
        selection: Selection,
        reads: Sequence[str] | None = None,
    ) -> None:
        """`reads`: the tables beside `images` and `ALWAYS` that are looked at; None: all."""
        self.folder = folder
        self._reads = list(_COLUMNS) if reads is None else [*ALWAYS, *reads]
        self.selection = selection
        self._workspace = workspace

    @cached_property
    def images(self) -> int:
        return self._workspace.lake.read("images", self.folder.key, ["id"]).num_rows

    def __iter__(self) -> Iterator[ImageRecord]:
        images = self._workspace.lake.read("images", self.folder.key).sort_by("path")
        tables = {table: RowsById(rows) for table in self._reads if (rows := self._read(table)) is not None}
        wanted = [
            c for c in ("id", "path", "also_at", "width", "height", "taken_at") if c in images.column_names
        ]
        for start in range(0, images.num_rows, _BATCH):
            batch = images.slice(start, _BATCH).select(wanted).to_pylist()
            rows = {
                table: _by_id(found.of([image["id"] for image in batch])) for table, found in tables.items()
            }
            for image in batch:
                if not self.selection.takes_image(is_flagged=image["id"] in rows.get("flags", ())):
                    continue
                yield self._record(
                    image, {table: found.get(image["id"], []) for table, found in rows.items()}
                )

    def _read(self, table: str) -> pa.Table | None:
        lake, key = self._workspace.lake, self.folder.key
        if table == "tag_scores" and lake.exists("tags", key):
            return None
        rows = lake.read_or_none(table, key, _COLUMNS[table])
        if rows is None or table not in ("tags", "tag_scores"):
            return rows
        likely = pc.greater_equal(rows["probability"], self.selection.least)
        if table == "tags":
            likely = pc.or_(likely, pc.not_equal(rows["state"], MACHINE))
        return rows.filter(likely)

    def _record(self, image: Row, rows: Mapping[str, list[Row]]) -> ImageRecord:
        taxonomy = self._workspace.taxonomy
        said = rows["tags"] if "tags" in rows else _from_scores(rows.get("tag_scores", []), taxonomy)
        taken = sorted((row for row in said if self.selection.takes(row)), key=lambda row: row["rank"])
        tags = {(row["concept_id"], row["phrase"]): self._tag(row) for row in taken}
        proxy = next(iter(rows.get("proxies", ())), None)
        description = next(iter(rows.get("descriptions", ())), {})
        return ImageRecord(
            id=image["id"],
            library=self.folder.library,
            path=image["path"],
            also_at=tuple(image.get("also_at") or ()),
            width=image["width"],
            height=image["height"],
            taken_at=image.get("taken_at"),
            proxy=Proxy(proxy["path"], proxy["width"], proxy["height"]) if proxy else None,
            tags=tuple(self._specific(tags.values())),
            rejected=tuple(
                taxonomy.by_id[row["concept_id"]]
                for row in said
                if row["state"] == REJECTED and row["concept_id"] in taxonomy.by_id
            ),
            regions=tuple(_regions(rows, tags)),
            caption=next((row["caption"] or "" for row in rows.get("captions", ())), ""),
            title=description.get("title") or "",
            description=description.get("description") or "",
        )

    def _tag(self, row: Row) -> Tag:
        taxonomy = self._workspace.taxonomy
        concept = taxonomy.by_id.get(row["concept_id"] or "")
        label = concept.pref_label if concept else row["phrase"]
        paths = tuple(paths_of(concept, taxonomy)) if concept else ((label,),)
        return Tag(concept, label, row["probability"], row["state"], paths)

    def _specific(self, tags: Any) -> list[Tag]:
        """Without what narrower tags imply, unless people said it; or with all that they imply."""
        tags, taxonomy = list(tags), self._workspace.taxonomy
        known = {tag.concept.id: tag for tag in tags if tag.concept}
        implied: dict[str, Tag] = {}
        for tag in tags:
            for id_ in sorted(taxonomy.ancestors(tag.concept.id)) if tag.concept else ():
                implied.setdefault(id_, tag)
        if not self.selection.ancestors:
            return [t for t in tags if not t.concept or t.concept.id not in implied or t.state == ACCEPTED]
        more = [
            Tag(concept, concept.pref_label, by.probability, by.state, tuple(paths_of(concept, taxonomy)))
            for id_, by in implied.items()
            if id_ not in known
            for concept in [taxonomy.by_id[id_]]
        ]
        return [*tags, *more]


def paths_of(concept: Concept, taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    """The labels from each root down to a concept, `MOST_PATHS` at most, in the order of the parents' ids."""
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[Concept, tuple[str, ...]]] = [(concept, (concept.pref_label,))]
    while waiting and len(found) < MOST_PATHS:
        at, path = waiting.pop(0)
        if not at.broader:
            found.append(path)
        waiting += [
            (broader, (broader.pref_label, *path)) for id_ in at.broader for broader in [taxonomy.by_id[id_]]
        ]
    return found


def _regions(rows: Mapping[str, list[Row]], tags: Mapping[tuple[str | None, str], Tag]) -> Iterator[Region]:
    masks = {row["region_id"]: row for row in rows.get("region_masks", ())}
    verdicts = {row["region_id"]: row["verdict"] for row in rows.get("region_matches", ())}
    by_concept = {concept: tag for (concept, _), tag in tags.items() if concept}
    for row in rows.get("grounded_regions", ()):
        id_ = row["region_id"]
        tag = by_concept.get(row["concept_id"]) or tags.get((None, row["phrase"]))
        if tag is None or verdicts.get(id_) == "rejected":
            continue
        mask = masks.get(id_)
        yield Region(
            region_id=id_,
            tag=tag,
            box=_rounded(row["bbox"]),
            score=row["score"],
            mask=Mask(mask["height"], mask["width"], mask["counts"]) if mask else None,
        )


def _rounded(values: Sequence[float]) -> Box:
    x, y, width, height = (round(value, 6) for value in values)
    return x, y, width, height


def _from_scores(rows: list[Row], taxonomy: Taxonomy) -> list[Row]:
    """Where there are no final tags yet, the scores that concepts earned themselves stand in for them."""
    return [
        row
        | {"phrase": taxonomy.pref_labels.get(row["concept_id"], row["concept_id"])}
        | {"state": MACHINE, "needs_review": False}
        for row in rows
        if row["inherited_from"] is None
    ]


def _by_id(rows: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["id"], []).append(row)
    return found
