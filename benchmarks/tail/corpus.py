"""The hard corpus as an encoder sees it: drawn and embedded once, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from demo.corpus import CORPORA, make_corpus
from demo.world.hard.world import hard_taxonomy
from evaluation.metrics.bands import BANDS, frequency_bands
from resources.lake import embedding_column
from resources.models.encoders import Encoder, embed_in_batches
from vistag_assets.whole_image.adapter_policy import Texts
from vistag_assets.whole_image.adapters import Examples, Vectors
from vistag_assets.whole_image.scoring import pool_phrases


@dataclass(frozen=True)
class Corpus:
    """The hard corpus as an encoder sees it."""

    concept_ids: list[str]
    """those that some picture shows, sorted"""
    vectors: Vectors
    is_true: NDArray[np.bool_]
    """[pictures, concepts]"""
    texts: Texts
    """a row a concept, as the tiers ask"""
    facets: NDArray[np.str_]
    """[concepts]"""
    files: list[str]
    """of the pictures, below the library"""
    library: Path
    seconds_per_image: float
    """to decode and to embed"""

    @property
    def examples(self) -> Examples:
        return Examples.of_matrix(self.vectors, self.is_true)

    def of(self, pictures: NDArray[np.bool_]) -> Corpus:
        """Some of the pictures."""
        files = [file for file, there in zip(self.files, pictures, strict=True) if there]
        return replace(self, vectors=self.vectors[pictures], is_true=self.is_true[pictures], files=files)

    def bands(self) -> dict[str, NDArray[np.bool_]]:
        """bool [concepts], of all and of each band as the evaluation cuts them."""
        rows, columns = np.nonzero(self.is_true)
        truth = pa.table({"id": rows.astype(str), "concept_id": np.array(self.concept_ids, object)[columns]})
        table = frequency_bands(truth, self.concept_ids)
        band_of = dict(zip(table["concept_id"].to_pylist(), table["band"].to_pylist(), strict=True))
        named = np.array([band_of[id_] for id_ in self.concept_ids])
        return {"overall": np.ones(len(named), bool), **{band: named == band for band in BANDS}}


def open_corpus(home: Path, images: int, encoder: Encoder) -> Corpus:
    """Drawn and embedded where that was not done before."""
    chosen = CORPORA["hard"]
    folder = home / chosen.folder
    make_corpus(folder, images, split=chosen.split, longer_side_px=chosen.longer_side_px)
    truth = json.loads((folder / "ground_truth.json").read_text(encoding="utf-8"))
    shown = {row["id"]: set[int]() for row in truth["images"]}
    for row in truth["annotations"] + truth["image_tags"]:
        shown[row["image_id"]].add(row["category_id"])
    used = sorted(set[int]().union(*shown.values()))
    named = {row["id"]: row["concept_id"] for row in truth["categories"]}
    concept_ids = [named[category] for category in used]
    assert concept_ids == sorted(concept_ids)
    is_true = np.array([[category in some for category in used] for some in shown.values()])
    names, library = [row["file_name"] for row in truth["images"]], folder / "library"
    kept = home / f"embeddings-{encoder.fingerprint}-{images}.npz"
    if not kept.exists():
        encoder.load()
        started = time.perf_counter()
        files = [library / name for name in names]
        vectors = np.concatenate([found for _, found in embed_in_batches(encoder, files, _upright)])
        np.savez(kept, vectors=vectors, seconds=(time.perf_counter() - started) / len(files))
    found, taxonomy = np.load(kept), hard_taxonomy()
    concepts = [taxonomy.by_id[id_] for id_ in concept_ids]
    return Corpus(
        concept_ids,
        found["vectors"].astype(np.float32),
        is_true,
        texts_of(encoder, {concept.id: taxonomy.phrases(concept) for concept in concepts}),
        np.array([concept.facet for concept in concepts]),
        names,
        library,
        float(found["seconds"]),
    )


def _upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def texts_of(encoder: Encoder, phrases: Mapping[str, Sequence[str]]) -> Texts:
    """The mean of the phrases of each concept, sorted by id."""
    pairs = [(id_, phrase) for id_ in sorted(phrases) for phrase in phrases[id_]]
    vectors = embedding_column(encoder.embed_texts([phrase for _, phrase in pairs]))
    _, pooled = pool_phrases(
        pa.table([[id_ for id_, _ in pairs], vectors], names=["concept_id", "embedding"])
    )
    return Texts(pooled, encoder.score_head.scale)
