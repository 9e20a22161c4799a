"""The full stack on pictures of rare concepts: the whole graph tags them once; scores of whole pictures are exchanged."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.tail_corpus import Corpus
from demo.corpus import CORPORA
from evaluation.metrics.intervals import paired_interval
from resources.home import Home
from resources.lake import embedding_matrix
from resources.models.encoders.heads import sigmoid
from resources.workspace import Workspace, open_workspace
from vistag_assets.regions.region_embeddings import best_vectors
from vistag_assets.tags.evidence import Source
from vistag_assets.tags.fusion import Fusion, fuse, load_fusion
from vistag_assets.tags.tagger import evidence_in, sources_of
from vistag_assets.whole_image.adapter_policy import found_in_top
from vistag_assets.whole_image.adapters import Linear, Vectors
from vistag_assets.whole_image.shared_heads import shared_heads

SIZES = (10, 20, 40, 60, 100)
"""Of the short-list that is sent to grounding."""
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

    def ladder(self) -> list[dict[str, object]]:
        """Rows of what acts on regions or in the fusion; gains are over the full stack as it is."""
        pool = self.corpus.of(~np.isin(np.arange(len(self.corpus.vectors)), self.rows))
        texts, everything = self.corpus.texts.vectors, pool.examples
        adapted = shared_heads(texts, everything)
        blank = shared_heads(texts, type(everything).of_matrix(pool.vectors, np.zeros_like(pool.is_true)))
        boxed, masked = self._best_of_regions(texts, masked=False), self._best_of_regions(texts, masked=True)
        by_regions = self._best_of_regions(adapted.weights, masked=False)
        base = self.fused()
        rows = {
            "full": base,
            "full: A2 through the fusion": self.fused(sources=frozenset({"global"})),
            "full: A3": self.fused(sources=frozenset({"global", "regions", "ocr"})),
            "full: centred": self.fused(blank),
            "full: shared": self.fused(adapted),
            "regions alone, boxed": boxed,
            "regions alone, masked": masked,
            "regions alone, boxed, shared": by_regions,
        }
        return [self._row(name, scores, base) for name, scores in rows.items()] + self._short_lists()

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

    def _short_lists(self) -> list[dict[str, object]]:
        """The share of true rare concepts that can have a region among the first so many of a picture."""
        taxonomy, tail = self.workspace.taxonomy, self.corpus.bands()["tail"]
        drawn = np.array(
            [taxonomy.facets[taxonomy.by_id[id_].facet].grounded for id_ in self.corpus.concept_ids]
        )
        scores = self._matrix(self.evidence, "global_logit", -np.inf)[:, drawn]
        true = (self.corpus.is_true[self.rows] & tail)[:, drawn]
        return [
            {
                "remedy": f"short-list of {size}",
                "tail_among_candidates": round(
                    float(found_in_top(scores, true, size).sum() / max(true.sum(), 1)), 4
                ),
            }
            for size in SIZES
        ]

    def _row(self, name: str, scores: Vectors, base: Vectors) -> dict[str, object]:
        true, tail = self.corpus.is_true[self.rows], self.corpus.bands()["tail"]
        found, before = found_in_top(scores, true), found_in_top(base, true)
        counts = [(found & ~before)[:, tail], (before & ~found)[:, tail], true[:, tail]]
        interval = paired_interval(np.stack([part.sum(axis=1) for part in counts], 1))
        assert interval
        row = {
            "remedy": name,
            "tail_recall@10": round(float(found[:, tail].sum() / true[:, tail].sum()), 4),
            "gain": round(float((found.sum(0) - before.sum(0))[tail].sum() / true[:, tail].sum()), 4),
            "ci95": [round(interval.low, 4), round(interval.high, 4)],
            "overall": round(float(found.sum() / true.sum()), 4),
            "images": len(self.rows),
        }
        print("  " + "  ".join(f"{value}" for value in row.values()), flush=True)
        return row


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
