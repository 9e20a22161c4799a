"""What the exports of the bundled models share: the end of a training, and a checkpoint as `transformers` reads it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demo.world.scene import Split
from resources.models.checkpoints import make_model
from resources.models.encoders import Encoder, EncoderSpec
from taxonomy import starter_taxonomy
from vistag_assets.whole_image.scoring import unit_rows

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def bundled_encoder(checkpoint: Path) -> Encoder:
    """The encoder of a checkpoint, as a tier has it."""
    spec = EncoderSpec(family="siglip", model=str(checkpoint.resolve()), batch_size=50, licence="Apache-2.0")
    return make_model(spec, "cpu")


def concept_vectors(encoder: Encoder, concepts: Sequence[str]) -> NDArray[np.float32]:
    """float32 [concepts, width]: the unit vector that the encoder's text tower gives each concept."""
    taxonomy = starter_taxonomy()
    phrases = [taxonomy.phrases(taxonomy.by_id[concept]) for concept in concepts]
    return unit_rows(np.stack([encoder.embed_texts(of_one).mean(axis=0) for of_one in phrases]))


def finished_state(path: Path, steps: int | None = None) -> dict[str, Any]:
    """The state that a training of `steps` (its own recipe's, if None) ended with. Raises SystemExit where it did not end."""
    stored: dict[str, Any] = torch.load(path, weights_only=True)
    steps = steps or stored["recipe"]["steps"]
    if stored["step"] != steps:
        raise SystemExit(f"{path} stands at step {stored['step']} of {steps}: finish its training first")
    return stored


def write_checkpoint(out: Path, model: Any, processor: Any) -> float:
    """Write the model, weights as float16, and its processor; returns its parameters in millions."""
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    processor.save_pretrained(out)
    return sum(p.numel() for p in model.parameters()) / 1e6


def write_cards(out: Path, card: str, seen: tuple[Split, ...], training: Mapping[str, Any]) -> None:
    """Write the model card and `training.json`, which says what splits were seen, and say how large all of it is."""
    (out / "README.md").write_text(card, encoding="utf-8")
    told = {**training, "splits_seen": {split.name: int(split) for split in seen}}
    (out / "training.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    for file in out.iterdir():
        file.chmod(0o644)
    print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")
