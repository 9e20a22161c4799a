"""How well a tier's encoder names photographs: python -m benchmarks.photos ~/photographs.

The photographs lie in a folder a class, named by a label or a WordNet id, or are themselves named by their WordNet id, as
`n02123045_tabby.jpg`. Each is tagged among the names of ImageNet's 1,000 classes, the labels of the starter vocabulary,
and the folders that are neither. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from evaluation.metrics.calibration import reliability
from resources.lake import embedding_column
from resources.models.checkpoints import make_model
from resources.models.encoders import Encoder, embed_in_batches
from resources.models.encoders.conse.hierarchy import ancestors, synsets
from resources.models.familiarity import World, texture, the_line
from resources.models.tiers import load_tier
from taxonomy import Concept, Taxonomy, starter_taxonomy
from vistag_assets.whole_image.scoring import Scorer, descendant_rows, pool_phrases

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
KS = (1, 5, 10)
_WORDNET_ID = re.compile(r"^(n\d{8})(?:[_. ]|$)")


@dataclass(frozen=True, slots=True)
class Photograph:
    path: Path
    name: str
    """a WordNet id, or the name of its folder"""


def photographs(root: Path) -> list[Photograph]:
    """All below a folder, sorted by path. Raises SystemExit where there is none."""
    found = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise SystemExit(f"There are no photographs in {root}. Give a folder that holds a folder a class.")
    return [Photograph(path, _name(path)) for path in found]


def _name(path: Path) -> str:
    told = _WORDNET_ID.match(path.name) or _WORDNET_ID.match(path.parent.name)
    return told[1] if told else path.parent.name.replace("_", " ")


def vocabulary(names: Sequence[str]) -> Taxonomy:
    """The starter vocabulary, ImageNet's classes under their WordNet ids, and names that are in neither."""
    starter = starter_taxonomy()
    concepts = [
        *starter.concepts,
        *(Concept(s.id, s.labels[0], s.labels[1:]) for s in synsets().values() if s.class_ is not None),
    ]
    known = Taxonomy(tuple(concepts), starter.facets)
    strange = sorted(
        {name for name in names if name not in known.by_id and known.labels.concept_of(name) is None}
    )
    return Taxonomy((*concepts, *(Concept(f"folder-{name}", name) for name in strange)), starter.facets)


@dataclass(frozen=True, slots=True)
class Truth:
    """Of one name, ids of concepts."""

    own: frozenset[str]
    """the concept, and those of the same preferred label: which of them comes first says nothing"""
    kinds: frozenset[str]
    """of the starter vocabulary, what it is a kind of"""


def truth_of(name: str, vocabulary: Taxonomy) -> Truth:
    concept = vocabulary.by_id.get(name) or vocabulary.by_id.get(f"folder-{name}")
    id_ = concept.id if concept else vocabulary.labels.concept_of(name)
    assert id_ is not None
    label = vocabulary.pref_labels[id_].casefold()
    own = {other.id for other in vocabulary.concepts if other.pref_label.casefold() == label} | {id_}
    above = ancestors(id_) - {id_} if id_ in synsets() else frozenset()
    labels = {label.casefold() for kind in above for label in synsets()[kind].labels}
    kinds = {
        c.id for c in starter_taxonomy().concepts if c.facet in KINDS and c.pref_label.casefold() in labels
    }
    return Truth(frozenset(own), frozenset(kinds - own))


KINDS = ("object", "subject")
"""Facets of things: the material glass is no kind of goblet."""


def scorer_of(encoder: Encoder, vocabulary: Taxonomy) -> Scorer:
    phrases = [(c.id, phrase) for c in vocabulary.concepts for phrase in vocabulary.phrases(c)]
    texts = list(dict.fromkeys(phrase for _, phrase in phrases))
    vectors = dict(zip(texts, encoder.embed_texts(texts), strict=True))
    table = pa.table(
        [[id_ for id_, _ in phrases], embedding_column(np.stack([vectors[phrase] for _, phrase in phrases]))],
        names=["concept_id", "embedding"],
    )
    ids, concepts = pool_phrases(table)
    return Scorer(ids, concepts, encoder.score_head, encoder.calibration, descendant_rows(ids, ()), len(ids))


@dataclass(frozen=True, slots=True)
class Measured:
    ranks: NDArray[np.int64]
    """[images], of the right name, from 0"""
    kinds: NDArray[np.bool_]
    """whether each kind of each image is among the first ten"""
    best: NDArray[np.float64]
    """[images], the probability of the first name of a class"""
    right: NDArray[np.bool_]
    """[images], whether that is the image's"""
    strange: NDArray[np.bool_]
    """[images], whether it is unlike what the tier was made for"""
    images_per_second: float

    def as_json(self) -> dict[str, float | int | None]:
        of_best = reliability(self.best, self.right, np.arange(len(self.best)), bins=15)
        assert of_best
        return {
            "images": len(self.ranks),
            **{f"recall@{k}": round(float((self.ranks < k).mean()), 4) for k in KS},
            "ece": round(of_best.expected_error, 4),
            "unfamiliar_share": round(float(self.strange.mean()), 4),
            "kinds@10": round(float(self.kinds.mean()), 4) if len(self.kinds) else None,
            "images_per_second": round(self.images_per_second, 2),
        }


def measure(encoder: Encoder, made_for: World | None, found: Sequence[Photograph]) -> Measured:
    """Ranks and probabilities of each photograph's name; undecodable files end it with their name."""
    known = vocabulary([photograph.name for photograph in found])
    scorer = scorer_of(encoder, known)
    place = {id_: number for number, id_ in enumerate(scorer.concept_ids)}
    truths = {name: truth_of(name, known) for name in {photograph.name for photograph in found}}
    named = {id_ for truth in truths.values() for id_ in truth.own}
    asked = sorted(place[id_] for id_ in named | (known.by_id.keys() - starter_taxonomy().by_id.keys()))
    ranks, kinds, best, right = [], [], [], []
    encoder.load()
    started = time.perf_counter()
    for photograph, row in _probabilities(encoder, scorer, found):
        truth = truths[photograph.name]
        order = {int(column): rank for rank, column in enumerate(np.argsort(-row, kind="stable"))}
        own = [place[id_] for id_ in truth.own]
        first = min(order[column] for column in own)
        ranks.append(first)
        kinds += [order[place[id_]] < KS[-1] for id_ in truth.kinds]
        likeliest = max(asked, key=lambda column: row[column])
        best.append(row[likeliest])
        right.append(likeliest in own)
    seconds = time.perf_counter() - started
    return Measured(
        np.array(ranks),
        np.array(kinds, bool),
        np.array(best, float),
        np.array(right),
        _strange(found, made_for),
        len(ranks) / seconds,
    )


def _probabilities(
    encoder: Encoder, scorer: Scorer, found: Sequence[Photograph]
) -> Iterator[tuple[Photograph, NDArray[np.float32]]]:
    for batch, vectors in embed_in_batches(encoder, found, lambda photograph: open_upright(photograph.path)):
        yield from zip(
            batch, scorer.probabilities(scorer.head.logits(vectors @ scorer.concepts.T)), strict=True
        )


def _strange(found: Sequence[Photograph], made_for: World | None) -> NDArray[np.bool_]:
    if made_for is None:
        return np.zeros(len(found), bool)
    return np.array(
        [the_line().strangeness(texture(open_upright(one.path))[None], made_for)[0] > 0 for one in found]
    )


def open_upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--tier", default="offline")
    parser.add_argument("--every", type=int, default=1, help="take one of so many")
    options = parser.parse_args(arguments)
    found = photographs(options.photographs)[:: options.every]
    tier = load_tier(options.tier)
    measured = measure(make_model(tier.encoder, tier.device), tier.made_for, found)
    figures = measured.as_json()
    print(
        f"{figures['images']:,} photographs by the tier {tier.name}, {figures['images_per_second']} images/s"
    )
    for name, value in figures.items():
        if name not in ("images", "images_per_second"):
            print(f"  {name:<12} {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
