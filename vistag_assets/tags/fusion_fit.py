"""Fitting a fusion: evidence and truth in, readable linear models out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vistag_assets.tags.evidence import Source, only
from vistag_assets.tags.fusion import (
    ANY_FACET,
    FEATURES,
    OF_BOXES,
    FittedFusion,
    Floats,
    LinearModel,
    Weight,
    feature_matrix,
    features_of,
    fuse,
    has_boxes,
    rounded,
)

BALANCE = 0.5
"""Exponent of the weight of a true pair: (images of the most frequent concept / images of its own) ** BALANCE.

0 ranks by probability alone, which is the head's prior; 1 counts every concept alike. Of 0, 0.5 and 0.8, 0.5
gave most of the tail's recall for the least of the head's (docs/fusion.md).
"""
LEAST_TRUE_PAIRS = 50
"""Of a facet, for a model of its own: what a box shows of an object and of a dent are different evidence."""
FOLDS = 5
_INVERSE_PENALTY = 1.0
_CONSTANT = 1e-9


def fit_fusion(
    evidence: pa.Table, truth: pa.Table, sources: Collection[Source], fitted_on: Mapping[str, Any]
) -> FittedFusion:
    """Models for every set of `sources` that can stand alone.

    `evidence`: EVIDENCE of the calibration images. `truth`: id, concept_id, one row a true pair. Raises
    ValueError where a set of sources has no true or no false pair.
    """
    return FittedFusion(
        {chosen: _fit_sources(evidence, truth, chosen) for chosen in source_sets(sources)}, fitted_on
    )


def source_sets(sources: Collection[Source]) -> list[frozenset[Source]]:
    """Every set of them that speaks of whole images too, so without `regions` alone; `ocr` is in each model.

    Captions of regions come with the regions and the VLM only, a tagger with the whole image.
    """
    able: list[Source] = [source for source in ("global", "vlm", "regions", "tagger") if source in sources]
    sets = [frozenset(some) for size in range(1, len(able) + 1) for some in combinations(able, size)]
    # a tier with a tagger has an encoder too
    sets = [
        chosen for chosen in sets if chosen != {"regions"} and ("tagger" not in chosen or "global" in chosen)
    ]
    if "region_captions" in sources:
        sets += [chosen | {"region_captions"} for chosen in sets if chosen >= {"regions", "vlm"}]
    return sets


def cross_fused(evidence: pa.Table, truth: pa.Table, sources: Collection[Source]) -> pa.Table:
    """As `fuse`, each image by a fusion that was fitted on the other folds: for figures one can believe."""
    folds = _folds(evidence)
    parts = []
    for fold in range(FOLDS):
        others, own = evidence.filter(pa.array(folds != fold)), evidence.filter(pa.array(folds == fold))
        if own.num_rows == 0:
            continue
        needed = {frozenset(sources), frozenset(sources) - OF_BOXES} - {frozenset[Source]()}
        models = {chosen - {"ocr"}: _fit_sources(others, truth, chosen) for chosen in needed}
        parts.append(fuse(own, FittedFusion(models, {}), sources))
    return pa.concat_tables(parts)


def judged(evidence: pa.Table, truth: pa.Table, broader_pairs: Collection[tuple[str, str]]) -> pa.Table:
    """The evidence without the pairs that are true only because a narrower concept is.

    An annotation names the narrowest concept, so that they look false; and a broader concept gets the
    probability of its narrower one after fusion anyway.
    """
    broader_of: dict[str, set[str]] = {}
    for narrower, broader in broader_pairs:
        broader_of.setdefault(narrower, set()).add(broader)
    named = list(zip(truth["id"].to_pylist(), truth["concept_id"].to_pylist(), strict=True))
    implied = {(id_, broader) for id_, concept in named for broader in broader_of.get(concept, ())} - {*named}
    left_out = pa.table(
        {"id": [id_ for id_, _ in implied], "concept_id": [concept for _, concept in implied]},
        schema=pa.schema([("id", pa.string()), ("concept_id", pa.string())]),
    )
    return evidence.filter(pa.array(~truth_of(evidence, left_out)))


def truth_of(evidence: pa.Table, truth: pa.Table) -> NDArray[np.bool_]:
    """bool [rows]: whether the pair is true."""
    true_pairs = pc.binary_join_element_wise(truth["id"], truth["concept_id"], "\t").combine_chunks()
    pairs = pc.binary_join_element_wise(evidence["id"], evidence["concept_id"], "\t")
    return np.asarray(pc.is_in(pairs, value_set=true_pairs).to_numpy())


def _fit_sources(
    evidence: pa.Table, truth: pa.Table, sources: Collection[Source]
) -> Mapping[str, LinearModel]:
    """A model for all facets, and where boxes are heard one for each facet of which enough pairs are true."""
    heard = only(evidence, {*sources, "ocr"})
    if "regions" in sources:
        heard = heard.filter(pa.array(has_boxes(heard)))
    names = [feature.name for feature in features_of({*sources, "ocr"})]
    features = feature_matrix(heard, [feature for feature in FEATURES if feature.name in names])
    is_true = truth_of(heard, truth)
    if is_true.all() or not is_true.any():
        raise ValueError(
            f"of {len(is_true)} pairs that {'+'.join(sorted(sources))} speak of {is_true.sum()} are true: "
            "a fusion is fitted on both true and false ones; give it more calibration images"
        )
    weights = balanced_weights(is_true, heard["concept_id"])
    models = {ANY_FACET: rounded(fit_linear(features, names, is_true, weights))}
    facets = heard["facet"].to_numpy(zero_copy_only=False)
    for facet in sorted({*facets} - {None}) if "regions" in sources else ():
        own = facets == facet
        if is_true[own].sum() >= LEAST_TRUE_PAIRS and not is_true[own].all():
            models[facet] = rounded(fit_linear(features[own], names, is_true[own], weights[own]))
    return models


def balanced_weights(is_true: NDArray[np.bool_], concept_ids: pa.ChunkedArray) -> Floats:
    """[rows]: 1 for false pairs; for true ones more, the fewer images carry their concept (`BALANCE`)."""
    _, concept = np.unique(concept_ids.to_numpy(zero_copy_only=False), return_inverse=True)
    images = np.maximum(np.bincount(concept, weights=is_true), 1)
    return np.where(is_true, (images.max() / images[concept]) ** BALANCE, 1.0)


def fit_linear(
    features: Floats, names: list[str], is_true: NDArray[np.bool_], weights: Floats
) -> LinearModel:
    """Logistic regression on standardised `features` [rows, names], coefficients 0 or larger, calibrated.

    A feature that would count against its own evidence (a negative coefficient) is left out, the most
    negative first, and the rest fitted again; so is one that never varies. Where none is left, every pair gets
    the share that is true. The second line is Platt's (1999).
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0)
    kept = [place for place in range(len(names)) if scale[place] > _CONSTANT]
    while kept:
        standard = (features[:, kept] - mean[kept]) / scale[kept]
        fitted = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000).fit(standard, is_true, weights)
        coefficients = fitted.coef_[0]
        if (coefficients >= 0).all():
            line = LogisticRegression(C=np.inf, max_iter=1000)
            line.fit(fitted.decision_function(standard)[:, None], is_true)
            weighted = [
                Weight(names[place], float(mean[place]), float(scale[place]), float(coefficient))
                for place, coefficient in zip(kept, coefficients, strict=True)
            ]
            slope, shift = float(line.coef_[0][0]), float(line.intercept_[0])
            return LinearModel(tuple(weighted), float(fitted.intercept_[0]), slope, shift)
        del kept[int(np.argmin(coefficients))]
    return LinearModel((), float(np.log(is_true.mean() / (1 - is_true.mean()))))


def _folds(evidence: pa.Table) -> NDArray[np.int64]:
    """int64 [rows]: the fold of the pair's image; images take turns in the order of their ids."""
    images = pc.unique(evidence["id"]).sort()
    return np.asarray(pc.index_in(evidence["id"], value_set=images).to_numpy()) % FOLDS
