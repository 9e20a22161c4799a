"""The answer to a query: the pictures, and the parts of pictures, that are most like words, a picture or a part of one.

    searcher = Searcher(open_workspace(home))
    searcher.warm()  # a server does this once
    for hit in searcher.search(Query(text="blue glaze with cracks", not_tags=("craquelure",))): ...

A searcher may be asked by several threads, and sees each new index by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.lake.versions import glance
from resources.workspace import Workspace
from vistag_assets.lineage import column_by_id
from vistag_assets.regions.crops import square_crop
from vistag_assets.search.filters import Filter, Filters
from vistag_assets.search.index import Index, current_version, load_index
from vistag_assets.search.question import Box, Query, SearchError, Within
from vistag_assets.search.scores import Scores, Term, direction, together
from vistag_assets.search.segment import DamagedIndex
from vistag_assets.search.sources import TABLE_OF, index_directory

__all__ = ["Box", "Hit", "Query", "SearchError", "Searcher", "Within", "search"]

_INDEXES: dict[Within, tuple[str, ...]] = {
    "images": ("image_index",),
    "regions": ("region_index",),
    "both": ("image_index", "region_index"),
}
_DEPTH = 5
"""Vectors that are looked at for one image that is to be shown: several parts of an image may be found."""
_DEEPER = 4
_BACKGROUND = 512
"""Vectors of an index that say what cosine any two have."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An image, by what of it is most like the query."""

    folder: str
    """key"""
    id: str
    path: str
    """of the file, relative to the library"""
    proxy: str
    """of the working copy, relative to the home"""
    score: float
    """0..1: for words how likely they are true of it, for a picture how much more like it than any two are"""
    cosines: tuple[float, ...]
    """with the words, the picture and what it is not to be, as far as they were given"""
    region_id: str | None = None
    """of the region that was found; None: the whole image"""
    box: Box | None = None
    """of that region"""


def search(workspace: Workspace, query: Query) -> list[Hit]:
    """The hits of a query, best first; who asks more than once keeps a `Searcher`."""
    return Searcher(workspace).search(query)


@dataclass(frozen=True)
class _Opened:
    """An index that is open, and a sample of what it holds."""

    index: Index

    @cached_property
    def background(self) -> NDArray[np.float32]:
        """[n, dimension], spread evenly over all rows."""
        index, parts = self.index, list[NDArray[np.float32]]()
        step = max(1, index.count // _BACKGROUND)
        for segment, alive in zip(index.segments, index.alive, strict=True):
            rows = np.arange(segment.rows.num_rows) if alive is None else np.flatnonzero(alive)
            parts.append(segment.read(rows[step // 2 :: step]))
        return np.concatenate(parts) if parts else np.empty((0, index.made_by.dimension), np.float32)


@dataclass(frozen=True, slots=True)
class _Found:
    """A vector that was found."""

    folder: str
    id: str
    region_id: str | None
    box: Box | None
    score: float
    product: float
    """with the direction that was searched"""
    cosines: tuple[float, ...]


class Searcher:
    """Answers queries over the indexes of a home."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._opened: dict[str, tuple[str | None, _Opened]] = {}
        self._filters = Filters(workspace)
        self._scores = Scores(workspace)
        self._paths = lru_cache(maxsize=256)(self._read_paths)

    def warm(self) -> None:
        """Load encoder and indexes before the first query."""
        self.workspace.encoder.load()
        for name in TABLE_OF:
            _ = self._open(name).background

    def search(self, query: Query) -> list[Hit]:
        """The hits, best first. Raises SearchError, and UnknownTag."""
        if query.top < 1:
            raise SearchError(f"top is {query.top}: give 1 or more")
        opened = [self._open(name) for name in _INDEXES[query.within or _within(query)]]
        if not any(each.index.count for each in opened):
            raise SearchError(self._nothing(query))
        terms, own = self._terms(query)
        least = self._least(query)
        chosen = Filter.of(query, self.workspace.taxonomy)
        best: dict[tuple[str, str], _Found] = {}
        for each in opened:
            for found in self._nearest(each, terms, chosen, own, query.top, least):
                known = best.get((found.folder, found.id))
                if known is None or found.score > known.score:
                    best[found.folder, found.id] = found
        ranked = sorted(best.values(), key=_rank)
        return [hit for found in ranked[: query.top] if (hit := self._hit(found))]

    def _open(self, name: str) -> _Opened:
        """The index as it is now. Raises SearchError where there is none that this home's encoder can be asked about."""
        directory = index_directory(self.workspace.home, name)
        version = current_version(directory)
        known = self._opened.get(name)
        if known and known[0] == version:
            return known[1]
        try:
            index = load_index(directory, on_card=self.workspace.tier.device == "cuda")
        except DamagedIndex as error:
            raise SearchError(
                f"{error}. vistag search --home {self.workspace.home.root} makes it anew"
            ) from error
        if index is None:
            raise SearchError(f"There is no index in {directory}: run vistag on a folder, or vistag search")
        own = self.workspace.encoder
        if index.made_by.fingerprint != own.fingerprint:
            raise SearchError(
                f"{directory} was made by the encoder {index.made_by.name}, and this home's tier "
                f"{self.workspace.tier.name} names {own.spec.name}: run vistag on its folders with this tier, or "
                "choose the tier it was made with"
            )
        opened = _Opened(index)
        self._opened[name] = (version, opened)
        return opened

    def _nothing(self, query: Query) -> str:
        lake = self.workspace.lake
        if not lake.folders("global_embeddings"):
            return f"There are no images in {self.workspace.home.root}: run vistag on a folder first"
        what = query.within or _within(query)
        return f"No {'images' if what == 'both' else what} are indexed: run vistag on the folders again"

    def _terms(self, query: Query) -> tuple[list[Term], str]:
        """What is asked, and the id of the image in the lake that is the example."""
        picture, own = self._picture(query)
        share = min(max(query.text_weight, 0.0), 1.0) if picture is not None else 1.0
        terms = []
        if query.text.strip():
            terms.append(self._scores.words(query.text.strip(), share))
        if picture is not None:
            terms.append(Term(picture, 1 - share if terms else 1.0))
        if not any(term.weight > 0 for term in terms):
            raise SearchError("Nothing is looked for: give words, a picture, or something in the lake")
        return [*terms, *(self._scores.words(words, -1.0) for words in query.without)], own

    def _picture(self, query: Query) -> tuple[NDArray[np.float32] | None, str]:
        if query.like:
            if query.image is not None:
                raise SearchError("Two examples are given: leave out the picture, or what it is to be like")
            return self._stored(query.like)
        if query.image is None:
            if query.box is not None:
                raise SearchError("A region is given, and no picture that it is of")
            return None, ""
        shown = query.image if query.box is None else square_crop(query.image, np.array(query.box))
        return self.workspace.encoder.embed_images([shown])[0], ""

    def _stored(self, name: str) -> tuple[NDArray[np.float32], str]:
        """The vector of an image or a region in the lake, of a region without its background where there is one."""
        column, table = ("region_id", "region_index") if "-r" in name else ("id", "image_index")
        index = self._open(table).index
        best: tuple[str, NDArray[np.float32], str] | None = None
        for segment, alive in zip(index.segments, index.alive, strict=True):
            rows = np.flatnonzero(pc.equal(segment.rows[column], name))
            for row in rows if alive is None else rows[alive[rows]]:
                of = segment.rows.slice(row, 1).to_pylist()[0]
                if best is None or of["part"] > best[0]:  # a mask before a box
                    best = of["part"], segment.read(np.array([row]))[0], of["id"]
        if best is None:
            raise SearchError(
                f"{name} is no image and no region of {self.workspace.home.root}: its ids are in the tables images and "
                "grounded_regions (vistag sql 'select id, path from images')"
            )
        return best[1], best[2]

    def _least(self, query: Query) -> float:
        if query.min_score is not None:
            return query.min_score
        settings = self.workspace.tier.search
        if query.image is None and not query.like:
            return settings.min_probability
        if not query.text.strip():
            return settings.min_likeness
        share = query.text_weight
        return share * settings.min_probability + (1 - share) * settings.min_likeness

    def _nearest(
        self, opened: _Opened, terms: Sequence[Term], chosen: Filter, own: str, top: int, least: float
    ) -> Iterator[_Found]:
        """What one index holds of `top` images or more, deeper until there are as many or nothing is left to show."""
        toward, depth = direction(terms, opened.background), _DEPTH * top
        allowed = self._filters.allowed(opened.index, chosen)
        while True:
            found, ended = self._proposed(opened, terms, toward, allowed, depth, least)
            found = [each for each in found if each.id != own]
            if ended or len({(each.folder, each.id) for each in found}) >= top:
                yield from found
                return
            depth *= _DEEPER

    def _proposed(
        self,
        opened: _Opened,
        terms: Sequence[Term],
        toward: NDArray[np.float32],
        allowed: Sequence[NDArray[np.bool_] | None],
        depth: int,
        least: float,
    ) -> tuple[list[_Found], bool]:
        """What is found so deep, and whether going deeper would find nothing more that may be shown."""
        found, ended = list[_Found](), True
        for segment, mask in zip(opened.index.segments, allowed, strict=True):
            rows, products = segment.nearest(toward, depth, mask)
            vectors = segment.read(rows)
            scores = together(terms, [self._scores.of(t, vectors, opened.background) for t in terms])
            cosines = np.stack([vectors @ term.vector for term in terms], axis=1)
            shown = np.flatnonzero(scores >= least)
            ended &= len(rows) < depth or not len(shown) or bool(scores[-1] < least)
            names = segment.rows.take(rows[shown]).to_pylist()
            found += [
                _Found(
                    of["folder"],
                    of["id"],
                    of["region_id"],
                    tuple(of["bbox"]) if of["bbox"] else None,
                    float(scores[n]),
                    float(products[n]),
                    tuple(map(float, cosines[n])),
                )
                for n, of in zip(shown, names, strict=True)
            ]
        return found, ended

    def _hit(self, found: _Found) -> Hit | None:
        """None for an image that is no more, of which the index does not know yet."""
        key = found.folder
        files = [self.workspace.lake.data_file(table, key) for table in ("images", "proxies")]
        try:
            paths, proxies = self._paths(key, glance(files))
        except FileNotFoundError:
            return None
        if found.id not in paths or found.id not in proxies:
            return None
        return Hit(
            key,
            found.id,
            paths[found.id],
            proxies[found.id],
            found.score,
            found.cosines,
            found.region_id,
            found.box,
        )

    def _read_paths(self, key: str, _glance: str) -> tuple[dict[str, str], dict[str, str]]:
        lake = self.workspace.lake
        images, proxies = (
            column_by_id(lake.read(t, key, ["id", "path"]), "path") for t in ("images", "proxies")
        )
        return images, proxies


def _rank(found: _Found) -> tuple[float, float, str, str]:
    """Best first; where scores are at their end, what lies further in the direction that was searched."""
    return -found.score, -found.product, found.folder, found.id


def _within(query: Query) -> Within:
    if query.box is not None or "-r" in query.like:
        return "regions"
    return "images" if query.image is not None or query.like else "both"
