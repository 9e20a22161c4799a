"""Escalation: the VLM is asked yes or no about the likeliest rare concepts of a picture, a question a region.

What it says is how much likelier "yes" is than "no" after the question, by two answers that are held to the one word and
to the other; so any model answers whose answers can be held to a JSON Schema.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tail.figures import Row
from benchmarks.tail.full import FullStack
from resources.lake import embedding_matrix
from resources.models.vlms import Answer, Unanswered, Vlm
from vistag_assets.language.image_context import regions_by_id
from vistag_assets.language.region_captions import crop
from vistag_assets.regions.boxes import distinct_boxes
from vistag_assets.whole_image.adapters import Vectors
from vistag_assets.whole_image.scoring import top_columns

CONCEPTS, REGIONS = 10, 3
"""Rare concepts of a picture that are asked about, and places that are shown for each: those nearest to its words."""
QUESTION = 'Does this crop show a {label}? Answer with one word of JSON: "yes" or "no".'
_TOKENS = 16
_FOLDS = 5
_LEAST = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Replies:
    """Of pairs of a picture and a concept."""

    picture: NDArray[np.intp]
    """place in the rows of the full stack"""
    concept: NDArray[np.intp]
    log_odds: Floats
    """of yes against no, natural logarithm, the largest over the places that were shown"""
    seconds_per_image: float


def log_odds_of_yes(vlm: Vlm, crops: Sequence[Image.Image], prompts: Sequence[str]) -> Floats:
    """[crops]: log P("yes") - log P("no") after each prompt. Raises RuntimeError where the model gives no answer."""
    yes, no = (_log_likelihood(vlm, crops, prompts, word) for word in ("yes", "no"))
    return yes - no


def _log_likelihood(vlm: Vlm, crops: Sequence[Image.Image], prompts: Sequence[str], word: str) -> Floats:
    answers = vlm.answer(crops, prompts, max_tokens=_TOKENS, schema={"const": word})
    return np.array([_surely(answer).logprobs.sum() for answer in answers], np.float64)


def _surely(answer: Answer | Unanswered) -> Answer:
    if isinstance(answer, Unanswered):
        raise RuntimeError(f"no answer to a question about a region: {answer.reason}")
    return answer


def asked(full: FullStack, base: Vectors) -> Replies:
    """Of each picture the likeliest rare concepts by `base` [pictures, concepts] that can have a region."""
    corpus, workspace = full.corpus, full.workspace
    taxonomy, tail = workspace.taxonomy, corpus.bands()["tail"]
    facets = [taxonomy.facet_of(id_) for id_ in corpus.concept_ids]
    drawn = np.flatnonzero(tail & np.array([facet.grounded for facet in facets]))
    likeliest = drawn[top_columns(base[:, drawn], CONCEPTS)]
    table = workspace.lake.read_all("region_embeddings")
    names = zip(table["id"].to_pylist(), table["region_id"].to_pylist(), strict=True)
    vector_of = dict(zip(names, embedding_matrix(table["embedding"]).astype(np.float32), strict=True))
    regions = regions_by_id(workspace.lake.read_all("grounded_regions"))
    pairs, crops, prompts = [], [], []
    for id_, row in full.row_of.items():
        place = int(np.searchsorted(full.rows, row))
        places = [group[0] for group in distinct_boxes(regions.get(id_, ()))]
        if not places:
            continue
        near = corpus.texts.vectors @ np.stack([vector_of[id_, region.region_id] for region in places]).T
        with Image.open(corpus.library / corpus.files[row]) as image:
            picture = image.convert("RGB")
        for concept in likeliest[place]:
            label = taxonomy.pref_labels[corpus.concept_ids[concept]]
            for region in np.argsort(-near[concept])[:REGIONS]:
                pairs.append((place, int(concept)))
                crops.append(crop(picture, places[region].box))
                prompts.append(QUESTION.format(label=label))
    started = time.perf_counter()
    said = log_odds_of_yes(workspace.vlm, crops, prompts)
    seconds = time.perf_counter() - started
    unique, group = np.unique(np.array(pairs), axis=0, return_inverse=True)
    best = np.full(len(unique), -np.inf)
    np.maximum.at(best, group.ravel(), said)
    return Replies(unique[:, 0], unique[:, 1], best, seconds / len(full.rows))


def escalated(base: Vectors, replies: Replies, is_true: NDArray[np.bool_]) -> Vectors:
    """Log odds [pictures, concepts] of `base`, moved for what was asked by as much as replies say of other pictures."""
    from scipy.special import logit

    odds = np.asarray(logit(np.clip(base, _LEAST, 1 - _LEAST)), np.float64)
    pairs = replies.picture, replies.concept
    told, true, turn = odds[pairs], is_true[pairs], replies.picture % _FOLDS
    moved = odds.copy()
    for fold in range(_FOLDS):
        others = turn != fold
        middle = replies.log_odds[others].mean()
        weight = _weight(replies.log_odds[others] - middle, told[others], true[others])
        own = replies.picture[~others], replies.concept[~others]
        moved[own] += weight * (replies.log_odds[~others] - middle)
    return np.asarray(moved, np.float32)


def _weight(said: Floats, odds: Floats, is_true: NDArray[np.bool_]) -> float:
    """Of what was said beside the odds of before, by the likelihood of the truth; not below 0: "yes" never tells against."""
    from scipy.optimize import minimize

    def loss(line: Floats) -> float:
        total = odds + line[0] * said + line[1]
        return float((np.logaddexp(0, total) - is_true * total).mean())

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(0, None), (None, None)])
    return float(found.x[0])


def escalation_rows(full: FullStack) -> list[Row]:
    """The row of the ladder: gains are over the full stack as it is."""
    from dataclasses import replace

    from sklearn.metrics import roc_auc_score

    base, is_true = full.fused(), full.corpus.is_true[full.rows]
    replies = asked(full, base)
    every = full.seconds_of_all
    seconds = None if every is None else every + replies.seconds_per_image
    row = full.row(
        "full: rare concepts asked of the VLM", lambda: escalated(base, replies, is_true), seconds, base
    )
    true = is_true[replies.picture, replies.concept]
    tail = full.corpus.bands()["tail"]
    more = {
        **row.more,
        "asked": len(true),
        "true_asked": int(true.sum()),
        "true": int(is_true[:, tail].sum()),
        "auc_of_yes": float(roc_auc_score(true, replies.log_odds)) if 0 < true.sum() < len(true) else None,
        "share_of_yes": float((replies.log_odds > 0).mean()),
        "seconds_of_asking": replies.seconds_per_image,
    }
    return [replace(row, more=more)]
