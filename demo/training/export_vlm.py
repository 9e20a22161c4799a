"""Turn a finished training run into the bundled vision-language model: float16 safetensors, processor, card, figures.

Run after `demo.training.train_vlm` by `make train-vlm`. The figures in the card are those of the exported files, loaded as a
tier loads them, on scenes of a split that training never saw.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, SiglipConfig

from demo.training.chat import chat_processor, train_chat_tokenizer
from demo.training.export_encoder import CHECKPOINT as ENCODER
from demo.training.language import Region, description_problem, label_text
from demo.training.train_encoder import IMAGE_PX
from demo.training.train_vlm import ANSWER_TOKENS, Recipe, build_model, named_objects
from demo.world.render import Picture, render
from demo.world.scene import OBJECTS, SceneSampler, SceneSpec, Split, object_tags
from resources.models.vlms import prompts
from taxonomy import Taxonomy, starter_taxonomy

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "vlm"
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


def save_checkpoint(folder: Path, encoder: Path, out: Path) -> tuple[Recipe, list[dict[str, Any]], int]:
    """Write the trained LLaVA of `folder` with its processor, weights as float16.

    Returns the recipe that the run ended by, where it was changed on the way, and the number of parameters.
    """
    stored = torch.load(folder / "state.pt", weights_only=True)
    recipe = Recipe(**stored["recipe"])
    if stored["step"] != recipe.steps:
        raise SystemExit(
            f"{folder / 'state.pt'} stands at step {stored['step']} of {recipe.steps}: finish demo.training.train_vlm first"
        )
    tokenizer = train_chat_tokenizer([], folder / "tokenizer", recipe.vocabulary)
    vision = SiglipConfig.from_pretrained(encoder).to_dict()["vision_config"]
    model = build_model(recipe, tokenizer, vision)
    model.load_state_dict(stored["model"])
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    chat_processor(tokenizer, vision["image_size"], vision["patch_size"]).save_pretrained(out)
    return recipe, stored["resumed"], sum(p.numel() for p in model.parameters())


@torch.inference_mode()
def ask(
    model: Any, processor: Any, pictures: list[Image.Image], questions: list[str], most: int
) -> list[str]:
    """Greedy answers through the chat template, as any engine asks."""
    answers: list[str] = []
    for start in range(0, len(pictures), BATCH):
        chats = [
            [
                {
                    "role": "user",
                    "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}],
                }
            ]
            for picture, question in zip(
                pictures[start : start + BATCH], questions[start : start + BATCH], strict=True
            )
        ]
        inputs = processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        said = model.generate(**inputs, max_new_tokens=most, do_sample=False)
        answers += processor.batch_decode(said[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


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
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
    scenes = [sampler.scene(FIRST_HELD_OUT + index) for index in range(count)]
    rendered = [render(scene, RENDER_PX) for scene in scenes]
    pictures = [Image.fromarray(picture.pixels) for picture in rendered]
    texts = [label_text(scene) for scene in scenes]
    read = [[text] if text else [] for text in texts]
    asked = [prompts.with_text(prompts.CAPTION, lines) for lines in read]
    captions = ask(model, processor, pictures, asked, 80)
    tags = ask(model, processor, pictures, [prompts.TAGS] * count, 80)
    regions = [true_regions(scene, taxonomy) for scene in scenes]
    asked = [
        prompts.with_regions(prompts.with_text(prompts.DESCRIPTION, lines), found)
        for lines, found in zip(read, regions, strict=True)
    ]
    described = ask(model, processor, pictures, asked, ANSWER_TOKENS)
    crops, crop_truths = _crops(scenes, rendered)
    phrases = ask(model, processor, crops, [prompts.REGION] * len(crops), 32)
    valid = [description_problem(answer) is None for answer in described]
    parsed = [
        json.loads(answer) if good else {"claims": []} for answer, good in zip(described, valid, strict=True)
    ]
    words = [
        len(" ".join(claim["text"] for claim in answer["claims"]).split())
        for answer, good in zip(parsed, valid, strict=True)
        if good
    ] or [0]
    said_tags = [taxonomy.labels.concepts_in(line) for line in tags]
    kinds = frozenset(OBJECTS)
    figures = {
        f"caption_{name}": figure for name, figure in named_objects(captions, scenes, taxonomy).items()
    }
    figures |= {
        "label_text_quoted": float(np.mean([t in c for t, c in zip(texts, captions, strict=True) if t])),
        "tag_recall": sum(len(s & c.tags) for s, c in zip(said_tags, scenes, strict=True))
        / sum(len(c.tags) for c in scenes),
        "tag_precision": sum(len(s & c.tags) for s, c in zip(said_tags, scenes, strict=True))
        / max(1, sum(map(len, said_tags))),
        "description_valid": float(np.mean(valid)),
        "description_words_fewest": float(min(words)),
        "description_words_most": float(max(words)),
        "claims_cite_rightly": cited_rightly(parsed, regions, taxonomy),
        "crop_object_right": float(
            np.mean(
                [
                    bool(taxonomy.labels.concepts_in(p) & t & kinds)
                    for p, t in zip(phrases, crop_truths, strict=True)
                ]
            )
        ),
        "crop_tag_recall": sum(
            len(taxonomy.labels.concepts_in(p) & t) for p, t in zip(phrases, crop_truths, strict=True)
        )
        / sum(map(len, crop_truths)),
    }
    for line in (*captions[:4], *tags[:2], *described[:2], *phrases[:4]):
        print(line)
    return {name: round(figure, 4) for name, figure in figures.items()}


def cited_rightly(answers: list[dict[str, Any]], regions: list[list[Region]], taxonomy: Taxonomy) -> float:
    """Of all citations of subject claims, the share whose region carries a label that the claim names."""
    right = []
    for answer, found in zip(answers, regions, strict=True):
        labels = dict(found)
        for claim in answer["claims"]:
            named = {taxonomy.by_id[c].pref_label for c in taxonomy.labels.concepts_in(claim["text"])}
            right += [labels.get(short) in named for short in claim["regions"]]
    return float(np.mean(right)) if right else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, default=Path("demo/.pool"))
    parser.add_argument("--encoder", type=Path, default=ENCODER)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--scenes", type=int, default=300, help="held-out scenes behind the figures")
    arguments = parser.parse_args()
    recipe, resumed, parameters = save_checkpoint(arguments.pool / "vlm", arguments.encoder, arguments.out)
    figures = measure(arguments.out, arguments.scenes)
    card = MODEL_CARD.format(
        parameters=parameters / 1e6,
        image_px=IMAGE_PX,
        layers=recipe.text_layers,
        width=recipe.text_width,
        train_scenes=recipe.train_scenes,
        scenes=arguments.scenes,
        quoted=figures["label_text_quoted"],
        cited=figures["claims_cite_rightly"],
    )
    (arguments.out / "README.md").write_text(card, encoding="utf-8")
    splits = {split.name: int(split) for split in (Split.TRAIN, Split.VALIDATE)}
    training = {
        "recipe": asdict(recipe),
        "resumed": resumed,
        "splits_seen": splits,
        "held_out": {"split": "VALIDATE", "first": FIRST_HELD_OUT, "scenes": arguments.scenes, **figures},
    }
    (arguments.out / "training.json").write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
    size = sum(f.stat().st_size for f in arguments.out.iterdir()) / 1e6
    print(f"{arguments.out}: {size:.1f} MB, {json.dumps(figures)}")


if __name__ == "__main__":
    main()
