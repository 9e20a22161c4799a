"""From evidence to one probability: a linear model that can be read, or a rule where none was fitted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.encoders.heads import sigmoid
from vistag_assets.tags.evidence import SOURCES, Source, is_there, only

FEATURES_VERSION = 2
"""To be raised when a feature is computed in another way: fitted coefficients are of no use then."""
LOGIT_LIMIT = 12.0
LEAST_SILENT_LOGIT = -LOGIT_LIMIT
"""What a silent source counts as: as if it had been asked and had said no with all its weight."""

OF_BOXES: frozenset[Source] = frozenset({"regions", "region_captions"})
"""Sources that have nothing to say of an image without regions."""
ANY_FACET = "any"

Floats = NDArray[np.float64]
PRIOR_VERSION = "prior-1"


class FusionError(ValueError):
    """A fusion that is not there, is damaged, or was fitted for other sources; the message names the file."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A number 0 or larger (a logit: any) that never falls when its evidence grows."""

    name: str
    source: Source
    of: Callable[[pa.Table], Floats]
    """evidence -> [rows]"""


def _logit_of_probability(column: str) -> Callable[[pa.Table], Floats]:
    return lambda evidence: _clipped(logit(_numbers(evidence, column, 0.0)))


def _raw_logit(column: str) -> Callable[[pa.Table], Floats]:
    return lambda evidence: _clipped(_numbers(evidence, column, LEAST_SILENT_LOGIT))


def _plain(column: str) -> Callable[[pa.Table], Floats]:
    return lambda evidence: _numbers(evidence, column, 0.0)


FEATURES = (
    Feature("global_probability", "global", _logit_of_probability("global_probability")),
    Feature("global_logit", "global", _raw_logit("global_logit")),
    Feature("calibrated", "global", _plain("calibrated")),
    Feature("detected", "regions", lambda evidence: is_there(evidence, "detector_score").astype(float)),
    Feature("detector_score", "regions", _plain("detector_score")),
    Feature("region_probability", "regions", _logit_of_probability("region_probability")),
    Feature("region_logit", "regions", _raw_logit("region_logit")),
    Feature("confirmation", "regions", _plain("confirmation")),
    Feature("crop_probability", "regions", _logit_of_probability("crop_probability")),
    Feature("crop_logit", "regions", _raw_logit("crop_logit")),
    Feature("keyword", "vlm", lambda evidence: is_there(evidence, "vlm_logprob").astype(float)),
    Feature(
        "keyword_probability", "vlm", lambda evidence: np.exp(_numbers(evidence, "vlm_logprob", -np.inf))
    ),
    Feature("caption_mention", "vlm", _plain("caption_mention")),
    Feature(
        "region_named",
        "region_captions",
        lambda evidence: is_there(evidence, "region_caption_score").astype(float),
    ),
    Feature("region_caption_score", "region_captions", _plain("region_caption_score")),
    Feature("ocr_score", "ocr", _plain("ocr_score")),
    Feature("tagger_probability", "tagger", _logit_of_probability("tagger_probability")),
    Feature("tagger_score", "tagger", _plain("tagger_score")),
)
"""Probabilities enter as logits, in [-12, 12]; a silent source as the least it can say.

A calibrated probability knows how frequent its concept is, the raw logit does not: between the two the fit
decides how much a rare concept is held against itself. `confirmation`: a box and its match in agreement.
"""


def features_of(sources: Collection[Source]) -> tuple[Feature, ...]:
    return tuple(feature for feature in FEATURES if feature.source in sources)


def feature_matrix(evidence: pa.Table, features: Sequence[Feature]) -> Floats:
    """[rows, features]"""
    columns = [feature.of(evidence) for feature in features]
    return np.stack(columns, axis=1) if columns else np.empty((evidence.num_rows, 0))


class Fusion(Protocol):
    """A way to fuse. `fuse` is how it is called."""

    @property
    def version(self) -> str: ...
    def probabilities(self, evidence: pa.Table, sources: frozenset[Source]) -> Floats:
        """float64 [rows], 0..1, of evidence in which only `sources` speak."""
        ...


def fuse(evidence: pa.Table, fusion: Fusion, sources: Collection[Source]) -> pa.Table:
    """The evidence of `sources` alone with a column `probability` (float32, 0..1); other pairs are left out.

    Leaving a source out is not to treat it as silent: a fitted fusion has a model for each set of sources.
    Pairs of an image without regions, and those that no box can show, are fused without what boxes say.
    """
    chosen = frozenset(sources)
    evidence = only(evidence, chosen)
    probability = np.zeros(evidence.num_rows)
    by_boxes = has_boxes(evidence)
    for heard, part in ((chosen, by_boxes), (chosen - OF_BOXES, ~by_boxes)):
        if part.any():
            probability[part] = fusion.probabilities(evidence.filter(pa.array(part)), heard)
    return evidence.append_column("probability", pa.array(probability, pa.float32()))


def has_boxes(evidence: pa.Table) -> NDArray[np.bool_]:
    """bool [rows]: whether `regions` says anything of the pair."""
    return np.asarray(is_there(evidence, "detector_score") | is_there(evidence, "crop_logit"))


@dataclass(frozen=True, slots=True)
class NoisyOr:
    """For a tier without a fitted fusion: one minus the product of what each voice leaves open.

    The voices are the calibrated global probability, the match probability of the best box of the concept
    times the detector's score, the VLM's keyword and its caption of a crop by the probability of their tokens,
    the text that was read, and the tagger's score, one half where its makers take the tag for seen. `trust`, 0..1, is
    what the VLM's, the text's and the tagger's word counts at most. It takes the voices for
    independent, which they are not, so it is too sure of itself: fit one (`vistag_assets.tags.fusion_fit`).
    """

    version: str = PRIOR_VERSION
    trust: float = 0.5

    def probabilities(self, evidence: pa.Table, sources: frozenset[Source]) -> Floats:
        keyword = np.exp(_numbers(evidence, "vlm_logprob", -np.inf))
        voices = {
            "global": [_numbers(evidence, "global_probability", 0.0)],
            "regions": [_numbers(evidence, "confirmation", 0.0)],
            "vlm": [self.trust * np.maximum(keyword, _numbers(evidence, "caption_mention", 0.0))],
            "region_captions": [self.trust * _numbers(evidence, "region_caption_score", 0.0)],
            "ocr": [self.trust * _numbers(evidence, "ocr_score", 0.0)],
            "tagger": [self.trust * _numbers(evidence, "tagger_probability", 0.0)],
        }
        left_open = np.ones(evidence.num_rows)
        for source in sources:
            for voice in voices[source]:
                left_open *= 1 - np.clip(voice, 0, 1)
        return 1 - left_open


@dataclass(frozen=True, slots=True)
class Weight:
    """One feature of a linear model; `coefficient` >= 0 is per standard deviation (`scale`) from `mean`."""

    feature: str
    mean: float
    scale: float
    coefficient: float


@dataclass(frozen=True, slots=True)
class LinearModel:
    """`z = intercept + sum of coefficient * (feature - mean) / scale`; probability `sigmoid(slope * z + shift)`.

    The first line ranks; the second, fitted without weights, makes a probability of it and is monotone
    (slope > 0), so that it cannot change the order.
    """

    weights: tuple[Weight, ...]
    intercept: float
    slope: float = 1.0
    shift: float = 0.0

    def scores(self, features: Mapping[str, Floats]) -> Floats:
        """z of features [rows] by name; one number where the model has no weights."""
        parts = [w.coefficient * (features[w.feature] - w.mean) / w.scale for w in self.weights]
        return np.asarray(np.sum(parts, axis=0) + self.intercept, dtype=np.float64)

    def probabilities(self, features: Mapping[str, Floats]) -> Floats:
        """float64 [rows], 0..1, of features [rows] by name."""
        return sigmoid(self.slope * self.scores(features) + self.shift).astype(np.float64)


@dataclass(frozen=True, slots=True)
class FittedFusion:
    """For each set of sources a linear model a facet, and what they were fitted on.

    Facets without a model of their own share that of `ANY_FACET`. `ocr` has a share in each model and is in no
    key: text is read in few images and names a concept in fewer, so that having no reader and having read
    nothing are the same.
    """

    models: Mapping[frozenset[Source], Mapping[str, LinearModel]]
    fitted_on: Mapping[str, Any]
    """what a reader of the file wants to know: corpus, figures, models' fingerprints"""
    path: str = ""

    @property
    def version(self) -> str:
        return f"fitted-{fingerprint(features=FEATURES_VERSION, models=_as_json(self.models))}"

    def probabilities(self, evidence: pa.Table, sources: frozenset[Source]) -> Floats:
        """Raises FusionError where no model was fitted for these sources."""
        models = self.models.get(sources - {"ocr"})
        if models is None:
            raise FusionError(
                f"{self.path or 'this fusion'} has no model of the sources {_key(sources - {'ocr'})}, only of "
                f"{', '.join(map(_key, self.models))}: fit it again with them (make fit-fusion)"
            )
        probability = np.zeros(evidence.num_rows)
        facets = np.array([f if f in models else ANY_FACET for f in evidence["facet"].to_pylist()])
        for facet in set(facets.tolist()):
            own = facets == facet
            probability[own] = _probabilities(models[facet], evidence.filter(pa.array(own)))
        return probability


def load_fusion(path: str | None) -> Fusion:
    """The fusion of a JSON file; the noisy-or where there is none to be read. Raises FusionError."""
    return read_fusion(Path(path)) if path else NoisyOr()


def read_fusion(path: Path) -> FittedFusion:
    """Raises FusionError, naming the file, where it is not there or does not hold what it should."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["features_version"] != FEATURES_VERSION:
            raise FusionError(
                f"{path}: fitted on features of version {content['features_version']}, which are of version "
                f"{FEATURES_VERSION} now: fit it again (make fit-fusion)"
            )
        models = {
            _sources(key): {facet: _model(model) for facet, model in by_facet.items()}
            for key, by_facet in content["models"].items()
        }
        for sources, by_facet in models.items():
            if ANY_FACET not in by_facet:
                raise ValueError(f"{_key(sources)} has no model of {ANY_FACET!r}")
        return FittedFusion(models, content["fitted_on"], str(path))
    except FileNotFoundError:
        raise FusionError(
            f"{path} does not exist: fit it (make fit-fusion), or take `fusion:` out of the tier"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, FusionError):
            raise
        raise FusionError(
            f"{path}: not a fitted fusion ({error!r}): fit it again (make fit-fusion)"
        ) from error


def fusion_json(fusion: FittedFusion) -> str:
    """As `read_fusion` reads it: indented, keys in a fixed order, every feature with its coefficient."""
    content = {
        "version": fusion.version,
        "features_version": FEATURES_VERSION,
        "fitted_on": dict(fusion.fitted_on),
        "models": _as_json(fusion.models),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def rounded(model: LinearModel, digits: int = 6) -> LinearModel:
    """The model with numbers short enough to read; what is stored is what is used."""
    weights = tuple(
        Weight(w.feature, round(w.mean, digits), round(w.scale, digits), round(w.coefficient, digits))
        for w in model.weights
    )
    numbers = {name: round(getattr(model, name), digits) for name in ("intercept", "slope", "shift")}
    return replace(model, weights=weights, **numbers)


def logit(probability: Floats) -> Floats:
    """`log(p / (1 - p))`, within +-LOGIT_LIMIT."""
    edge = 1 / (1 + math.exp(LOGIT_LIMIT))
    p = np.clip(probability, edge, 1 - edge)
    return np.log(p / (1 - p))


def _probabilities(model: LinearModel, evidence: pa.Table) -> Floats:
    names = {weight.feature for weight in model.weights}
    features = {f.name: f.of(evidence) for f in FEATURES if f.name in names}
    return np.broadcast_to(model.probabilities(features), evidence.num_rows)


def _as_json(models: Mapping[frozenset[Source], Mapping[str, LinearModel]]) -> dict[str, Any]:
    return {
        _key(sources): {facet: asdict(model) for facet, model in by_facet.items()}
        for sources, by_facet in models.items()
    }


def _model(content: dict[str, Any]) -> LinearModel:
    known = {feature.name for feature in FEATURES}
    weights = tuple(Weight(**weight) for weight in content["weights"])
    for weight in weights:
        numbers = (weight.mean, weight.scale, weight.coefficient)
        if weight.feature not in known or not all(map(math.isfinite, numbers)):
            raise ValueError(f"unknown feature or number that is not finite: {weight}")
        if weight.scale <= 0 or weight.coefficient < 0:
            raise ValueError(f"scale must be above 0 and coefficient not below: {weight}")
    model = LinearModel(weights, content["intercept"], content["slope"], content["shift"])
    if not (math.isfinite(model.intercept) and math.isfinite(model.shift) and 0 < model.slope < math.inf):
        raise ValueError("intercept and shift must be finite, slope above 0")
    return model


def _key(sources: Collection[Source]) -> str:
    return "+".join(source for source in SOURCES if source in sources)


def _sources(key: str) -> frozenset[Source]:
    sources = frozenset(source for source in SOURCES if source in key.split("+"))
    if _key(sources) != key:
        raise ValueError(f"{key!r} names no sources; known: {', '.join(SOURCES)}")
    return sources


def _numbers(evidence: pa.Table, column: str, silent: float) -> Floats:
    values = pc.fill_null(pc.cast(evidence[column], pa.float64()), silent)
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _clipped(values: Floats) -> Floats:
    return np.clip(values, -LOGIT_LIMIT, LOGIT_LIMIT)
