"""DINO-X and Grounding DINO 1.5 and 1.6: no weights, an API that images are sent to.

Ren et al., DINO-X (2024); Ren et al., Grounding DINO 1.5 (2024). The answer is of a model that its owner may change:
a fingerprint knows its name and the version of the API, and not its weights.
"""

from __future__ import annotations

import base64
import io
import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.boxes import clip, from_corners
from resources.fingerprint import fingerprint
from resources.http_client import excerpt, require_address
from resources.models.checkpoints import Device, ModelUnavailableError
from resources.models.detectors.deepdataspace import API_VERSION, DeepDataSpace, Patience, TaskError
from resources.models.detectors.detections import Detections
from resources.models.detectors.names import normalised, places_of
from resources.models.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
KEY_VARIABLE = "DINOX_API_KEY"
ENDPOINT_VARIABLE = "DDS_CLOUDAPI_ENDPOINT"
_ENDPOINT = "https://api.deepdataspace.com"
_PATHS = {
    "DINO-X-1.0": f"/{API_VERSION}/task/dinox/detection",
    "GroundingDino-1.6-Pro": f"/{API_VERSION}/task/grounding_dino/detection",
    "GroundingDino-1.5-Pro": f"/{API_VERSION}/task/grounding_dino/detection",
    "GroundingDino-1.5-Edge": f"/{API_VERSION}/task/grounding_dino/detection",
}
_LONGEST_SIDE = 1536
_JPEG_QUALITY = 95
_OVERLAP = 0.8
_PATIENCE = Patience()
_log = logging.getLogger(__name__)


class DetectionError(RuntimeError):
    """Images that the API gave nothing for; the message names each by its place in the call, and what happened."""

    def __init__(self, failures: dict[int, str], asked: int) -> None:
        self.failures = failures
        reasons = Counter(failures.values())
        super().__init__(
            f"{len(failures)} of {asked} questions to the API have no answer: "
            + "; ".join(
                f"{reason} (image {', '.join(str(place) for place in failures if failures[place] == reason)})"
                for reason in reasons
            )
        )


class DinoXDetector:
    """A model behind the API, asked for `batch_size` images at a time. The environment holds its key.

    `load` raises ModelUnavailableError without a key or for a model that the API does not have.
    """

    def __init__(self, spec: DetectorSpec, device: Device, patience: Patience = _PATIENCE) -> None:
        self.spec = spec
        self.device = device
        self._patience = patience
        self.fingerprint = fingerprint(
            code=CODE_VERSION, family=spec.family, model=spec.model, api=API_VERSION, min_score=spec.min_score
        )

    def load(self) -> None:
        self._client()

    def _client(self) -> DeepDataSpace:
        if self.spec.model not in _PATHS:
            raise ModelUnavailableError(
                f"model: the API has no {self.spec.model}; known: {', '.join(_PATHS)}"
            )
        if not (token := os.environ.get(KEY_VARIABLE)):
            raise ModelUnavailableError(
                f"{self.spec.model} is an API: put its key into the environment variable {KEY_VARIABLE}. "
                "Images are sent to its owner"
            )
        if not token.isascii() or not token.isprintable():
            raise ModelUnavailableError(
                f"{KEY_VARIABLE}: this is no key: it holds a blank or a strange letter"
            )
        try:
            endpoint = require_address(os.environ.get(ENDPOINT_VARIABLE, _ENDPOINT))
        except ValueError as error:
            raise ModelUnavailableError(f"{ENDPOINT_VARIABLE}: {error}") from error
        return DeepDataSpace(endpoint, token, self._patience)

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image. Raises DetectionError when all are asked and some have no answer."""
        client = self._client()
        found = [Detections.none("") for _ in images]
        failures: dict[int, str] = {}
        places = [place for place, chunk in enumerate(phrases) if places_of(chunk).keys() - {""}]
        sent = {id(image): _sent(image) for image in (images[place] for place in places)}

        def ask(place: int) -> None:
            try:
                found[place] = self._ask(client, *sent[id(images[place])], phrases[place])
            except TaskError as error:
                failures[place] = str(error)

        with ThreadPoolExecutor(self.spec.batch_size) as pool:
            list(pool.map(ask, places))
        if failures:
            raise DetectionError(dict(sorted(failures.items())), len(places))
        return found

    def _ask(
        self, client: DeepDataSpace, data_uri: str, size: tuple[int, int], phrases: Sequence[str]
    ) -> Detections:
        asked = {name: places for name, places in places_of(phrases).items() if name}
        prompt = ".".join(asked)
        result = client.run(
            _PATHS[self.spec.model],
            {
                "model": self.spec.model,
                "image": data_uri,
                "prompt": {"type": "text", "text": prompt},
                "targets": ["bbox"],
                "bbox_threshold": self.spec.min_score,
                "iou_threshold": _OVERLAP,
            },
        )
        return _read(result, asked, size, prompt)


def _sent(image: Image.Image) -> tuple[str, tuple[int, int]]:
    """What is sent of an image, as a data URI, and its width and height in pixels."""
    sent = image.convert("RGB")
    sent.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    sent.save(file, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), sent.size


def _read(
    result: dict[str, Any], asked: dict[str, list[int]], size: tuple[int, int], prompt: str
) -> Detections:
    """`result` has objects of category, score and bbox (left, top, right, bottom in pixels of the sent image)."""
    try:
        objects = [(normalised(one["category"]), one["bbox"], one["score"]) for one in result["objects"]]
        with np.errstate(over="ignore"):  # what is too large is infinite, and refused
            corners = np.array([bbox for _, bbox, _ in objects], np.float32).reshape(-1, 4)
        all_scores = np.array([score for *_, score in objects], np.float32).reshape(-1)
        if len(corners) != len(objects) or len(all_scores) != len(objects):
            raise ValueError("a box or a score is of several parts")
        if not (np.isfinite(corners).all() and ((all_scores >= 0) & (all_scores <= 1)).all()):
            raise ValueError("a box without end, or a score that is not 0 to 1")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TaskError(excerpt(f"the result is not as published: {error!r}")) from error
    if unknown := sorted({name for name, _, _ in objects} - asked.keys()):
        names = excerpt(", ".join(unknown[:5]))
        _log.warning("the API names what it was not asked for, which is left out: %s", names)
    scale = np.array([*size, *size], np.float32)
    boxes, inside = clip(from_corners(np.divide(corners, scale, dtype=np.float32)))
    rows = [
        (number, place)
        for number, (name, _, _) in enumerate(objects)
        if inside[number]
        for place in asked.get(name, [])
    ]
    chosen = [number for number, _ in rows]
    scores = all_scores[chosen]
    return Detections(
        boxes[chosen].reshape(-1, 4), np.array([place for _, place in rows], np.int64), scores, scores, prompt
    )
