"""Turn a finished training run into the bundled detector: float16 safetensors, processor, model card.

Run after `demo.training.train_detector` by `make train-detector`.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor, SiglipModel

from demo.training.export import CHECKPOINTS, finished_state, write_cards, write_checkpoint
from demo.training.tokenizer import train_phrase_tokenizer
from demo.training.train_detector import IMAGE_PX, TEXT_TOKENS, Recipe, build_model
from demo.world.scene import Split

MODEL_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-object-detection
---
# The detector of the demo tier
An OWLv2 of {parameters:.1f} M parameters at {image_px} px, trained on the procedural world of `demo/world` by
`make train-detector`. Its vision tower starts as that of the demo's encoder. It knows that world and nothing else.

- Training data: scenes of the split `TRAIN` ({train_scenes:,} of them), drawn by the program; no photograph, no person.
- The curve of its training: `demo/training/detector_training.csv`; its recipe: `training.json` beside this card.
"""


def save_checkpoint(state: Path, tokenizer_folder: Path, encoder: Path, recipe: Recipe, out: Path) -> None:
    """Write the trained OWLv2 with its processor and card; weights as float16.

    Raises SystemExit where the training has not come to its end.
    """
    tokenizer = train_phrase_tokenizer([], tokenizer_folder, TEXT_TOKENS)
    model: Owlv2ForObjectDetection = build_model(
        recipe, tokenizer, SiglipModel.from_pretrained(encoder, dtype=torch.float32)
    )
    model.load_state_dict(finished_state(state, recipe.steps)["model"])
    look = Owlv2ImageProcessor(
        size={"height": IMAGE_PX, "width": IMAGE_PX}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    parameters = write_checkpoint(out, model, Owlv2Processor(look, tokenizer))
    card = MODEL_CARD.format(parameters=parameters, image_px=IMAGE_PX, train_scenes=recipe.train_scenes)
    write_cards(out, card, (Split.TRAIN, Split.VALIDATE), {"recipe": asdict(recipe)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, default=Path("demo/.pool/detector"))
    parser.add_argument("--encoder", type=Path, default=CHECKPOINTS / "encoder")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS / "detector")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    arguments = parser.parse_args()
    save_checkpoint(
        arguments.pool / "state.pt",
        arguments.pool / "tokenizer",
        arguments.encoder,
        Recipe(steps=arguments.steps),
        arguments.out,
    )


if __name__ == "__main__":
    main()
