"""Train the bundled encoder: a small SigLIP, from scratch, on the procedural world.

Run it with `make train-encoder`. One seed, resumable, and every batch depends on (seed, step) alone. Two losses are
those of SigLIP (Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training"):

- tags: every image against one random phrase of every concept (multi-label);
- captions: every image against every caption of its batch;

and three come from a scaffold of plain classifiers that is thrown away at the end:

- images and patches: against the concepts of the whole and of the thing that covers the patch;
- outlines: every patch against the fine mask of what lies in it.

Early steps see small pictures, most of them of one large object; the late ones full size. The hidden matrices are
trained by Muon (Jordan et al. 2024), the rest by AdamW. The learning rate is constant, then falls linearly to zero
over `cooldown_steps`; a second, gentler fall takes the last `again_steps` (warm restart: Loshchilov and Hutter 2017).
What was tried on the way: docs/decisions/0001-training-the-demo-encoder.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel

from demo.training.loop import Training, bands_of, is_hidden, read_arguments
from demo.training.pool import Pool, all_concepts, build_pools, dense_columns
from demo.training.tokenizer import train_tokenizer
from demo.world.captions import caption
from demo.world.scene import OBJECTS, drawable_concepts
from taxonomy import Taxonomy, starter_taxonomy

IMAGE_PX = 160
PATCH_PX = 16
TEXT_TOKENS = 24
CELLS = 4
"""Each patch is cut into CELLS x CELLS cells, of which each is covered by a thing or not."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the trained weights."""

    seed: int = 7
    train_scenes: int = 48_000
    validate_scenes: int = 600
    flatness: float = 0.8
    closeup_every: int = 3
    batch_images: int = 96
    steps: int = 3_500
    cooldown_steps: int = 1_000
    again_steps: int = 800
    again_pace: float = 0.5
    warmup_steps: int = 100
    learning_rate: float = 1e-3
    muon_learning_rate: float = 0.02
    weight_decay: float = 0.05
    early_steps: int = 900
    early_px: int = 112
    early_closeups: float = 0.7
    other_concepts: int = 32
    captioned_images: int = 32
    image_weight: float = 1.0
    patch_weight: float = 8.0
    shape_weight: float = 0.5
    caption_weight: float = 0.3
    vision_width: int = 224
    vision_layers: int = 6
    text_width: int = 160
    text_layers: int = 3


@dataclass(frozen=True, slots=True)
class Phrases:
    """Token ids of every phrase of every concept: int64 [phrases, TEXT_TOKENS] and where each concept's begin."""

    tokens: Tensor
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    def draw(self, concepts: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """One random phrase a concept."""
        return self.tokens[self.first[concepts] + rng.integers(0, self.count[concepts])]


def tokenise(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """int64 [texts, TEXT_TOKENS]; padded to full length, since SigLIP pools the last token."""
    encoded = tokenizer(
        texts, padding="max_length", truncation=True, max_length=TEXT_TOKENS, return_tensors="pt"
    )
    return encoded["input_ids"]


def all_phrases(tokenizer: PreTrainedTokenizerFast, taxonomy: Taxonomy, concepts: list[str]) -> Phrases:
    """The phrases of `concepts`, in their order."""
    texts = [taxonomy.phrases(taxonomy.by_id[c]) for c in concepts]
    count = np.array([len(t) for t in texts])
    return Phrases(tokenise(tokenizer, [p for t in texts for p in t]), np.cumsum(count) - count, count)


def truth_columns(taxonomy: Taxonomy, concepts: list[str], drawable: list[str]) -> NDArray[np.float32]:
    """float32 [drawable, concepts]: 1 where seeing the drawable concept makes the other one true too (its ancestors)."""
    implied = np.zeros((len(drawable), len(concepts)), np.float32)
    column = {c: i for i, c in enumerate(concepts)}
    for row, concept in enumerate(drawable):
        implied[row, [column[c] for c in (concept, *taxonomy.ancestors(concept))]] = 1
    return implied


class Scaffold(nn.Module):
    """What holds the vision tower up while it is built, and is thrown away: plain classifiers beside the text tower.

    The phrases of a young text tower are all alike, so that they teach what a thing is made of long before what it is.
    """

    def __init__(self, width: int, concepts: int, dense_concepts: int) -> None:
        super().__init__()
        self.image = nn.Linear(width, concepts)
        self.patch = nn.Linear(width, dense_concepts)
        self.outline = nn.Linear(width, CELLS * CELLS)
        for head in (self.image, self.patch):
            nn.init.constant_(head.bias, -4.0)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> SiglipModel:
    """A SigLIP of transformers with fresh weights."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": recipe.text_width,
        "intermediate_size": 3 * recipe.text_width,
        "num_hidden_layers": recipe.text_layers,
        "num_attention_heads": recipe.text_width // 40,
        "max_position_embeddings": TEXT_TOKENS,
        "projection_size": recipe.vision_width,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": recipe.vision_width,
        "intermediate_size": 3 * recipe.vision_width,
        "num_hidden_layers": recipe.vision_layers,
        "num_attention_heads": recipe.vision_width // 56,
        "image_size": IMAGE_PX,
        "patch_size": PATCH_PX,
    }
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    # scaled-dot-product attention spends four times as long in its backward pass on a CPU
    model.set_attn_implementation("eager")
    _start_spatially(model)
    with torch.no_grad():
        model.logit_scale.fill_(np.log(10.0))
        model.logit_bias.fill_(-5.0)
    return model


@torch.no_grad()
def _start_spatially(model: SiglipModel) -> None:
    """Start with neighbours that know each other: sine-cosine positions, and queries equal to keys.

    Without it the position of a patch is random noise at first, and silhouettes are learned late. After Trockman and
    Kolter 2023, "Mimetic Initialization of Self-Attention Layers".
    """
    positions = model.vision_model.embeddings.position_embedding.weight
    grid, width = IMAGE_PX // PATCH_PX, positions.shape[1]
    frequency = (2 * grid) ** (-torch.arange(width // 4) / (width // 4))
    place = torch.arange(grid)[:, None] * frequency * np.pi
    line = torch.cat([place.sin(), place.cos()], dim=1)
    positions.copy_(torch.cat([line.repeat_interleave(grid, 0), line.repeat(grid, 1)], dim=1) * 0.5)
    for layer in model.vision_model.encoder.layers:
        layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)


def pixels(
    images: NDArray[np.uint8], rng: np.random.Generator | None, to_px: int = IMAGE_PX
) -> tuple[Tensor, tuple[int, int, int, bool]]:
    """uint8 [b, h, w, 3] to float32 [b, 3, to_px, to_px] in -1..1; with `rng`, cropped, mirrored and re-exposed."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    side, top, left, mirrored = batch.shape[-1], 0, 0, False
    if rng is not None:
        side = int(rng.integers(IMAGE_PX + 2, batch.shape[-1] + 1))
        top, left = (int(v) for v in rng.integers(0, batch.shape[-1] - side + 1, 2))
        mirrored = bool(rng.random() < 0.5)
        batch = batch[..., top : top + side, left : left + side]
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(images), 3, 1, 1)).astype(np.float32))
        gain = 0.6 * gain[:, :1] + 0.4 * gain
        batch = ((batch + 1) * gain - 1).clamp_(-1, 1)
        if mirrored:
            batch = batch.flip(-1)
    batch = functional.interpolate(batch, size=(to_px, to_px), mode="bilinear", antialias=True)
    return batch, (side, top, left, mirrored)


def patch_owners(
    owners: NDArray[np.uint8], crop: tuple[int, int, int, bool], image_px: int, grid: int
) -> Tensor:
    """int64 [b, grid * grid]: the thing at the centre of each patch, 0 for none."""
    side, top, left, mirrored = crop
    centres = (np.arange(grid) + 0.5) / grid * side
    scale = owners.shape[1] / image_px
    rows, columns = ((centres + top) * scale).astype(int), ((centres + left) * scale).astype(int)
    if mirrored:
        columns = columns[::-1]
    return torch.from_numpy(owners[:, rows][:, :, columns].reshape(len(owners), -1).astype(np.int64))


def patch_outlines(
    owners: NDArray[np.uint8], crop: tuple[int, int, int, bool], image_px: int, grid: int
) -> Tensor:
    """float32 [b, grid * grid, CELLS * CELLS]: 1 where a cell of a patch is covered by a thing."""
    cells = (patch_owners(owners, crop, image_px, grid * CELLS) > 0).float()
    cells = cells.reshape(len(owners), grid, CELLS, grid, CELLS).transpose(2, 3)
    return cells.reshape(len(owners), grid * grid, CELLS * CELLS)


def sigmoid_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy summed over the last axis, averaged over the others."""
    return functional.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none").sum(-1).mean()


def quick_recall(scores: NDArray[np.float32], truth: NDArray[np.bool_], k: int = 10) -> dict[str, float]:
    """Micro recall@k over head, body and tail, for the training log; the figures that count come from `evaluation`."""
    top = np.zeros_like(truth)
    np.put_along_axis(top, np.argpartition(-scores, k, axis=1)[:, :k], True, axis=1)
    hits = top & truth
    return {
        name: float(hits[:, c].sum() / truth[:, c].sum()) for name, c in bands_of(truth.sum(axis=0)).items()
    }


@torch.inference_mode()
def image_logits(model: SiglipModel, pool: Pool, texts: Tensor) -> NDArray[np.float32]:
    """float32 [images, concepts]: raw logits of the whole pool."""
    rows = []
    for start in range(0, len(pool.images), 100):
        batch, _ = pixels(pool.images[start : start + 100].copy(), None)
        rows.append(functional.normalize(model.get_image_features(pixel_values=batch).pooler_output, dim=-1))
    return (torch.cat(rows) @ texts.T * model.logit_scale.exp() + model.logit_bias).float().numpy()


@torch.inference_mode()
def pooled_texts(model: SiglipModel, phrases: Phrases) -> Tensor:
    """float32 [concepts, width]: the mean of each concept's unit phrase vectors, of unit length again."""
    vectors = torch.cat(
        [
            functional.normalize(model.get_text_features(input_ids=t).pooler_output, dim=-1)
            for t in phrases.tokens.split(256)
        ]
    )
    means = [vectors[f : f + c].mean(0) for f, c in zip(phrases.first, phrases.count, strict=True)]
    return functional.normalize(torch.stack(means), dim=-1)


class Trainer(Training):
    """The training of the encoder."""

    LOSSES = ("tag_loss", "image_loss", "patch_loss", "outline_loss", "caption_loss")
    FIGURES = ("overall", "head", "body", "tail", "objects@5")
    recipe: Recipe

    def __init__(self, recipe: Recipe, folder: Path, workers: int) -> None:
        super().__init__(recipe, folder)
        self.train, self.validate = build_pools(folder, recipe, workers, closeup_every=recipe.closeup_every)
        self.taxonomy = starter_taxonomy()
        self.drawable = list(drawable_concepts())
        self.concepts = all_concepts(self.taxonomy)
        captions = [caption(self.train.recipe.scene(i), self.taxonomy) for i in range(recipe.train_scenes)]
        known = [p for c in self.taxonomy.concepts for p in self.taxonomy.phrases(c)]
        self.tokenizer = train_tokenizer(known + captions[:4000], folder / "tokenizer", TEXT_TOKENS)
        self.captions = tokenise(self.tokenizer, captions)
        self.phrases = all_phrases(self.tokenizer, self.taxonomy, self.concepts)
        self.implied = truth_columns(self.taxonomy, self.concepts, self.drawable)
        self.dense = np.array(dense_columns())
        self.model = build_model(recipe, self.tokenizer)
        self.scaffold = Scaffold(recipe.vision_width, len(self.drawable), len(self.dense))
        self.modules = {"model": self.model, "scaffold": self.scaffold}
        named = list(self.model.named_parameters())
        rest = [p for name, p in named if not is_hidden(name, p)]
        self.optimise((p for name, p in named if is_hidden(name, p)), [*rest, *self.scaffold.parameters()])

    def pace(self) -> float:
        """The share of the full learning rate at this step, 0..1."""
        r = self.recipe
        again = self.step - (r.steps - r.again_steps)
        if again >= 0:
            return r.again_pace * min(1.0, (again + 1) / r.warmup_steps) * (1 - again / r.again_steps)
        return min(1.0, (self.step + 1) / r.warmup_steps, -again / r.cooldown_steps)

    def rows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The scenes of a batch; early on most of them show one large object."""
        r = self.recipe
        rows = rng.choice(r.train_scenes, r.batch_images, replace=False)
        if self.step < r.early_steps:
            swapped = int(r.early_closeups * r.batch_images)
            rows[:swapped] -= rows[:swapped] % r.closeup_every
        return rng.permutation(rows)

    def losses(self) -> tuple[tuple[float, Tensor], ...]:
        r, rng = self.recipe, np.random.default_rng([self.recipe.seed, self.step])
        rows = self.rows(rng)
        to_px = r.early_px if self.step < r.early_steps else IMAGE_PX
        batch, crop = pixels(self.train.images[rows], rng, to_px)
        place = (self.train.owners[rows], crop, self.train.images.shape[1], to_px // PATCH_PX)
        owners, outlines = patch_owners(*place), patch_outlines(*place)
        captioned = rows[: r.captioned_images]
        shown = len(self.drawable)
        others = shown + rng.choice(
            len(self.concepts) - shown, min(r.other_concepts, len(self.concepts) - shown), replace=False
        )
        asked = np.concatenate([np.arange(shown), others])
        tokens = torch.cat([self.phrases.draw(asked, rng), self.captions[captioned]])
        with torch.autocast("cpu", torch.bfloat16):
            texts = functional.normalize(self.model.get_text_features(input_ids=tokens).pooler_output, dim=-1)
            seen = self.model.vision_model(pixel_values=batch, interpolate_pos_encoding=True)
            images = functional.normalize(seen.pooler_output, dim=-1)
            scale, bias = self.model.logit_scale.exp(), self.model.logit_bias
            tag_logits = images @ texts[: len(asked)].T * scale + bias
            image_logits = self.scaffold.image(seen.pooler_output)
            patch_logits = self.scaffold.patch(seen.last_hidden_state)
            outline_logits = self.scaffold.outline(seen.last_hidden_state)
            caption_logits = images[: len(captioned)] @ texts[len(asked) :].T * scale + bias
        tags = self.train.tags[rows]
        truth = torch.from_numpy(np.clip(tags.astype(np.float32) @ self.implied[:, asked], 0, 1))
        nothing = np.zeros((len(rows), 1, shown), bool)
        things = np.concatenate([nothing, self.train.things[rows]], axis=1)[:, :, self.dense].astype(
            np.float32
        )
        patch_truth = torch.from_numpy(things)[torch.arange(len(rows))[:, None], owners]
        return (
            (1.0, sigmoid_loss(tag_logits, truth)),
            (r.image_weight, sigmoid_loss(image_logits, torch.from_numpy(tags.astype(np.float32)))),
            (r.patch_weight, sigmoid_loss(patch_logits, patch_truth)),
            (r.shape_weight, sigmoid_loss(outline_logits, outlines)),
            (r.caption_weight, sigmoid_loss(caption_logits, torch.eye(len(captioned)))),
        )

    def check(self) -> dict[str, float]:
        """Recall@10 on unseen scenes of the corpus's own frequencies."""
        self.model.eval()
        drawn = all_phrases(self.tokenizer, self.taxonomy, self.drawable)
        scores = image_logits(self.model, self.validate, pooled_texts(self.model, drawn))
        self.model.train()
        truth = np.asarray(self.validate.tags)
        objects = [self.drawable.index(c) for c in OBJECTS]
        of_objects = quick_recall(scores[:, objects], truth[:, objects], k=5)["overall"]
        return quick_recall(scores, truth) | {"objects@5": of_objects}


def main() -> None:
    recipe, given = read_arguments(
        __doc__, Recipe, "demo/.pool", "encoder_training.csv", check_every=100, encoder=False
    )
    Trainer(recipe, given.pool, given.workers).run(given.log, given.check_every)


if __name__ == "__main__":
    main()
