"""Train the bundled detector: a small OWLv2 that starts from the bundled encoder, on the procedural world.

Run it with `make train-detector`. One seed, resumable, and every batch depends on (seed, step) alone.

OWLv2 (Minderer et al. 2023, "Scaling Open-Vocabulary Object Detection") predicts one box from every patch and compares
the patch with the text of each concept. So it can start from a vision tower that knows what lies in its patches, and
needs neither a matching of predictions nor a fused text encoder, both of which take long to learn from nothing:

- text: the text tower learns to say what the encoder's says of each concept, and is left alone from then on;
- boxes: a patch whose centre a thing covers predicts the box of the thing (L1 and GIoU);
- classes: it predicts the concepts of that thing, each with a target that grows with the IoU of its box, from a half
  (quality focal loss, Li et al. 2020), so that of many boxes of one thing the best is the surest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import batched_nms, box_convert, box_iou, generalized_box_iou_loss
from transformers import Owlv2Config, Owlv2ForObjectDetection, PreTrainedTokenizerFast, SiglipModel

from demo.training.export import bundled_encoder, concept_vectors
from demo.training.loop import Training, bands_of, is_hidden, read_arguments
from demo.training.pool import Pool, all_concepts, build_pools, dense_columns
from demo.training.tokenizer import train_phrase_tokenizer
from demo.training.train_encoder import patch_owners
from taxonomy import starter_taxonomy

IMAGE_PX = 192
PATCH_PX = 16
GRID = IMAGE_PX // PATCH_PX
TEXT_TOKENS = 24
POOL_PX = 216
OWNER_PX = 144
CANDIDATES = 1_000
DETECTIONS = 300
NMS_IOU = 0.6


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the trained weights, beside the encoder they start from."""

    seed: int = 11
    train_scenes: int = 20_000
    validate_scenes: int = 300
    flatness: float = 0.8
    batch_images: int = 48
    steps: int = 1_200
    warmup_steps: int = 60
    learning_rate: float = 6e-4
    muon_learning_rate: float = 0.008
    weight_decay: float = 0.05
    whole_share: float = 0.4
    text_steps: int = 800
    text_batch: int = 256
    text_learning_rate: float = 1.5e-3
    text_layers: int = 2
    box_weight: float = 5.0
    overlap_weight: float = 2.0


def build_model(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, encoder: SiglipModel
) -> Owlv2ForObjectDetection:
    """An OWLv2 of transformers whose vision tower starts as the encoder's."""
    seen: Any = encoder.config.vision_config
    width = seen.hidden_size
    config = Owlv2Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": width, "intermediate_size": 2 * width,
            "num_hidden_layers": recipe.text_layers, "num_attention_heads": seen.num_attention_heads,
            "max_position_embeddings": TEXT_TOKENS, "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "hidden_size": width, "intermediate_size": seen.intermediate_size, "image_size": IMAGE_PX,
            "num_hidden_layers": seen.num_hidden_layers, "num_attention_heads": seen.num_attention_heads,
            "patch_size": PATCH_PX, "hidden_act": seen.hidden_act, "layer_norm_eps": seen.layer_norm_eps,
        },
        projection_dim=width,
    )  # fmt: skip
    model = Owlv2ForObjectDetection(config)
    # scaled-dot-product attention spends four times as long in its backward pass on a CPU
    model.set_attn_implementation("eager")
    _take_over(model, encoder)
    _start_heads(model)
    return model


@torch.no_grad()
def _start_heads(model: Owlv2ForObjectDetection) -> None:
    """Heads that begin by saying little: every box is that of its patch, every cosine counts ten times."""
    for head in (model.box_head, model.objectness_head):
        for layer in (head.dense0, head.dense1):
            nn.init.xavier_uniform_(layer.weight)
            layer.bias.zero_()
        head.dense2.weight.zero_()
        head.dense2.bias.zero_()
    nn.init.xavier_uniform_(model.class_head.dense0.weight)
    model.class_head.logit_shift.weight.zero_()
    model.class_head.logit_shift.bias.fill_(-0.6)
    model.class_head.logit_scale.weight.zero_()
    model.class_head.logit_scale.bias.fill_(9.0)


@torch.no_grad()
def _take_over(model: Owlv2ForObjectDetection, encoder: SiglipModel) -> None:
    """The encoder's vision tower as the start of the detector's, which has a class token and one norm more."""
    to, source = model.owlv2.vision_model, encoder.vision_model
    known = {
        name: value
        for name, value in source.state_dict().items()
        if name.startswith(("encoder.", "post_layernorm."))
    }
    missing = to.load_state_dict(known, strict=False)
    if missing.unexpected_keys:
        raise RuntimeError(f"the towers differ: {missing.unexpected_keys}")
    patches = source.embeddings.patch_embedding
    to.embeddings.patch_embedding.weight.copy_(patches.weight)
    places = source.embeddings.position_embedding.weight
    side = round(len(places) ** 0.5)
    grown = functional.interpolate(
        places.T.reshape(1, -1, side, side), size=(GRID, GRID), mode="bicubic", align_corners=False
    )
    # the detector's patches have no bias of their own
    to.embeddings.position_embedding.weight[1:].copy_(grown.flatten(2)[0].T + patches.bias)
    to.embeddings.position_embedding.weight[0].zero_()
    to.embeddings.class_embedding.copy_(to.embeddings.position_embedding.weight[1:].mean(0))


@torch.no_grad()
def keep_first_norm_quiet(model: Owlv2ForObjectDetection, pixels: Tensor) -> None:
    """Let the norm before the first layer, which the encoder lacks, change as little as can be."""
    tower = model.owlv2.vision_model
    tower.pre_layernorm.weight.fill_(float(tower.embeddings(pixels).std(dim=-1).mean()))


@dataclass(frozen=True, slots=True)
class Batch:
    """Pixels float32 [b, 3, IMAGE_PX, IMAGE_PX] in -1..1, and for every patch the thing it belongs to.

    owner: int64 [b, patches], 0 is background. boxes: float32 [b, things, 4], xyxy, 0..1; things: float32 [b, things, concepts].
    """

    pixels: Tensor
    owner: Tensor
    boxes: Tensor
    things: Tensor


def make_batch(
    pool: Pool, rows: NDArray[np.int64], rng: np.random.Generator | None, whole_share: float
) -> Batch:
    """The scenes `rows`; with `rng` cropped, mirrored and re-exposed, all of the batch in the same way."""
    images = torch.from_numpy(pool.images[rows]).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    side, top, left, mirrored = POOL_PX, 0, 0, False
    if rng is not None:
        if rng.random() > whole_share:
            side = int(rng.integers(round(0.6 * POOL_PX), POOL_PX + 1))
            top, left = (int(v) for v in rng.integers(0, POOL_PX - side + 1, 2))
        mirrored = bool(rng.random() < 0.5)
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(images), 3, 1, 1)).astype(np.float32))
        images = ((images + 1) * gain - 1).clamp_(-1, 1)
    images = images[..., top : top + side, left : left + side]
    images = functional.interpolate(images, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", antialias=True)
    owners = pool.owners[rows]
    if mirrored:
        images = images.flip(-1)
    fine = patch_owners(owners, (side, top, left, mirrored), POOL_PX, OWNER_PX).numpy().reshape(owners.shape)
    owner = patch_owners(owners, (side, top, left, mirrored), POOL_PX, GRID)
    boxes = visible_boxes(fine, pool.things.shape[1])
    _give_small_things_a_patch(owner, boxes)
    return Batch(
        images, owner, torch.from_numpy(boxes), torch.from_numpy(pool.things[rows].astype(np.float32))
    )


def visible_boxes(owners: NDArray[np.int64], things: int) -> NDArray[np.float32]:
    """float32 [b, things, 4]: xyxy of what can be seen of each thing, 0..1; zeros where nothing can."""
    boxes = np.zeros((len(owners), things, 4), np.float32)
    for thing in range(things):
        covered = owners == thing + 1
        for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
            line = covered.any(axis=axis)
            boxes[:, thing, low] = line.argmax(axis=1)
            boxes[:, thing, high] = line.shape[1] - line[:, ::-1].argmax(axis=1)
        boxes[~covered.any(axis=(1, 2)), thing] = 0
    return boxes / owners.shape[1]


def _give_small_things_a_patch(owner: Tensor, boxes: NDArray[np.float32]) -> None:
    for image, thing in np.argwhere(boxes[..., 2] > 0):
        if not (owner[image] == thing + 1).any():
            x, y = (boxes[image, thing, :2] + boxes[image, thing, 2:]) / 2
            owner[image, int(y * GRID) * GRID + int(x * GRID)] = int(thing) + 1


class Trainer(Training):
    """The training of the detector, from the encoder on."""

    LOSSES = ("class_loss", "box_loss", "overlap_loss")
    FIGURES = ("overall", "head", "body", "tail", "overall@0.75")
    LOSS_DIGITS = 4
    recipe: Recipe

    def __init__(self, recipe: Recipe, folder: Path, encoder_folder: Path, workers: int) -> None:
        super().__init__(recipe, folder)
        self.train, self.validate = build_pools(
            folder, recipe, workers, image_px=POOL_PX, owner_px=OWNER_PX, padded=True
        )
        taxonomy = starter_taxonomy()
        self.dense, self.concepts = dense_columns(), all_concepts(taxonomy)
        self.phrases = [
            (column, phrase)
            for column, c in enumerate(self.concepts)
            for phrase in (*taxonomy.by_id[c].labels, *taxonomy.phrases(taxonomy.by_id[c]))
        ]
        self.tokenizer = train_phrase_tokenizer(
            [p for _, p in self.phrases], folder / "tokenizer", TEXT_TOKENS
        )
        self.targets = torch.from_numpy(concept_vectors(bundled_encoder(encoder_folder), self.concepts))
        self.model = build_model(
            recipe, self.tokenizer, SiglipModel.from_pretrained(encoder_folder, dtype=torch.float32)
        )
        some = make_batch(self.train, np.arange(min(64, recipe.train_scenes)), None, 1.0)
        keep_first_norm_quiet(self.model, some.pixels)
        self.model.owlv2.text_model.requires_grad_(False)
        self.model.owlv2.text_projection.requires_grad_(False)
        seeing = [
            (n, p) for n, p in self.model.named_parameters() if p.requires_grad and n != "owlv2.logit_scale"
        ]
        self.modules = {"model": self.model}
        self.optimise(
            (p for n, p in seeing if is_hidden(n, p)), (p for n, p in seeing if not is_hidden(n, p))
        )

    def teach_text(self) -> float:
        """Let the text tower say of every phrase what the encoder says of its concept; returns the mean cosine reached."""
        tower = (self.model.owlv2.text_model, self.model.owlv2.text_projection)
        parameters = [p for part in tower for p in part.parameters()]
        for p in parameters:
            p.requires_grad_(True)
        optimiser = torch.optim.AdamW(parameters, lr=self.recipe.text_learning_rate, weight_decay=0.01)
        tokens = self._tokens([phrase for _, phrase in self.phrases])
        goals = self.targets[torch.tensor([column for column, _ in self.phrases])]
        rng = np.random.default_rng([self.recipe.seed, 0xC1A55])
        for step in range(self.recipe.text_steps):
            rows = torch.from_numpy(rng.choice(len(tokens[0]), self.recipe.text_batch, replace=False))
            optimiser.param_groups[0]["lr"] = self.recipe.text_learning_rate * (
                1 - step / self.recipe.text_steps
            )
            optimiser.zero_grad(set_to_none=True)
            loss = (1 - (self._texts(tokens[0][rows], tokens[1][rows]) * goals[rows]).sum(-1)).mean()
            loss.backward()
            optimiser.step()
            if step % 100 == 0:
                print(f"text step {step}: cosine {1 - loss.item():.3f}", flush=True)
        for p in parameters:
            p.requires_grad_(False)
        with torch.inference_mode():
            parts = [
                self._texts(i, m) for i, m in zip(tokens[0].split(256), tokens[1].split(256), strict=True)
            ]
            return float((torch.cat(parts) * goals).sum(-1).mean())

    def _tokens(self, phrases: list[str]) -> tuple[Tensor, Tensor]:
        encoded = self.tokenizer(
            phrases, padding="max_length", truncation=True, max_length=TEXT_TOKENS, return_tensors="pt"
        )
        return encoded["input_ids"], encoded["attention_mask"]

    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        pooled = self.model.owlv2.text_model(input_ids=ids, attention_mask=mask).pooler_output
        return functional.normalize(self.model.owlv2.text_projection(pooled), dim=-1)

    def drawn_texts(self) -> Tensor:
        """float32 [concepts with a region, width]: the unit vector of each label."""
        taxonomy = starter_taxonomy()
        with torch.no_grad():
            return self._texts(
                *self._tokens([taxonomy.by_id[self.concepts[i]].pref_label for i in self.dense])
            )

    def pace(self) -> float:
        return min(1.0, (self.step + 1) / self.recipe.warmup_steps) * (1 - self.step / self.recipe.steps)

    def predict(self, pixels: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits [b, patches, texts], boxes [b, patches, 4] as xyxy, objectness logits [b, patches]."""
        grid = self.model.image_embedder(pixels)[0]
        patches = grid.flatten(1, 2)
        logits = self.model.class_predictor(patches, texts.expand(len(pixels), -1, -1))[0]
        boxes = box_convert(self.model.box_predictor(patches, grid).float(), "cxcywh", "xyxy")
        return logits.float(), boxes, self.model.objectness_predictor(patches).float()

    def losses(self) -> tuple[tuple[float, Tensor], ...]:
        """Those of classes, boxes and overlap; and of objectness, which teaches its own head only."""
        r, rng = self.recipe, np.random.default_rng([self.recipe.seed, self.step])
        batch = make_batch(
            self.train, rng.choice(r.train_scenes, r.batch_images, replace=False), rng, r.whole_share
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits, boxes, objectness = self.predict(batch.pixels, self.texts)
        covered = batch.owner > 0
        image = torch.arange(len(boxes))[:, None].expand_as(batch.owner)[covered]
        thing = batch.owner[covered] - 1
        true_boxes, found = batch.boxes[image, thing], boxes[covered]
        # a thing counts once, however many patches it covers
        weight = 1.0 / torch.stack([(row == row[:, None]).sum(1) for row in batch.owner])[covered].float()
        things = weight.sum().clamp(min=1.0)
        box = (functional.l1_loss(found, true_boxes, reduction="none").sum(-1) * weight).sum() / things
        overlap = (generalized_box_iou_loss(found, true_boxes) * weight).sum() / things
        with torch.no_grad():
            iou = _paired_iou(found, true_boxes)
            truth = torch.zeros_like(logits)
            truth[covered] = batch.things[image, thing][:, self.dense] * (0.5 + 0.5 * iou[:, None])
            sure = torch.zeros_like(objectness)
            sure[covered] = iou
        focus = (truth - logits.detach().sigmoid()).square()
        classes = (
            functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * focus
        ).sum() / covered.sum()
        presence = functional.binary_cross_entropy_with_logits(objectness, sure)
        return (1.0, classes), (r.box_weight, box), (r.overlap_weight, overlap), (1.0, presence)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Recall@IoU 0.5 by band (and at 0.75) on unseen scenes when every concept is asked for."""
        self.model.eval()
        columns, reached = [], []
        for start in range(0, len(self.validate.images), 50):
            rows = np.arange(start, min(start + 50, len(self.validate.images)))
            batch = make_batch(self.validate, rows, None, 1.0)
            logits, boxes, _ = self.predict(batch.pixels, self.texts)
            for number in range(len(rows)):
                found = best_detections(boxes[number], logits[number].sigmoid())
                truth = batch.things[number][:, self.dense]
                for thing, column in truth.nonzero().tolist():
                    mine = found[0][found[1] == column]
                    iou = (
                        box_iou(mine, batch.boxes[number, thing][None]).amax()
                        if len(mine)
                        else torch.tensor(0.0)
                    )
                    columns.append(column)
                    reached.append(float(iou))
        self.model.train()
        return band_recall(np.array(columns), np.array(reached))

    def resume(self) -> bool:
        """Go on where the last run of the same folder stopped, or begin with the text tower."""
        resumed = super().resume()
        if not resumed:
            print(f"text tower: mean cosine to the encoder's {self.teach_text():.4f}", flush=True)
            self.save()
        self.texts = self.drawn_texts()
        return resumed


def _paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes [n, 4] xyxy, pair by pair."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1)
    return common / (areas - common).clamp(min=1e-9)


def best_detections(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [n, 4], columns [n] and scores [n] of one image, after class-wise NMS; at most DETECTIONS."""
    top = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    patch, column = top.indices // scores.shape[1], top.indices % scores.shape[1]
    keep = batched_nms(boxes[patch], top.values, column, NMS_IOU)[:DETECTIONS]
    return boxes[patch][keep], column[keep], top.values[keep]


def band_recall(columns: NDArray[np.int64], iou: NDArray[np.float64]) -> dict[str, float]:
    """Micro recall@IoU for the training log; the figures that count come from `evaluation`."""
    bands = bands_of(np.bincount(columns)).items()
    figures = {name: float((iou[np.isin(columns, chosen)] >= 0.5).mean()) for name, chosen in bands}
    return figures | {"overall@0.75": float((iou >= 0.75).mean())}


def main() -> None:
    recipe, given = read_arguments(
        __doc__, Recipe, "demo/.pool/detector", "detector_training.csv", check_every=100
    )
    Trainer(recipe, given.pool, given.encoder, given.workers).run(given.log, given.check_every)


if __name__ == "__main__":
    main()
