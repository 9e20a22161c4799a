"""The full stack on pictures of rare concepts: the whole graph tags them once; scores of whole pictures are exchanged."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.tail.corpus import Corpus
from benchmarks.tail.figures import Row, recall_row
from demo.corpus import CORPORA
from evaluation.figures import Throughput
from evaluation.options import PARTS, seconds_of
from evaluation.throughput import measured_throughput
from resources.home import Home, read_settings, write_settings
from resources.lake import embedding_matrix
from resources.models.encoders.heads import sigmoid
from resources.workspace import Workspace, open_workspace
from vistag_assets.regions.region_embeddings import best_vectors
from vistag_assets.tags.evidence import TABLES_OF, EvidenceTables, Source, gather
from vistag_assets.tags.fusion import Fusion, fuse, load_fusion
from vistag_assets.tags.tagger import evidence_in, sources_of
from vistag_assets.whole_image.adapter_policy import found_in_top
from vistag_assets.whole_image.adapters import Linear, Vectors
from vistag_assets.whole_image.scoring import make_scorer
from vistag_assets.whole_image.shared_heads import shared_heads

SIZES = (10, 20, 40, 60)
"""Of the short-list that is sent to grounding; the tiers send 60 at most."""
_NEVER_SENT = (100,)
_WHOLE = ("proxies", "global_embeddings", "tag_scores")
_CROPS = ("candidates", "grounded_regions", "region_embeddings")
_BY_REGION = ("region_masks", "region_embeddings", "region_captions")
"""Stages whose time grows with the regions."""
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class FullStack:
    """What the graph says of some pictures of a corpus."""

    corpus: Corpus
    workspace: Workspace
    row_of: Mapping[str, int]
    """image id -> row of the corpus"""
    evidence: pa.Table
    """EVIDENCE of these pictures"""
    sources: frozenset[Source]
    fusion: Fusion

    @classmethod
    def of(cls, home: Path, corpus: Corpus, most: int) -> FullStack:
        """Pictures that show something of the tail, evenly drawn: the others say nothing of its recall."""
        there = np.flatnonzero(corpus.is_true[:, corpus.bands()["tail"]].any(axis=1))
        rows = sorted({*there[np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int)]})
        own = Home(home / f"full-{most}")
        _tag(own, corpus, [corpus.files[row] for row in rows])
        # a home that is kept knows the vocabulary of the checkout that made it
        vocabulary = str(Path(CORPORA["hard"].vocabulary).resolve())
        write_settings(own, read_settings(own).model_copy(update={"taxonomy": vocabulary}))
        workspace = open_workspace(own)
        row_of_file = {file: row for row, file in enumerate(corpus.files)}
        row_of = {
            row["id"]: row_of_file[row["path"]]
            for key in workspace.lake.folders("images")
            for row in workspace.lake.read("images", key).select(["id", "path"]).to_pylist()
        }
        sources = sources_of(workspace.tier)
        evidence = evidence_in(workspace, sources)
        return cls(corpus, workspace, row_of, evidence, sources, load_fusion(workspace.tier.fusion))

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """Of the corpus, sorted."""
        return np.array(sorted(self.row_of.values()))

    @cached_property
    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Bool]:
        """Of each row of the evidence: place in `rows`, column of the concept, whether the encoder speaks of it."""
        place, column = self._at(self.evidence)
        return place, column, (column >= 0) & self.evidence["global_logit"].is_valid().to_numpy()

    def _at(self, table: pa.Table) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        column_of = {concept_id: column for column, concept_id in enumerate(self.corpus.concept_ids)}
        rows = np.array([self.row_of[id_] for id_ in table["id"].to_pylist()], np.intp)
        columns = np.array([column_of.get(id_, -1) for id_ in table["concept_id"].to_pylist()], np.intp)
        return np.searchsorted(self.rows, rows), columns

    def fused(self, told: Linear | None = None, sources: frozenset[Source] | None = None) -> Vectors:
        """Probabilities [pictures, concepts]; `told` in place of what the encoder says of whole pictures, on its scale."""
        evidence = self.evidence
        if told is not None:
            place, column, known = self._places
            own = evidence["global_logit"].to_numpy().copy()
            vectors = self.corpus.vectors[self.rows]
            own[known] = told.matched(own[known], vectors).log_odds(vectors)[place[known], column[known]]
            for name, values in (("global_logit", own), ("global_probability", sigmoid(own))):
                values = pa.array(values.astype(np.float32), mask=~known)
                evidence = evidence.set_column(evidence.schema.get_field_index(name), name, values)
        return self._matrix(fuse(evidence, self.fusion, sources or self.sources), "probability", 0.0)

    def _matrix(self, table: pa.Table, name: str, silent: float) -> Vectors:
        place, column = self._at(table)
        found = np.full((len(self.rows), len(self.corpus.concept_ids)), silent, np.float32)
        known = (column >= 0) & table[name].is_valid().to_numpy()
        found[place[known], column[known]] = table[name].to_numpy()[known]
        return found

    def judge(self, told: Linear, held_out: Bool) -> tuple[Bool, Bool]:
        """What the full stack finds in those of its pictures that are held out."""
        own = held_out[self.rows]
        true = self.corpus.is_true[self.rows][own]
        return found_in_top(self.fused(told)[own], true), true

    def ladder(self) -> list[Row]:
        """Rows of what acts on regions or in the fusion; gains are over the full stack as it is."""
        pool = self.corpus.of(~np.isin(np.arange(len(self.corpus.vectors)), self.rows))
        texts, everything = self.corpus.texts.vectors, pool.examples
        adapted = shared_heads(texts, everything)
        blank = shared_heads(texts, type(everything).of_matrix(pool.vectors, np.zeros_like(pool.is_true)))
        a3 = frozenset[Source]({"global", "regions", "ocr"})
        crops, every = self.seconds(*_WHOLE, *_CROPS), self.seconds_of_all
        rows: dict[str, tuple[Callable[[], Vectors], float | None]] = {
            "full": (self.fused, every),
            "full: A2 through the fusion": (
                partial(self.fused, sources=frozenset({"global"})),
                self.seconds(*_WHOLE, "tags"),
            ),
            "full: A3": (
                partial(self.fused, sources=a3),
                self.seconds(*PARTS["A3"].stages, "ocr_text", "tags"),
            ),
            "full: centred": (partial(self.fused, blank), every),
            "full: shared": (partial(self.fused, adapted), every),
            "regions alone, boxed": (partial(self._best_of_regions, texts, masked=False), crops),
            "regions alone, masked": (
                partial(self._best_of_regions, texts, masked=True),
                self.seconds(*_WHOLE, *_CROPS, "region_masks"),
            ),
            "regions alone, boxed, shared": (
                partial(self._best_of_regions, adapted.weights, masked=False),
                crops,
            ),
            **{f"short-list of {size}": self._within(size) for size in SIZES},
        }
        base = self.fused()
        return [self.row(name, *scored, base) for name, scored in rows.items()]

    def row(self, name: str, scored: Callable[[], Vectors], of_stages: float | None, base: Vectors) -> Row:
        """`scored` is timed; `of_stages`: seconds a picture of all that it needs from the graph."""
        started = time.perf_counter()
        scores = scored()
        own = (time.perf_counter() - started) / len(self.rows)
        seconds = None if of_stages is None else of_stages + own
        found = recall_row(name, scores, base, self.corpus.is_true[self.rows], self.corpus.bands(), seconds)
        row = replace(found, more={**found.more, "images": len(self.rows)})
        print(row, flush=True)
        return row

    def seconds(self, *stages: str) -> float | None:
        """A picture, as the run that tagged these went."""
        return seconds_of(stages, self.throughput)

    @property
    def seconds_of_all(self) -> float | None:
        return self.seconds(*PARTS["B3"].stages)

    @cached_property
    def throughput(self) -> Mapping[str, Throughput]:
        with dg.DagsterInstance.from_config(str(self.workspace.home.dagster_dir)) as instance:
            return measured_throughput(instance)

    def _within(self, size: int) -> tuple[Callable[[], Vectors], float | None]:
        """The full stack with what it found of the first `size` candidates of each picture, and its seconds a picture.

        Of the time that regions cost their share is counted, of the detector's all: it looks at a picture once.
        """
        lake, taxonomy = self.workspace.lake, self.workspace.taxonomy
        tables = {name: lake.read_all(name) for source in self.sources for name in TABLES_OF[source]}
        regions, listed = tables["grounded_regions"], lake.read_all("candidates")
        first = listed.filter(pc.less_equal(listed["rank"], size))
        asked = {*zip(first["id"].to_pylist(), first["phrase"].to_pylist(), strict=True)}
        named = zip(*(regions[name].to_pylist() for name in ("id", "phrase", "region_id")), strict=True)
        kept = {(id_, region) for id_, phrase, region in named if (id_, phrase) in asked}
        for name in ("grounded_regions", "region_matches", "region_embeddings", "region_captions"):
            pairs = zip(tables[name]["id"].to_pylist(), tables[name]["region_id"].to_pylist(), strict=True)
            tables[name] = tables[name].filter(pa.array([pair in kept for pair in pairs], pa.bool_()))
        scorer = make_scorer(self.workspace, lake.read("concept_embeddings"))
        fewer = replace(self, evidence=gather(EvidenceTables.of(tables), taxonomy, scorer))
        every, by_region = self.seconds_of_all, self.seconds(*_BY_REGION)
        missing = 1 - len(kept) / max(regions.num_rows, 1)
        seconds = None if every is None or by_region is None else every - missing * by_region
        return fewer.fused, seconds

    def _best_of_regions(self, weights: Vectors, *, masked: bool) -> Vectors:
        """[pictures, concepts]: the best score over the regions of a picture, less the concept's mean over all."""
        table = self.workspace.lake.read_all("region_embeddings")
        vectors = best_vectors(table) if masked else embedding_matrix(table["embedding"])
        vectors = vectors.astype(np.float32)
        scores = (vectors - vectors.mean(axis=0)) @ weights.T
        owner = np.searchsorted(self.rows, [self.row_of[id_] for id_ in table["id"].to_pylist()])
        best = np.full((len(self.rows), len(weights)), scores.min(), np.float32)
        np.maximum.at(best, owner, scores)
        return best

    def among_candidates(self) -> dict[int, float]:
        """Candidates of a picture -> the share of the true rare concepts that can have a region among the first so many."""
        taxonomy, tail = self.workspace.taxonomy, self.corpus.bands()["tail"]
        drawn = np.array(
            [taxonomy.facets[taxonomy.by_id[id_].facet].grounded for id_ in self.corpus.concept_ids]
        )
        scores = self._matrix(self.evidence, "global_logit", -np.inf)[:, drawn]
        true = (self.corpus.is_true[self.rows] & tail)[:, drawn]
        among = {size: found_in_top(scores, true, size).sum() for size in (*SIZES, *_NEVER_SENT)}
        return {size: round(float(found / max(true.sum(), 1)), 4) for size, found in among.items()}


def _tag(home: Home, corpus: Corpus, files: list[str]) -> None:
    """By `vistag run`, where that was not done before: some ten seconds a picture on a busy core."""
    from vistag_assets.cli import app

    hard = CORPORA["hard"]
    library = home.root / "library" / hard.folder
    if home.lake.folders("tags"):
        return
    for file in files:
        (library / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus.library / file, library / file)
    options = ["--home", str(home.root), "--tier", "demo", "--taxonomy", hard.vocabulary]
    if code := app(["run", str(library), *options], standalone_mode=False):
        raise RuntimeError(f"vistag run of {library} ended with {code}")
