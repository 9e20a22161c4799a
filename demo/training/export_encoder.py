"""Turn a finished training run into the bundled checkpoint: float16 safetensors, processor, calibration, model card.

Run after `demo.training.train_encoder` by `make train-encoder`. The calibration is fitted through the same code that tags a
user's images, on scenes of a split that neither training nor the corpus draws from.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize
from scipy.special import expit
from transformers import SiglipImageProcessor, SiglipProcessor

from demo.training.export import (
    CHECKPOINTS,
    bundled_encoder,
    concept_vectors,
    finished_state,
    write_cards,
    write_checkpoint,
)
from demo.training.tokenizer import train_tokenizer
from demo.training.train_encoder import IMAGE_PX, TEXT_TOKENS, Recipe, build_model
from demo.world.render import render
from demo.world.scene import SceneSampler, Split, drawable_concepts, tag_matrix
from resources.models.encoders import Encoder, Platt

CALIBRATION_SCENES = 4_000
RENDER_PX = 384

MODEL_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
---
# The encoder of the demo tier
A SigLIP of {parameters:.1f} M parameters at {image_px} px, trained from scratch on the procedural world of `demo/world` by
`make train-encoder`. It knows that world and nothing else: on real photographs its tags are nonsense.

- Training data: scenes of the split `TRAIN` ({train_scenes:,} of them), drawn by the program; no photograph, no person.
- Calibration: {calibration_scenes:,} scenes of the split `CALIBRATE`. The demo corpus is the split `CORPUS`; they share no scene.
- The curve of its training: `demo/training/encoder_training.csv`; its recipe: `training.json` beside this card.
"""


CONCEPT_SPREAD = Platt(slope=0.3, intercept=2.5)


def save_checkpoint(state: Path, tokenizer_folder: Path, recipe: Recipe, out: Path) -> None:
    """Write the trained SigLIP with its processor and card; weights as float16."""
    tokenizer = train_tokenizer([], tokenizer_folder, TEXT_TOKENS)
    model = build_model(recipe, tokenizer)
    model.load_state_dict(finished_state(state, recipe.steps)["model"])
    look = SiglipImageProcessor(size={"height": IMAGE_PX, "width": IMAGE_PX})
    card = MODEL_CARD.format(
        parameters=write_checkpoint(out, model, SiglipProcessor(look, tokenizer)),
        image_px=IMAGE_PX,
        train_scenes=recipe.train_scenes,
        calibration_scenes=CALIBRATION_SCENES,
    )
    training = {"recipe": asdict(recipe), "calibration_scenes": CALIBRATION_SCENES}
    write_cards(out, card, (Split.TRAIN, Split.VALIDATE, Split.CALIBRATE), training)


def logits_and_truth(encoder: Encoder, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Raw logits and truth of calibration scenes, [count, concepts] each, in the order of `drawable_concepts()`."""
    concepts = drawable_concepts()
    sampler = SceneSampler(Split.CALIBRATE)
    scenes = [sampler.scene(index) for index in range(count)]
    texts = concept_vectors(encoder, concepts)
    images = []
    for start in range(0, count, 100):
        pictures = [Image.fromarray(render(scene, RENDER_PX).pixels) for scene in scenes[start : start + 100]]
        images.append(encoder.embed_images(pictures))
        print(f"\rlooked at {start + len(pictures):,} of {count:,} calibration scenes", end="", flush=True)
    print()
    return encoder.score_head.logits(np.concatenate(images) @ texts.T), tag_matrix(scenes, concepts)


def fit_line(logits: NDArray[np.float32], truth: NDArray[np.bool_], around: Platt, spread: Platt) -> Platt:
    """The most probable line for logits and truth [n], if it lies `around` one with a normal `spread`.

    A concept with few examples stays near the line of all; a common one finds its own.
    """
    x, positives = logits.astype(np.float64), truth.astype(np.float64)
    centre, width = np.array([around.slope, around.intercept]), np.array([spread.slope, spread.intercept])

    def cost(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z, away = line[0] * x + line[1], (line - centre) / width
        excess = expit(z) - positives
        value = float(np.logaddexp(0, z).sum() - (z * positives).sum() + 0.5 * (away**2).sum())
        return value, np.array([(excess * x).sum(), excess.sum()]) + away / width

    slope, intercept = minimize(cost, centre, jac=True, method="L-BFGS-B").x
    return Platt(float(slope), float(intercept))


def fit_calibration(
    logits: NDArray[np.float32], truth: NDArray[np.bool_], concepts: Sequence[str]
) -> dict[str, Any]:
    """One line over all pairs of image and concept, and a line for every concept near it; as `calibration.json`."""
    overall = fit_line(logits.reshape(-1), truth.reshape(-1), Platt(1.0, 0.0), Platt(10.0, 10.0))
    lines = {
        concept: asdict(fit_line(logits[:, column], truth[:, column], overall, CONCEPT_SPREAD))
        for column, concept in enumerate(concepts)
    }
    return asdict(overall) | {"concepts": lines}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, default=Path("demo/.pool"))
    parser.add_argument("--out", type=Path, default=CHECKPOINTS / "encoder")
    arguments = parser.parse_args()
    save_checkpoint(arguments.pool / "state.pt", arguments.pool / "tokenizer", Recipe(), arguments.out)
    logits, truth = logits_and_truth(bundled_encoder(arguments.out), CALIBRATION_SCENES)
    calibration = fit_calibration(logits, truth, drawable_concepts())
    (arguments.out / "calibration.json").write_text(
        json.dumps(calibration, indent=2) + "\n", encoding="utf-8"
    )
    print(calibration)


if __name__ == "__main__":
    main()
