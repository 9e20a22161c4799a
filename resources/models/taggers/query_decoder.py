"""The network of RAM++, RAM and Tag2Text: a Swin tower, and a decoder in which each tag is a query over its tokens.

Huang et al., Tag2Text (2023), Recognize Anything (2023), Open-Set Image Tagging with Multi-Grained Text Supervision
(2023); the decoder is that of Liu et al., Query2Label (2021), without self-attention. Sizes are read off the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from timm.models.swin_transformer import SwinTransformer

DECODER_HEADS = 4
"""Of the published configuration (q2l_config.json); no shape of a weight tells it."""
LAYER_NORM_EPS = 1e-12
_PATCH_PX = 4
_OF_LAYER = {
    "crossattention.self.query": "query",
    "crossattention.self.key": "key",
    "crossattention.self.value": "value",
    "crossattention.output.dense": "mix",
    "crossattention.output.LayerNorm": "mixed",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "narrowed",
}
"""Parts of a layer as the checkpoints name them -> here."""


class Layer(nn.Module):
    """Queries look at the image's tokens, then each for itself through two dense layers; LayerNorm after each sum."""

    def __init__(self, width: int, image_width: int, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(wide, width) for wide in (width, image_width, image_width)
        )
        self.mix, self.mixed = nn.Linear(width, width), nn.LayerNorm(width, LAYER_NORM_EPS)
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.narrowed = nn.LayerNorm(width, LAYER_NORM_EPS)

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        """[n, queries, width] of queries of that shape and tokens [n, tokens, image width]."""
        q, k, v = (_in_heads(part) for part in (self.query(queries), self.key(image), self.value(image)))
        looked = functional.scaled_dot_product_attention(q, k, v)
        found = self.mixed(queries + self.mix(looked.transpose(1, 2).flatten(2)))
        answer: Tensor = self.narrowed(found + self.narrow(functional.gelu(self.widen(found))))
        return answer


def _in_heads(values: Tensor) -> Tensor:
    """[n, heads, length, width / heads]"""
    return values.unflatten(2, (DECODER_HEADS, -1)).transpose(1, 2)


class QueryTagger(nn.Module):
    """Pixels to the logits of tags. `label_embed` is of the tags: what stands behind each query."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tower: SwinTransformer = shape.tower()
        self.layers = nn.ModuleList(
            Layer(shape.width, shape.image_width, shape.inner) for _ in range(shape.layers)
        )
        self.label_embed = nn.Parameter(torch.zeros(shape.labels, shape.label_width))
        if shape.family == "tag2text":
            self.weight = nn.Parameter(torch.zeros(shape.labels, shape.width))
            self.bias = nn.Parameter(torch.zeros(shape.labels))
        else:
            self.image_proj = nn.Linear(shape.tower_width, shape.image_width)
            self.wordvec_proj = (
                nn.Identity()
                if shape.width == shape.label_width
                else nn.Linear(shape.label_width, shape.width)
            )
            self.fc = nn.Linear(shape.width, 1)
        if shape.family == "ram-plus":
            self.reweight_scale = nn.Parameter(torch.zeros([]))

    def forward(self, pixels: Tensor, labels: Labels) -> Tensor:
        """Logits [n, tags] of pixels [n, 3, side, side], of what `labels` say."""
        tokens = self.tower.forward_features(pixels).flatten(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        if self.shape.family != "tag2text":
            tokens = self.image_proj(tokens)
        queries = self._queries(tokens[:, 0], labels)
        for layer in self.layers:
            queries = layer(queries, tokens)
        if self.shape.family == "tag2text":
            return (queries * self.weight).sum(dim=-1) + self.bias
        logits: Tensor = self.fc(queries).squeeze(-1)
        return logits

    def _queries(self, whole: Tensor, labels: Labels) -> Tensor:
        """[n, tags, width] for images whose mean token is `whole` [n, image width]."""
        if self.shape.family == "tag2text":
            return labels.vectors[:, 0].expand(len(whole), -1, -1)
        if self.shape.family == "ram":
            said = labels.vectors[:, 0].expand(len(whole), -1, -1)
        else:  # of the texts of a tag, those that are like the image count most
            direction = functional.normalize(whole, dim=-1)
            likeness = torch.einsum("nd,ktd->nkt", self.reweight_scale.exp() * direction, labels.vectors)
            shares = likeness.masked_fill(~labels.given, -torch.inf).softmax(dim=-1)
            said = torch.einsum("nkt,ktd->nkd", shares, labels.vectors)
        return functional.relu(self.wordvec_proj(said))


@dataclass(frozen=True, slots=True)
class Labels:
    """The texts behind tags, as vectors."""

    vectors: Tensor
    """[tags, most texts of a tag, label width]"""
    given: Tensor
    """bool [tags, most texts of a tag]: where there is a text"""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a checkpoint."""

    family: str
    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    image_width: int
    width: int
    inner: int
    layers: int
    labels: int
    label_width: int

    @classmethod
    def of(cls, family: str, weights: Mapping[str, Tensor]) -> Shape:
        """Of weights under the names of their checkpoint. Raises KeyError where one is missing."""
        blocks = re.compile(r"visual_encoder\.layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight")
        found = [(int(m[1]), int(m[2])) for name in weights if (m := blocks.fullmatch(name))]
        depths = tuple(
            sum(1 for stage, _ in found if stage == each) for each in range(len({s for s, _ in found}))
        )
        tables = [
            weights[f"visual_encoder.layers.{stage}.blocks.0.attn.relative_position_bias_table"]
            for stage in range(len(depths))
        ]
        first = "tagging_head.encoder.layer.0."
        labels = weights["label_embed.weight" if family == "tag2text" else "label_embed"]
        return cls(
            family,
            weights["visual_encoder.patch_embed.proj.weight"].shape[0],
            depths,
            tuple(table.shape[1] for table in tables),
            (round(max(len(table) for table in tables) ** 0.5) + 1) // 2,
            weights[f"{first}crossattention.self.key.weight"].shape[1],
            weights[f"{first}crossattention.self.query.weight"].shape[0],
            weights[f"{first}intermediate.dense.weight"].shape[0],
            sum(
                name.endswith("crossattention.self.query.weight")
                for name in weights
                if "tagging_head" in name
            ),
            labels.shape[0],
            labels.shape[1],
        )

    @property
    def side_px(self) -> int:
        """Of the image: 384 for windows of 12, 224 for those of 7, as Swin's are."""
        return _PATCH_PX * 2 ** (len(self.depths) - 1) * self.window

    @property
    def tower_width(self) -> int:
        return self.embed_dim * 2 ** (len(self.depths) - 1)

    def tower(self) -> SwinTransformer:
        from timm.models.swin_transformer import SwinTransformer

        return SwinTransformer(
            img_size=self.side_px, patch_size=_PATCH_PX, num_classes=0, global_pool="", embed_dim=self.embed_dim,
            depths=self.depths, num_heads=self.heads, window_size=self.window, drop_path_rate=0.0,
        )  # fmt: skip


def build(family: str, weights: Mapping[str, Tensor]) -> tuple[QueryTagger, list[str]]:
    """The network of a checkpoint's weights, and the names of those that are missing in it.

    The captioning half of RAM and Tag2Text (`tag_encoder`, `text_decoder`) is not looked at. Raises KeyError where even
    the sizes cannot be told.
    """
    from timm.models.swin_transformer import checkpoint_filter_fn

    model = QueryTagger(Shape.of(family, weights))
    tower = {
        name.removeprefix("visual_encoder."): value
        for name, value in weights.items()
        if name.startswith("visual_encoder.") and not name.startswith("visual_encoder.head.")
    }
    renamed = {f"tower.{name}": value for name, value in checkpoint_filter_fn(tower, model.tower).items()}
    renamed |= {own: weights[name] for name, own in _names_of(model).items() if name in weights}
    if family == "tag2text" and "weight" in renamed:
        renamed |= {"weight": renamed["weight"][0], "bias": renamed["bias"][0]}
    missing, _ = model.load_state_dict(renamed, strict=False)
    return model, sorted(missing)


def _names_of(model: QueryTagger) -> dict[str, str]:
    """Name in a checkpoint -> here, of all but the tower."""
    names = {
        f"tagging_head.encoder.layer.{number}.{theirs}.{kind}": f"layers.{number}.{own}.{kind}"
        for number in range(model.shape.layers)
        for theirs, own in _OF_LAYER.items()
        for kind in ("weight", "bias")
    }
    if model.shape.family == "tag2text":
        return names | {"label_embed.weight": "label_embed", "fc.W": "weight", "fc.b": "bias"}
    same = ("label_embed", "image_proj.weight", "image_proj.bias", "wordvec_proj.weight", "wordvec_proj.bias", "fc.weight",
            "fc.bias", "reweight_scale")  # fmt: skip
    return names | {name: name for name in same}


def own_labels(model: QueryTagger, tags: int) -> Labels:
    """The texts of its own tags: one a tag, or of RAM++ as many as its makers' descriptions of each (51)."""
    vectors = model.label_embed.detach().unflatten(0, (tags, -1))
    return Labels(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device))


def asked_labels(vectors: list[Tensor], like: Any) -> Labels:
    """Those of `vectors`, [texts, label width] a tag, on the device and in the precision of the tensor `like`."""
    from torch.nn.utils.rnn import pad_sequence

    padded = pad_sequence(vectors, batch_first=True).to(like)
    lengths = torch.tensor([len(each) for each in vectors])
    given = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return Labels(padded, given.to(padded.device))
