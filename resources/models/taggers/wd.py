"""WD taggers, as SmilingWolf publishes them: an ONNX file and the tags beside it, with the categories of Danbooru."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import (
    Device,
    Layout,
    ModelUnavailableError,
    checkpoint_directory,
    content_hash,
)
from resources.models.onnx_files import onnx_session
from resources.models.taggers.spec import AskedTag, TaggerSpec
from resources.models.taggers.tag_list import TagList

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
WEIGHTS = "model.onnx"
TAGS = "selected_tags.csv"
FILES = Layout(TAGS, (WEIGHTS,))
CATEGORIES = {"0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta", "9": "rating"}
"""Danbooru's numbers."""
THRESHOLDS = {"character": 0.85, "rating": 0.5}
"""Of a category, as its makers' own program begins with them."""
GENERAL_THRESHOLD = 0.35
_WHITE = 255
_WORD = re.compile(r"[^\W_]{2}")


class WdTagger:
    """A WD tagger: `model` is its id on the hub, or a directory that holds both files.

    Raises ModelUnavailableError where there are none, and at the first image where they do not belong together.
    """

    def __init__(self, spec: TaggerSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.directory = checkpoint_directory(spec, FILES)
        if not (self.directory / WEIGHTS).is_file():
            raise ModelUnavailableError(f"{self.directory} holds no {WEIGHTS}: fetch the repository again")
        self.fingerprint = fingerprint(code=CODE_VERSION, weights=content_hash(self.directory, FILES))

    def load(self) -> None:
        _ = self._side_px

    @cached_property
    def tag_list(self) -> TagList:
        """Raises ModelUnavailableError where a column is missing or a category has no number of Danbooru's."""
        path = self.directory / TAGS
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            names = tuple(readable(row["name"]) for row in rows)
            categories = tuple(CATEGORIES[row["category"]] for row in rows)
        except (KeyError, TypeError) as error:
            raise ModelUnavailableError(
                f"{path}: the columns name and category are wanted, and categories "
                f"{', '.join(CATEGORIES)} ({error})"
            ) from error
        of_category = {} if self.spec.threshold else THRESHOLDS
        default = self.spec.threshold or GENERAL_THRESHOLD
        thresholds = np.array([of_category.get(category, default) for category in categories], np.float32)
        return TagList(names, thresholds, categories)

    def score(
        self, images: Sequence[Image.Image], asked: tuple[AskedTag, ...] | None = None
    ) -> NDArray[np.float32]:
        """float32 [images, tags], 0..1, of its own tags: see `Tagger`."""
        if asked is not None:
            raise ValueError("a WD tagger knows its own tags alone")
        side, (given,), tags = self._side_px, self._session.get_inputs(), len(self.tag_list.names)
        size = given.shape[0] if isinstance(given.shape[0], int) else self.spec.batch_size
        parts = []
        for start in range(0, len(images), size):
            pixels = np.stack([seen(image, side) for image in images[start : start + size]])
            missing = size - len(pixels) if isinstance(given.shape[0], int) else 0
            filled = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.float32)])
            (found,) = self._session.run(None, {given.name: filled})
            if found.shape[1] != tags:
                raise ModelUnavailableError(
                    f"{self.directory / TAGS} has {tags} tags, and {WEIGHTS} gives {found.shape[1]} scores: take both "
                    "from one repository"
                )
            parts.append(found[: len(pixels)])
        return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, tags), np.float32)

    @cached_property
    def _session(self) -> Any:
        return onnx_session(self.directory / WEIGHTS, self.spec.name, self.device)

    @cached_property
    def _side_px(self) -> int:
        """Raises ModelUnavailableError where the file takes no square pictures, [batch, side, side, 3]."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or not isinstance(shape[1], int):
            raise ModelUnavailableError(
                f"{self.directory / WEIGHTS} takes {[given.shape for given in inputs]}, where a WD tagger takes one square "
                "picture of three colours, [batch, side, side, 3]"
            )
        side: int = shape[1]
        return side


def seen(image: Image.Image, side: int) -> NDArray[np.float32]:
    """What the model sees: [side, side, 3], blue, green, red, 0..255: the image in the middle of a white square."""
    from PIL import Image as Pillow

    picture = image.convert("RGBA")
    longest = max(picture.size)
    square = Pillow.new("RGBA", (longest, longest), (_WHITE,) * 4)
    corner = ((longest - picture.width) // 2, (longest - picture.height) // 2)
    square.alpha_composite(picture, corner)
    resized = square.convert("RGB")
    if longest != side:
        resized = resized.resize((side, side), Pillow.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(resized, np.float32)[:, :, ::-1])


def readable(name: str) -> str:
    """A tag in words: underscores are spaces, but for those of a face made of signs (`^_^`, `0_0`)."""
    return name.replace("_", " ") if _WORD.search(name) else name
