"""The adapter of a home: fitted to what people decided and to labelled pictures, and used by every later run.

It lies in a folder of the home: `adapter.npz` (weights and what they are for) and `training.json`, the training card by
which evaluations refuse the pictures that it was fitted to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.home import Home
from resources.lake.files import replace_file
from resources.models.encoders import Encoder
from resources.models.encoders.heads import sigmoid
from vistag_assets.whole_image.adapters import Linear

FOLDER, FILE, CARD = "adapter", "adapter.npz", "training.json"
VERSION = 1
_ABOUT = (
    "encoder",
    "policy",
    "pictures",
    "examples",
    "decisions",
    "folders",
    "known",
    "slope",
    "shift",
    "served_by",
)


class AdapterError(ValueError):
    """Too little to fit an adapter to, or a file that is none; the message says what to do."""


@dataclass(frozen=True)
class HomeAdapter:
    """Log odds of concepts from the embeddings of one encoder."""

    encoder: str
    """fingerprint; with another encoder the adapter is not used"""
    concept_ids: list[str]
    linear: Linear
    """a row a concept of `concept_ids`; of the mean and the spread of the encoder's own log odds"""
    policy: dict[str, str]
    """how many examples -> which remedy serves"""
    pictures: int
    """that it was fitted to"""
    examples: int
    decisions: int
    """the last line of the log that it knows; 0 where it knows none"""
    folders: list[str]
    """whose pictures it was fitted to"""
    known: list[list[str]]
    """image id and concept id of each tag that was known to be true besides"""
    slope: float = 1.0
    """`sigmoid(slope * log odds + shift)` is a probability; adapters of before this was kept are calibrated themselves"""
    shift: float = 0.0
    served_by: list[int] = field(default_factory=list)
    """of each concept the place in `policy` of what serves it; none in adapters of before this was kept"""

    @cached_property
    def version(self) -> str:
        weights = self.linear.weights.tobytes().hex(), self.linear.bias.tobytes().hex()
        line = {"line": (self.slope, self.shift)} if (self.slope, self.shift) != (1.0, 0.0) else {}
        return fingerprint(
            version=VERSION, encoder=self.encoder, concepts=self.concept_ids, weights=weights, **line
        )

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """0..1 `[images, concepts]` of `concept_ids`."""
        return sigmoid(self.slope * self.linear.log_odds(embeddings) + self.shift)

    def concepts_by_remedy(self) -> dict[str, list[str]]:
        """What serves, for how many examples -> ids of the concepts that it serves; nothing where that was not kept."""
        names = [f"{remedy} ({examples})" for examples, remedy in self.policy.items()]
        served: dict[str, list[str]] = {}
        for concept_id, place in zip(self.concept_ids, self.served_by, strict=False):
            served.setdefault(names[place], []).append(concept_id)
        return served

    @property
    def name(self) -> str:
        return f"{self.examples:,} examples in {self.pictures:,} pictures"


def write_home_adapter(home: Home, adapter: HomeAdapter, images: Iterable[str]) -> None:
    """The card first: weights never lie there without it."""
    folder = home.root / FOLDER
    folder.mkdir(exist_ok=True)
    with replace_file(folder / CARD) as file:
        file.write(json.dumps({"images_seen": sorted(images)}, indent=1).encode() + b"\n")
    about = {name: getattr(adapter, name) for name in _ABOUT}
    content = BytesIO()
    np.savez(
        content,
        about=json.dumps(about),
        concept_ids=np.array(adapter.concept_ids, dtype=str),
        weights=adapter.linear.weights.astype(np.float32),
        bias=adapter.linear.bias.astype(np.float32),
    )
    with replace_file(folder / FILE) as file:
        file.write(content.getvalue())


def read_home_adapter(home: Home, encoder: Encoder) -> HomeAdapter | None:
    """The home's, if it was fitted for this encoder. Raises AdapterError for a file that is none."""
    found = stored_home_adapter(home)
    return found if found and found.encoder == encoder.fingerprint else None


def stored_home_adapter(home: Home) -> HomeAdapter | None:
    """The home's, for whatever encoder it was fitted. Raises AdapterError for a file that is none."""
    path = home.root / FOLDER / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            linear = Linear(kept["weights"], kept["bias"])
            concept_ids = [str(id_) for id_ in kept["concept_ids"]]
            if linear.weights.ndim != 2 or not len(concept_ids) == len(linear.weights) == len(linear.bias):
                raise ValueError("its arrays do not belong together")
            return HomeAdapter(concept_ids=concept_ids, linear=linear, **json.loads(str(kept["about"])))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise AdapterError(f"{path}: {error}. Delete its folder, or run vistag adapt again") from error


def remove_home_adapter(home: Home) -> bool:
    """Whether there was one."""
    there = (home.root / FOLDER / FILE).exists()
    for name in (FILE, CARD):
        (home.root / FOLDER / name).unlink(missing_ok=True)
    return there
