"""Held-out honesty: what the models of a tier saw in training is no test of them.

A checkpoint says what it saw in a file `training.json` beside its weights:
```
{"splits_seen": ["coco-2017/train"], "images_seen": ["<SHA-256 or vistag id of a file>", "chairs/0001.jpg"]}
```
Both keys may be absent; `splits_seen` may also be an object whose keys are the splits. A ground truth says where
its images come from in `info.split` (one name or a list). A model without such a file says nothing, and nothing
speaks against it: the metadata of the evaluation lists those models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from evaluation.from_lake import EvaluationError
from resources.home import Home
from resources.models.checkpoints import ModelSpec
from resources.models.tiers import Tier, model_specs
from vistag_assets.whole_image import home_adapter

TRAINING_CARD = "training.json"
_ID_DIGITS = 32
_SHOWN = 3


class SeenInTraining(EvaluationError):
    """Images of the ground truth were training data of a model; the message says which, and what to do."""


class TrainingCardError(EvaluationError):
    """A training card cannot be read; the message names file and field."""


@dataclass(frozen=True, slots=True)
class TrainingCard:
    """What one model saw in training."""

    role: str
    path: Path
    splits: frozenset[str]
    """names in lower case"""
    images: frozenset[str]
    """vistag ids (32 hex digits) and file names"""


def read_card(role: str, path: Path) -> TrainingCard | None:
    """The card of a model, None where there is no such file.

    Raises:
        TrainingCardError: it is not JSON, or a field is not a list of strings.
    """
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TrainingCardError(f"{path}: not JSON ({error}); correct it or remove it") from error
    if not isinstance(card, dict):
        raise TrainingCardError(f"{path}: expected an object with splits_seen and images_seen")
    images = _names(card, "images_seen", path)
    return TrainingCard(
        role,
        path,
        frozenset(name.lower() for name in _names(card, "splits_seen", path)),
        frozenset(name[:_ID_DIGITS].lower() if _is_sha256(name) else name for name in images),
    )


def cards_of(tier: Tier, home: Home | None = None) -> list[TrainingCard]:
    """The cards of the models of a tier, of its fusion, and of the home's adapter, as far as they have one on this machine.

    Nothing is fetched for it: a model that a server or a service runs need not be here. Raises TrainingCardError.
    """
    paths = {role: _card_path(spec) for role, spec in model_specs(tier).items()}
    if tier.fusion:
        paths["fusion"] = Path(tier.fusion).parent / TRAINING_CARD
    if home:
        paths["adapter"] = home.root / home_adapter.FOLDER / home_adapter.CARD
    cards = [read_card(role, path) for role, path in paths.items() if path]
    return [card for card in cards if card is not None]


def _card_path(spec: ModelSpec) -> Path | None:
    """Where the card of a model would be; None where the hub's cache has none of it."""
    if Path(spec.model).is_absolute():
        return Path(spec.model) / TRAINING_CARD
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(spec.model, TRAINING_CARD, revision=spec.revision)
    return Path(cached) if isinstance(cached, str) else None


def refuse_seen(cards: Sequence[TrainingCard], splits: Sequence[str], images: pa.Table) -> None:
    """Raise unless every image is new to every model.

    Args:
        cards: of the models of the tier.
        splits: where the images come from, as the ground truth says; empty where it says nothing.
        images: `id`, `file_name`, those that are about to be evaluated.

    Raises:
        SeenInTraining: a split or an image is training data of a model.
    """
    problems = []
    for card in cards:
        model = f"{card.role} ({card.path.parent.name}/{card.path.name})"
        if seen := sorted(split for split in splits if split.lower() in card.splits):
            problems.append(
                f"{model} was trained on the split {', '.join(seen)}, which the ground truth is of"
            )
        names = zip(images["id"].to_pylist(), images["file_name"].to_pylist(), strict=True)
        trained = sorted({file_name for id_, file_name in names if {id_, file_name} & card.images})
        if trained:
            shown = ", ".join(trained[:_SHOWN]) + (" and more" if len(trained) > _SHOWN else "")
            problems.append(f"{model} was trained on {len(trained)} of the images: {shown}")
    if problems:
        lines = "\n  ".join(problems)
        raise SeenInTraining(
            f"Not evaluated: the recall of images that a model was trained on says nothing about new ones.\n  {lines}\n"
            "Give a ground truth of images that no model of the tier has seen, or name other models in the tier."
        )


def _names(card: dict[str, Any], field: str, path: Path) -> list[str]:
    names = card.get(field, [])
    names = [*names] if isinstance(names, dict) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TrainingCardError(f"{path}: {field}: expected a list of names, found {str(names)[:60]}")
    return names


def _is_sha256(name: str) -> bool:
    return len(name) in (_ID_DIGITS, 2 * _ID_DIGITS) and not set(name.lower()) - set("0123456789abcdef")
