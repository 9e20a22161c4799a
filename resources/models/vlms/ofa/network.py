"""OFA as a captioner (Wang et al., OFA: Unifying Architectures, Tasks, and Modalities, 2022).

A ResNet without its last stage and the words of the prompt go through one encoder; positions are not added to what a
place holds but to how much two places look at each other, absolutely and by their distance. Modules have the names of the
published weights. What captions do not need (pictures made of codes) is left out.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, ResNet
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

RESNET_OUT = 1024
"""Channels of a ResNet's third stage"""
ATTENTION_SCALE = 2.0
"""Each look is made of two parts, of what is there and of where it is"""
MAX_DISTANCE = 1024
"""Places of text; farther ones share a bucket"""
_TEXT, _IMAGE = 0, 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the weights of a checkpoint tell of it."""

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    hidden: int
    """of the layers between attentions"""
    vocabulary: int
    blocks: tuple[int, int, int]
    """of the ResNet's stages"""
    positions: int
    """of text"""
    token_buckets: int
    image_side: int
    """most places along a side of a picture"""
    scaled: bool
    """whether attentions and layers are normalised once more within, and heads are weighted"""
    typed: bool
    """whether words and picture have an embedding of their kind"""


class OfaConfig(PretrainedConfig):
    """`Sizes` as transformers asks for a configuration."""

    model_type = "ofa-captions"

    def __init__(self, sizes: Sizes | None = None, **others: Any) -> None:
        self.sizes = asdict(sizes) if sizes else {}
        self.vocab_size = sizes.vocabulary if sizes else 0
        self.num_hidden_layers = sizes.decoder_layers if sizes else 0
        super().__init__(is_encoder_decoder=True, **others)


class Attention(nn.Module):
    """Scaled products of queries and keys, and on top of them a bias of their places."""

    def __init__(self, sizes: Sizes, layer: int) -> None:
        super().__init__()
        self.layer, self.heads, self.head_width = layer, sizes.heads, sizes.width // sizes.heads
        self.k_proj = nn.Linear(sizes.width, sizes.width)
        self.v_proj = nn.Linear(sizes.width, sizes.width)
        self.q_proj = nn.Linear(sizes.width, sizes.width)
        self.out_proj = nn.Linear(sizes.width, sizes.width)
        self.c_attn = nn.Parameter(torch.ones(sizes.heads)) if sizes.scaled else None

    def forward(self, x: Tensor, seen: Tensor, bias: Tensor, cache: Any = None, kept: bool = False) -> Tensor:
        """Of x [n, to, width] and what it looks at [n, from, width], with a bias [1, heads, to, from] of a cache's length.

        `kept`: whether what a cache holds is all that is looked at.
        """
        keys, values = self._keys_and_values(seen, cache, kept)
        queries = self._split(self.q_proj(x)) * (self.head_width * ATTENTION_SCALE) ** -0.5
        weights = (queries @ keys.transpose(2, 3) + bias).float().softmax(dim=-1).to(x.dtype)
        found = weights @ values
        if self.c_attn is not None:
            found = found * self.c_attn[None, :, None, None]
        return self.out_proj(found.transpose(1, 2).flatten(2))

    def _keys_and_values(self, seen: Tensor, cache: Any, kept: bool) -> tuple[Tensor, Tensor]:
        if kept:
            return cache.layers[self.layer].keys, cache.layers[self.layer].values
        keys, values = self._split(self.k_proj(seen)), self._split(self.v_proj(seen))
        return (keys, values) if cache is None else cache.update(keys, values, self.layer)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, self.head_width)).transpose(1, 2)


class _Layer(nn.Module):
    """What layers of both sides end with."""

    def __init__(self, sizes: Sizes, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(sizes, layer)
        self.self_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)
        self.ffn_layernorm = _norm(sizes.hidden, sizes.scaled)
        self.final_layer_norm = nn.LayerNorm(sizes.width)

    def thought_over(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.ffn_layernorm(functional.gelu(self.fc1(self.final_layer_norm(x)))))


def _norm(width: int, there: bool) -> nn.Module:
    return nn.LayerNorm(width) if there else nn.Identity()


class EncoderLayer(_Layer):
    """One of the encoder."""

    def __init__(self, sizes: Sizes, layer: int) -> None:
        super().__init__(sizes, layer)
        self.attn_ln = _norm(sizes.width, sizes.scaled)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        seen = self.self_attn_layer_norm(x)
        return self.thought_over(x + self.attn_ln(self.self_attn(seen, seen, bias)))


class DecoderLayer(_Layer):
    """One of the decoder."""

    def __init__(self, sizes: Sizes, layer: int) -> None:
        super().__init__(sizes, layer)
        self.layer = layer
        self.self_attn_ln = _norm(sizes.width, sizes.scaled)
        self.encoder_attn = Attention(sizes, layer)
        self.encoder_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.cross_attn_ln = _norm(sizes.width, sizes.scaled)

    def forward(self, x: Tensor, encoded: Tensor, own_bias: Tensor, cross_bias: Tensor, cache: Any) -> Tensor:
        seen = self.self_attn_layer_norm(x)
        own = cache.self_attention_cache if cache is not None else None
        x = x + self.self_attn_ln(self.self_attn(seen, seen, own_bias, own))
        asked = self.encoder_attn_layer_norm(x)
        if cache is None:
            found = self.encoder_attn(asked, encoded, cross_bias)
        else:
            kept = bool(cache.is_updated.get(self.layer))
            found = self.encoder_attn(asked, encoded, cross_bias, cache.cross_attention_cache, kept)
            cache.is_updated[self.layer] = True
        return self.thought_over(x + self.cross_attn_ln(found))


class _Side(nn.Module):
    """What encoder and decoder have alike: words, places and layers."""

    def __init__(self, sizes: Sizes, layers: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layernorm_embedding = nn.LayerNorm(sizes.width)
        self.embed_positions = nn.Embedding(sizes.positions, sizes.width)
        self.pos_ln = nn.LayerNorm(sizes.width)
        self.layer_norm = nn.LayerNorm(sizes.width)
        self.token_rel_pos_table_list = nn.ModuleList(
            nn.Embedding(2 * sizes.token_buckets - 1, sizes.heads) for _ in range(layers)
        )

    def looks(self, to: nn.Linear, places: Tensor, of: nn.Linear, others: Tensor) -> Tensor:
        """How much each place looks at each other one, by what they are as places: [1, heads, places, others]."""
        heads = self.sizes.heads
        scale: float = (self.sizes.width / heads * ATTENTION_SCALE) ** -0.5
        queries = to(places).unflatten(1, (heads, -1)).transpose(0, 1) * scale
        keys = of(others).unflatten(1, (heads, -1)).transpose(0, 1)
        return (queries @ keys.transpose(1, 2))[None]

    def by_distance(self, layer: int, length: int) -> Tensor:
        """[heads, length, length] of a layer, for places of text."""
        buckets = text_buckets(length, self.sizes.token_buckets).to(self.embed_positions.weight.device)
        return self.token_rel_pos_table_list[layer](buckets).permute(2, 0, 1)

    def places_of_text(self, length: int) -> Tensor:
        """[length, width]."""
        return self.pos_ln(self.embed_positions.weight[:length])


class Encoder(_Side):
    """Pictures [n, 3, height, width] and words [n, length] to what the decoder looks at, pictures first."""

    main_input_name = "pixel_values"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, sizes.encoder_layers)
        self.embed_images = _resnet(sizes.blocks)
        self.image_proj = nn.Linear(RESNET_OUT, sizes.width)
        self.patch_layernorm_embedding = nn.LayerNorm(sizes.width)
        self.type_embedding = nn.Embedding(2, sizes.width) if sizes.typed else None
        self.embed_image_positions = nn.Embedding(sizes.image_side**2 + 1, sizes.width)
        self.image_pos_ln = nn.LayerNorm(sizes.width)
        self.pos_q_linear = nn.Linear(sizes.width, sizes.width)
        self.pos_k_linear = nn.Linear(sizes.width, sizes.width)
        self.layers = nn.ModuleList(EncoderLayer(sizes, layer) for layer in range(sizes.encoder_layers))
        distances = (2 * sizes.image_side - 1) ** 2 + 3
        self.image_rel_pos_table_list = nn.ModuleList(
            nn.Embedding(distances, sizes.heads) for _ in range(sizes.encoder_layers)
        )

    def forward(self, pixel_values: Tensor, prompt_ids: Tensor, **_: Any) -> BaseModelOutput:
        """[n, places of the picture + words, width]."""
        picture = self.embed_images(pixel_values)
        height, width = picture.shape[2:]
        seen = self.image_proj(picture.flatten(2).transpose(1, 2))
        words = self.embed_tokens(prompt_ids)
        if self.type_embedding is not None:
            seen, words = seen + self.type_embedding.weight[_IMAGE], words + self.type_embedding.weight[_TEXT]
        x = torch.cat([self.patch_layernorm_embedding(seen), self.layernorm_embedding(words)], dim=1)
        places = self.places(height, width, prompt_ids.shape[1])
        bias = self.looks(self.pos_q_linear, places, self.pos_k_linear, places)
        distances = image_distances(height, width, self.sizes.image_side).to(x.device)
        for number, layer in enumerate(self.layers):
            own = bias.clone()
            own[:, :, : height * width, : height * width] += self.image_rel_pos_table_list[number](
                distances
            ).permute(2, 0, 1)
            own[:, :, height * width :, height * width :] += self.by_distance(number, prompt_ids.shape[1])
            x = layer(x, own)
        return BaseModelOutput(last_hidden_state=self.layer_norm(x))

    def places(self, height: int, width: int, length: int) -> Tensor:
        """[height * width + length, width], those of the picture first."""
        rows = torch.arange(height)[:, None] * self.sizes.image_side
        at = (rows + torch.arange(width) + 1).flatten().to(self.embed_image_positions.weight.device)
        return torch.cat([self.image_pos_ln(self.embed_image_positions(at)), self.places_of_text(length)])


class Decoder(_Side):
    """Words so far [n, length] and what the encoder saw to logits of the next word."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, sizes.decoder_layers)
        self.self_pos_q_linear = nn.Linear(sizes.width, sizes.width)
        self.self_pos_k_linear = nn.Linear(sizes.width, sizes.width)
        self.cross_pos_q_linear = nn.Linear(sizes.width, sizes.width)
        self.cross_pos_k_linear = nn.Linear(sizes.width, sizes.width)
        self.layers = nn.ModuleList(DecoderLayer(sizes, layer) for layer in range(sizes.decoder_layers))
        self.output_projection = nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(self, words: Tensor, encoded: Tensor, source: Tensor, cache: Any) -> Tensor:
        """[n, length, vocabulary]; `source`: places [seen, width] of what the encoder saw."""
        past = cache.get_seq_length() if cache is not None else 0
        length = past + words.shape[1]
        places = self.places_of_text(length)
        own = self.looks(self.self_pos_q_linear, places, self.self_pos_k_linear, places)
        own = own + torch.full_like(own[0, 0], -math.inf).triu(1)
        cross = self.looks(self.cross_pos_q_linear, places[past:], self.cross_pos_k_linear, source)
        x = self.layernorm_embedding(self.embed_tokens(words))
        for number, layer in enumerate(self.layers):
            bias = (own + self.by_distance(number, length))[:, :, past:]
            x = layer(x, encoded, bias, cross, cache)
        return self.output_projection(self.layer_norm(x))


class Ofa(PreTrainedModel, GenerationMixin):
    """Both sides, decoded by transformers."""

    config_class = OfaConfig
    main_input_name = "pixel_values"

    def __init__(self, config: OfaConfig) -> None:
        super().__init__(config)
        sizes = Sizes(**{**config.sizes, "blocks": tuple(config.sizes["blocks"])})
        self.encoder, self.decoder = Encoder(sizes), Decoder(sizes)
        self.post_init()

    def get_encoder(self, *_: Any, **__: Any) -> nn.Module:
        return self.encoder

    def forward(
        self,
        pixel_values: Tensor | None = None,
        prompt_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: EncoderDecoderCache | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Logits of the words after `decoder_input_ids`, of square pictures and a prompt, or of what was encoded of them."""
        assert prompt_ids is not None
        assert decoder_input_ids is not None
        seen = encoder_outputs if encoder_outputs is not None else self.encoder(pixel_values, prompt_ids)
        words = prompt_ids.shape[1]
        side = math.isqrt(seen[0].shape[1] - words)
        source = self.encoder.places(side, side, words)
        logits = self.decoder(decoder_input_ids, seen[0], source, past_key_values)
        return Seq2SeqLMOutput(logits=logits, past_key_values=past_key_values)


def _resnet(blocks: tuple[int, int, int]) -> nn.Module:
    """The first three stages, 16 pixels a place."""
    resnet = ResNet(Bottleneck, [*blocks, 1])
    stages = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    return nn.Sequential(OrderedDict((name, getattr(resnet, name)) for name in stages))


def text_buckets(length: int, buckets: int) -> Tensor:
    """Which distance bucket each place of text is in for each other one, int [length, length].

    Distances up to half of `buckets` have their own, on either side; farther ones share one by their logarithm.
    """
    at = torch.arange(length)
    apart = at[:, None] - at[None, :]
    half = buckets // 2
    far = apart.abs().clamp(min=half)
    steps = (far / half).log() / math.log((MAX_DISTANCE - 1) / half) * (half - 1)
    shared = (steps.ceil().int() + half) * apart.sign()
    return torch.where(apart.abs() <= half, apart, shared).long() + buckets - 1


def image_distances(height: int, width: int, side: int) -> Tensor:
    """Which distance each place of a picture has to each other one, rows first, int [places, places]."""
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    down = rows[:, None] - rows[None, :] + side - 1
    right = columns[:, None] - columns[None, :] + side - 1
    return down * (2 * side - 1) + right
