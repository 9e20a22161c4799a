"""Train the bundled vision-language model: a small LLaVA, on the procedural world.

Run it with `make train-vlm`, after the encoder is there: its vision tower is where this one begins. One seed,
resumable, and every batch depends on (seed, step) alone. The language model is a Llama with fresh weights; scenes are
drawn almost evenly at first, from step `lean_from` on with odds of (rank of an object)^-`lean`, nearer to a corpus. The loss is
that of the answers' own tokens, summed over an answer, so that a long description of few facts counts no more than
its facts. A picture is read once for all that is asked about it (`demo.training.lessons.Sheet`).

The vision tower stands still for the first `frozen_steps`; then it learns too, at `vision_pace` of the full rates.
The hidden matrices are trained by Muon (Jordan et al. 2024), the rest by AdamW.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipModel,
)

from demo.training.chat import IMAGE, train_chat_tokenizer
from demo.training.language import Speaker, mirrored
from demo.training.lessons import IGNORED, Exchange, Scribe, Sheet, Teacher, build_crops
from demo.training.loop import Training, is_hidden, read_arguments
from demo.training.pool import build_pools
from demo.training.train_encoder import pixels
from demo.world.scene import OBJECTS, SceneSpec, Split, drawable_concepts
from resources.models.vlms import prompts
from resources.models.vlms.description import parse_description
from taxonomy import Taxonomy, starter_taxonomy

LESSONS = ("told", "described", "cropped")
ANSWER_TOKENS = 320


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the trained weights."""

    seed: int = 11
    train_scenes: int = 48_000
    validate_scenes: int = 600
    flatness: float = 0.8
    closeup_every: int = 3
    crop_scenes: int = 3_500
    validate_crop_scenes: int = 100
    told_images: int = 16
    described_images: int = 6
    cropped_images: int = 8
    told_weight: float = 1.0
    described_weight: float = 1.0
    cropped_weight: float = 0.5
    steps: int = 4_600
    frozen_steps: int = 3_700
    cooldown_steps: int = 1_300
    lean_from: int = 1_200
    lean: float = 0.4
    described_from: int = 300
    warmup_steps: int = 50
    learning_rate: float = 1.5e-3
    muon_learning_rate: float = 0.02
    vision_pace: float = 0.2
    weight_decay: float = 0.05
    vocabulary: int = 2_048
    text_width: int = 256
    text_layers: int = 3
    text_hidden: int = 640
    head_width: int = 64

    @property
    def batch_images(self) -> int:
        return self.told_images + self.described_images + self.cropped_images


def build_model(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, vision: dict[str, Any]
) -> LlavaForConditionalGeneration:
    """A LLaVA of transformers with fresh weights, around a vision tower of the given SigLIP configuration.

    It reads the tower's last layer before the tower's own last norm, as every LLaVA does.
    """
    heads = recipe.text_width // recipe.head_width
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.text_width,
        intermediate_size=recipe.text_hidden,
        num_hidden_layers=recipe.text_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=recipe.head_width,
        max_position_embeddings=tokenizer.model_max_length,
        initializer_range=0.04,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=vision | {"vision_use_head": False},
        text_config=text,
        image_token_index=tokenizer.get_vocab()[IMAGE],
        image_seq_length=(vision["image_size"] // vision["patch_size"]) ** 2,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    # scaled-dot-product attention spends four times as long in its backward pass on a CPU
    model.set_attn_implementation("eager")
    generation = model.generation_config
    generation.pad_token_id, generation.bos_token_id, generation.eos_token_id = (
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )
    return model


def patch_features(model: LlavaForConditionalGeneration, batch: Tensor) -> Tensor:
    """[b, patches, width] of float32 [b, 3, h, w] in -1..1: what the projector is given."""
    seen = model.model.vision_tower(pixel_values=batch, output_hidden_states=True)
    features: Tensor = seen.hidden_states[model.config.vision_feature_layer]
    return features


@torch.no_grad()
def start_projector(model: LlavaForConditionalGeneration, features: Tensor) -> None:
    """Let the projector see channels of mean 0 and deviation 1, as they are in `features` [b, patches, width]."""
    flat = features.float().flatten(0, 1)
    first = model.model.multi_modal_projector.linear_1
    first.weight.normal_(0, flat.shape[1] ** -0.5).div_(flat.std(0) + 1e-6)
    first.bias.copy_(-first.weight @ flat.mean(0))


def answer_loss(model: LlavaForConditionalGeneration, features: Tensor, sheet: Sheet, image: slice) -> Tensor:
    """Cross-entropy of the answers, nats a picture."""
    embedded = model.get_input_embeddings()(sheet.tokens)
    projected = model.model.multi_modal_projector(features).to(embedded.dtype)
    embedded = torch.cat([embedded[:, : image.start], projected, embedded[:, image.stop :]], dim=1)
    mask = torch.zeros(sheet.hidden.shape, dtype=embedded.dtype).masked_fill_(sheet.hidden, -1e9)
    states = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=sheet.positions, use_cache=False
    ).last_hidden_state
    answered = sheet.targets != IGNORED
    logits = model.lm_head(states[answered]).float()
    return functional.cross_entropy(logits, sheet.targets[answered], reduction="sum") / len(sheet.tokens)


@torch.inference_mode()
def greedy_answers(
    model: Any, scribe: Scribe, images: NDArray[np.uint8], prompt: str, most: int
) -> list[str]:
    """The model's answers to one prompt about squashed images [n, h, w, 3]."""
    ids = scribe.asked(prompt)
    answers = []
    for start in range(0, len(images), 60):
        batch, _ = pixels(images[start : start + 60].copy(), None)
        tokens = torch.tensor([ids] * len(batch))
        said = model.generate(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), pixel_values=batch,
            max_new_tokens=most, do_sample=False,
        )  # fmt: skip
        answers += scribe.tokenizer.batch_decode(said[:, len(ids) :], skip_special_tokens=True)
    return answers


def leaning_odds(tags: NDArray[np.bool_], lean: float) -> NDArray[np.float64]:
    """How often each scene [n] is drawn, sum 1: the mean over its objects of their ranks to the power of -`lean`."""
    shown = tags[:, [drawable_concepts().index(concept) for concept in OBJECTS]]
    odds = shown @ np.arange(1, len(OBJECTS) + 1) ** -lean / shown.sum(axis=1)
    return np.asarray(odds / odds.sum())


def named_objects(answers: list[str], scenes: list[SceneSpec], taxonomy: Taxonomy) -> dict[str, float]:
    """Of the objects that are there, the share that is named; of those that are named, the share that is not there."""
    kinds = frozenset(OBJECTS)
    said = [taxonomy.labels.concepts_in(answer) & kinds for answer in answers]
    true = [scene.tags & kinds for scene in scenes]
    hits = sum(len(s & t) for s, t in zip(said, true, strict=True))
    return {
        "object_recall": hits / max(1, sum(map(len, true))),
        "absent_share": 1 - hits / max(1, sum(map(len, said))),
    }


class Trainer(Training):
    """The training of the vision-language model, from the encoder's vision tower on."""

    LOSSES = tuple(f"{name}_loss" for name in LESSONS)
    FIGURES = ("object_recall", "absent_share", "tag_recall", "valid_descriptions", "right_crops")
    SAVE_EVERY = 25
    recipe: Recipe

    def __init__(self, recipe: Recipe, pool: Path, encoder: Path, workers: int) -> None:
        super().__init__(recipe, pool / "vlm")
        self.train, self.validate = build_pools(pool, recipe, workers, closeup_every=recipe.closeup_every)
        self.taxonomy = starter_taxonomy()
        speaker = Speaker(self.taxonomy)
        self.teacher = Teacher(speaker)
        self.crops = build_crops(
            self.folder / "crops", Split.TRAIN, recipe.crop_scenes, recipe.flatness, speaker
        )
        self.validate_crops = build_crops(
            self.folder / "validate_crops", Split.VALIDATE, recipe.validate_crop_scenes, 0.0, speaker
        )
        self.tokenizer = train_chat_tokenizer(self._texts(), self.folder / "tokenizer", recipe.vocabulary)
        tower = SiglipModel.from_pretrained(encoder, dtype=torch.float32).vision_model
        vision = tower.config.to_dict()
        self.scribe = Scribe(self.tokenizer, (vision["image_size"] // vision["patch_size"]) ** 2)
        self.model = build_model(recipe, self.tokenizer, vision)
        kept = {n: p for n, p in tower.state_dict().items() if not n.startswith("head.")}
        self.model.model.vision_tower.load_state_dict(kept)
        with torch.inference_mode():
            batch, _ = pixels(self.train.images[: min(200, recipe.train_scenes)].copy(), None)
            features = patch_features(self.model, batch)
        start_projector(self.model, features)
        self.modules = {"model": self.model}
        self._optimise_in_groups()
        self.odds = leaning_odds(np.asarray(self.train.tags), recipe.lean)

    def _texts(self) -> list[str]:
        """What the tokenizer is trained on."""
        rng = np.random.default_rng(self.recipe.seed)
        texts = [prompts.REGION]
        for index in range(min(3_000, self.recipe.train_scenes)):
            scene = self.train.recipe.scene(index)
            for exchange in self.teacher.told(scene, rng) + self.teacher.described(scene, rng):
                texts += exchange
        return texts + self.crops.phrases[:2_000]

    def _optimise_in_groups(self) -> None:
        """First the language model's, then the tower's."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            groups.setdefault((is_hidden(name, parameter), "vision_tower" in name), []).append(parameter)
        hidden, rest = (
            [{"params": groups[matrices, seeing]} for seeing in (False, True)] for matrices in (True, False)
        )
        self.optimise(hidden, rest, fused=True)

    def pace(self) -> float:
        r = self.recipe
        return min(1.0, (self.step + 1) / r.warmup_steps, (r.steps - self.step) / r.cooldown_steps)

    def _scenes(self, rows: NDArray[np.int64], flipped: bool) -> list[SceneSpec]:
        scenes = [self.train.recipe.scene(int(row)) for row in rows]
        return [mirrored(scene) for scene in scenes] if flipped else scenes

    def lesson(self, name: str, rng: np.random.Generator) -> tuple[Tensor, Sheet]:
        """Pixels and exchanges of one part of this step's batch."""
        r = self.recipe
        if name == "cropped":
            rows = rng.choice(len(self.crops.phrases), r.cropped_images, replace=False)
            batch, _ = pixels(self.crops.images[rows], rng)
            return batch, self.scribe.sheet([[(prompts.REGION, self.crops.phrases[row])] for row in rows])
        count = r.told_images if name == "told" else r.described_images
        odds = self.odds if self.step >= r.lean_from else None
        rows = rng.choice(r.train_scenes, count, replace=False, p=odds)
        batch, (*_, flipped) = pixels(self.train.images[rows], rng)
        ask = self.teacher.told if name == "told" else self.teacher.described
        pages: list[list[Exchange]] = [ask(scene, rng) for scene in self._scenes(rows, flipped)]
        return batch, self.scribe.sheet(pages)

    def advance(self) -> tuple[float, ...]:
        r, rng = self.recipe, np.random.default_rng([self.recipe.seed, self.step])
        seeing = self.step >= r.frozen_steps
        self.model.model.vision_tower.requires_grad_(seeing)
        self.begin_step((1.0, r.vision_pace))
        losses = []
        for name, weight in zip(LESSONS, (r.told_weight, r.described_weight, r.cropped_weight), strict=True):
            if name == "described" and self.step < r.described_from:
                losses.append(float("nan"))
                continue
            batch, sheet = self.lesson(name, rng)
            with torch.autocast("cpu", torch.bfloat16):
                loss = answer_loss(self.model, patch_features(self.model, batch), sheet, self.scribe.image)
            (weight * loss).backward()
            losses.append(float(loss.detach()))
        self.end_step(longest_gradient=5.0)
        return tuple(losses)

    def check(self, scenes: int = 100, described: int = 10, crops: int = 60) -> dict[str, float]:
        """Greedy answers on unseen scenes of the corpus's own frequencies."""
        self.model.eval()
        told = [self.validate.recipe.scene(index) for index in range(min(scenes, len(self.validate.images)))]
        images, (model, scribe) = self.validate.images[: len(told)], (self.model, self.scribe)
        captions = greedy_answers(model, scribe, images, prompts.CAPTION, 72)
        tags = greedy_answers(model, scribe, images, prompts.TAGS, 72)
        found = [
            self.taxonomy.labels.concepts_in(line) & scene.tags
            for line, scene in zip(tags, told, strict=True)
        ]
        described_ones = greedy_answers(model, scribe, images[:described], prompts.DESCRIPTION, ANSWER_TOKENS)
        phrases = greedy_answers(model, scribe, self.validate_crops.images[:crops], prompts.REGION, 32)
        right = [
            bool(
                self.taxonomy.labels.concepts_in(said)
                & self.taxonomy.labels.concepts_in(true)
                & frozenset(OBJECTS)
            )
            for said, true in zip(phrases, self.validate_crops.phrases, strict=False)
            if self.taxonomy.labels.concepts_in(true) & frozenset(OBJECTS)
        ]
        self.model.train()
        print("  " + "\n  ".join(captions[:3] + tags[:1] + described_ones[:1]), flush=True)
        return named_objects(captions, told, self.taxonomy) | {
            "tag_recall": sum(map(len, found)) / sum(len(scene.tags) for scene in told),
            "valid_descriptions": float(np.mean([parse_description(d) is not None for d in described_ones])),
            "right_crops": float(np.mean(right)),
        }


def main() -> None:
    recipe, given = read_arguments(__doc__, Recipe, "demo/.pool", "vlm_training.csv", check_every=250)
    Trainer(recipe, given.pool, given.encoder, given.workers).run(given.log, given.check_every)


if __name__ == "__main__":
    main()
