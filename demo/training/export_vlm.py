"""Turn a finished training run into the bundled vision-language model: float16 safetensors, processor, card, figures.

Run after `demo.training.train_vlm` by `make train-vlm`. The figures in the card are those of the exported files, loaded as a
tier loads them, on scenes of a split that training never saw.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import SiglipConfig

from demo.training.chat import chat_processor, train_chat_tokenizer
from demo.training.export import CHECKPOINTS, finished_state, write_cards, write_checkpoint
from demo.training.language import Region, label_text
from demo.training.train_encoder import IMAGE_PX
from demo.training.train_vlm import ANSWER_TOKENS, Recipe, build_model, named_objects
from demo.world.render import Picture, render
from demo.world.scene import OBJECTS, SceneSampler, SceneSpec, Split, object_tags
from resources.models.vlms import VlmSpec, prompts
from resources.models.vlms.chat import ChatVlm
from resources.models.vlms.description import Description, parse_description
from taxonomy import Taxonomy, starter_taxonomy

FIRST_HELD_OUT = 10_000
"""Training looks at the first scenes of the same split to draw its curve; the figures come from others."""
RENDER_PX = 512
BATCH = 25

MODEL_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# The vision-language model of the demo tier
A LLaVA of {parameters:.1f} M parameters: the vision tower of the demo encoder at {image_px} px, a two-layer projector and
a Llama of {layers} layers of {width}, trained on the procedural world of `demo/world` by `make train-vlm`. It knows that
world and four prompts (`resources/models/vlms/prompts.py`), and nothing else: of real photographs it tells tales.

- Training data: {train_scenes:,} scenes of the split `TRAIN`, drawn by the program; no photograph, no person, no text of others.
- Its recipe and its figures on {scenes:,} scenes it never saw: `training.json`; the curve: `demo/training/vlm_training.csv`.
- What it does least well is copying: it quotes the text of a label rightly in {quoted:.0%} of captions, and {cited:.0%} of
  the regions that it cites are the right ones. The graph holds both against what is known (docs/decisions/0003).
"""


def save_checkpoint(folder: Path, encoder: Path, out: Path) -> tuple[Recipe, list[dict[str, Any]], float]:
    """Write the trained LLaVA of `folder` with its processor, weights as float16.

    Returns the recipe that the run ended by, where it was changed on the way, and its parameters in millions.
    """
    stored = finished_state(folder / "state.pt")
    recipe = Recipe(**stored["recipe"])
    tokenizer = train_chat_tokenizer([], folder / "tokenizer", recipe.vocabulary)
    vision = SiglipConfig.from_pretrained(encoder).to_dict()["vision_config"]
    model = build_model(recipe, tokenizer, vision)
    model.load_state_dict(stored["model"])
    processor = chat_processor(tokenizer, vision["image_size"], vision["patch_size"])
    return recipe, stored["resumed"], write_checkpoint(out, model, processor)


def ask(checkpoint: Path, pictures: Sequence[Image.Image], questions: Sequence[str], most: int) -> list[str]:
    """Answers of at most `most` tokens, greedy, by the engine that answers in a run."""
    spec = VlmSpec(model=str(checkpoint.resolve()), batch_size=BATCH, licence="Apache-2.0")
    return [answer.text for answer in ChatVlm(spec, "cpu").answer(pictures, questions, max_tokens=most)]


def true_regions(scene: SceneSpec, taxonomy: Taxonomy) -> list[Region]:
    """Every thing of a scene as a perfect detector lists it."""
    things = [*(i.concept for i in scene.objects), *(p.concept for p in scene.props)]
    return [(f"r{n}", taxonomy.by_id[concept].pref_label) for n, concept in enumerate(things, start=1)]


def _crops(
    scenes: list[SceneSpec], pictures: list[Picture]
) -> tuple[list[Image.Image], list[frozenset[str]]]:
    crops, truths = [], []
    for scene, picture in zip(scenes, pictures, strict=True):
        objects = {object_tags(item) for item in scene.objects}
        for thing in picture.instances:
            if thing.concepts in objects:
                x, y, w, h = thing.box_xywh
                crops.append(Image.fromarray(picture.pixels).crop((x, y, x + w, y + h)))
                truths.append(frozenset(thing.concepts))
    return crops, truths


def measure(checkpoint: Path, count: int) -> dict[str, float]:
    """How well the exported model answers about `count` held-out scenes of the corpus's own frequencies."""
    taxonomy, sampler = starter_taxonomy(), SceneSampler(Split.VALIDATE)
    scenes = [sampler.scene(FIRST_HELD_OUT + index) for index in range(count)]
    rendered = [render(scene, RENDER_PX) for scene in scenes]
    pictures = [Image.fromarray(picture.pixels) for picture in rendered]
    texts = [label_text(scene) for scene in scenes]
    read = [[text] if text else [] for text in texts]
    asked = [prompts.with_text(prompts.CAPTION, lines) for lines in read]
    captions = ask(checkpoint, pictures, asked, 80)
    tags = ask(checkpoint, pictures, [prompts.TAGS] * count, 80)
    regions = [true_regions(scene, taxonomy) for scene in scenes]
    asked = [
        prompts.with_regions(prompts.with_text(prompts.DESCRIPTION, lines), found)
        for lines, found in zip(read, regions, strict=True)
    ]
    described = ask(checkpoint, pictures, asked, ANSWER_TOKENS)
    crops, true_of_crops = _crops(scenes, rendered)
    phrases = ask(checkpoint, crops, [prompts.REGION] * len(crops), 32)
    for line in (*captions[:4], *tags[:2], *described[:2], *phrases[:4]):
        print(line)

    parsed = [parse_description(answer) for answer in described]
    words = [len(" ".join(claim.text for claim in answer.claims).split()) for answer in parsed if answer]
    said = [taxonomy.labels.concepts_in(line) for line in tags]
    right_tags = sum(len(s & scene.tags) for s, scene in zip(said, scenes, strict=True))
    said_of_crops = [taxonomy.labels.concepts_in(phrase) for phrase in phrases]
    right_of_crops = [s & true for s, true in zip(said_of_crops, true_of_crops, strict=True)]
    named = named_objects(captions, scenes, taxonomy)
    figures = {f"caption_{name}": figure for name, figure in named.items()} | {
        "label_text_quoted": float(np.mean([t in c for t, c in zip(texts, captions, strict=True) if t])),
        "tag_recall": right_tags / sum(len(scene.tags) for scene in scenes),
        "tag_precision": right_tags / max(1, sum(map(len, said))),
        "description_valid": len(words) / count,
        "description_words_fewest": float(min(words, default=0)),
        "description_words_most": float(max(words, default=0)),
        "claims_cite_rightly": cited_rightly(parsed, regions, taxonomy),
        "crop_object_right": float(np.mean([bool(right & frozenset(OBJECTS)) for right in right_of_crops])),
        "crop_tag_recall": sum(map(len, right_of_crops)) / sum(map(len, true_of_crops)),
    }
    return {name: round(figure, 4) for name, figure in figures.items()}


def cited_rightly(
    answers: Sequence[Description | None], regions: Sequence[list[Region]], taxonomy: Taxonomy
) -> float:
    """Of all citations of claims, the share whose region carries a label that the claim names."""
    right = []
    for answer, found in zip(answers, regions, strict=True):
        labels = dict(found)
        for claim in answer.claims if answer else ():
            named = {taxonomy.by_id[c].pref_label for c in taxonomy.labels.concepts_in(claim.text)}
            right += [labels.get(short) in named for short in claim.regions]
    return float(np.mean(right)) if right else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, default=Path("demo/.pool"))
    parser.add_argument("--encoder", type=Path, default=CHECKPOINTS / "encoder")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS / "vlm")
    parser.add_argument("--scenes", type=int, default=300, help="held-out scenes behind the figures")
    arguments = parser.parse_args()
    recipe, resumed, parameters = save_checkpoint(arguments.pool / "vlm", arguments.encoder, arguments.out)
    figures = measure(arguments.out, arguments.scenes)
    card = MODEL_CARD.format(
        parameters=parameters,
        image_px=IMAGE_PX,
        layers=recipe.text_layers,
        width=recipe.text_width,
        train_scenes=recipe.train_scenes,
        scenes=arguments.scenes,
        quoted=figures["label_text_quoted"],
        cited=figures["claims_cite_rightly"],
    )
    held_out = {"split": "VALIDATE", "first": FIRST_HELD_OUT, "scenes": arguments.scenes, **figures}
    training = {"recipe": asdict(recipe), "resumed": resumed, "held_out": held_out}
    write_cards(arguments.out, card, (Split.TRAIN, Split.VALIDATE), training)
    print(figures)


if __name__ == "__main__":
    main()
