"""BEiT-3 as a captioner (Wang et al., Image as a Foreign Language, 2022).

One Transformer, whose attention is common and whose layers are two each: A for places of the picture, B for words. The
picture looks at itself alone, words at it and at the words before; the next word is read off a [MASK] behind the last one.
So the picture is gone through once, and its keys and values are kept. Modules have the names of the published weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

HEAD_WIDTH = 64
"""Of all sizes that are published; no shape tells it"""
FIRST_POSITION = 2
"""Tables of positions begin with two that are never used"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the weights of a checkpoint tell of it."""

    width: int
    layers: int
    hidden: int
    """of the layers between attentions"""
    vocabulary: int
    patch_px: int
    patches: int
    """of a picture"""
    text_positions: int

    @property
    def image_px(self) -> int:
        return round(self.patches**0.5) * self.patch_px


class Beit3Config(PretrainedConfig):
    """`Sizes` as transformers asks for a configuration."""

    model_type = "beit3-captions"

    def __init__(self, sizes: Sizes | None = None, mask_token_id: int = 0, **others: Any) -> None:
        self.sizes = asdict(sizes) if sizes else {}
        self.mask_token_id = mask_token_id
        self.vocab_size = sizes.vocabulary if sizes else 0
        self.num_hidden_layers = sizes.layers if sizes else 0
        super().__init__(is_encoder_decoder=True, **others)


class Multiway(nn.Module):
    """Two of a kind: A for pictures, B for words."""

    def __init__(self, made: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.A, self.B = made(), made()

    def forward(self, x: Tensor, words: bool) -> Tensor:
        return self.B(x) if words else self.A(x)


def _linear(wide: int, out: int) -> Multiway:
    return Multiway(lambda: nn.Linear(wide, out))


def _norm(width: int) -> Multiway:
    return Multiway(lambda: nn.LayerNorm(width))


class Attention(nn.Module):
    """Scaled products, normalised once more before they are put together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.k_proj, self.v_proj = _linear(width, width), _linear(width, width)
        self.q_proj, self.out_proj = _linear(width, width), _linear(width, width)
        self.inner_attn_ln = _norm(width)

    def keys_and_values(self, x: Tensor, words: bool) -> tuple[Tensor, Tensor]:
        """[n, heads, places, head width] each of x [n, places, width]."""
        return _heads(self.k_proj(x, words)), _heads(self.v_proj(x, words))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, words: bool, seen: Tensor | None = None
    ) -> Tensor:
        """[n, places, width]; `seen`, bool [places, keys]: which keys each place looks at, all without it."""
        found = functional.scaled_dot_product_attention(
            _heads(self.q_proj(x, words)), keys, values, attn_mask=seen
        )
        return self.out_proj(self.inner_attn_ln(found.transpose(1, 2).flatten(2), words), words)


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(2, (-1, HEAD_WIDTH)).transpose(1, 2)


class FeedForward(nn.Module):
    """The layers between attentions."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(sizes.width, sizes.hidden), nn.Linear(sizes.hidden, sizes.width)
        self.ffn_layernorm = nn.LayerNorm(sizes.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.ffn_layernorm(functional.gelu(self.fc1(x))))


class Layer(nn.Module):
    """One layer for both."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.width)
        self.self_attn_layer_norm = _norm(sizes.width)
        self.ffn = Multiway(lambda: FeedForward(sizes))
        self.final_layer_norm = _norm(sizes.width)

    def of_picture(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What comes of places of a picture, and their keys and values as one: [n, 2, heads, places, head width]."""
        own = self.self_attn_layer_norm(x, words=False)
        keys, values = self.self_attn.keys_and_values(own, words=False)
        x = x + self.self_attn(own, keys, values, words=False)
        x = x + self.ffn(self.final_layer_norm(x, words=False), words=False)
        return x, torch.stack([keys, values], dim=1)

    def of_words(self, x: Tensor, number: int, picture: Tensor, cache: Any) -> Tensor:
        """What comes of new words, the last of which is the mask; the cache has those before."""
        own = self.self_attn_layer_norm(x, words=True)
        keys, values = self.self_attn.keys_and_values(own, words=True)
        if cache is not None:
            keys, values = cache.update(keys, values, number)
        keys, values = torch.cat([picture[:, 0], keys], dim=2), torch.cat([picture[:, 1], values], dim=2)
        seen = torch.ones(x.shape[1], keys.shape[2], dtype=torch.bool, device=x.device)
        seen = seen.tril(keys.shape[2] - x.shape[1])
        x = x + self.self_attn(own, keys, values, words=True, seen=seen)
        return x + self.ffn(self.final_layer_norm(x, words=True), words=True)


class VisionEmbedding(nn.Module):
    """Patches, and a place for the whole before them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.width, sizes.patch_px, sizes.patch_px)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, 1 + patches, width]."""
        patches = self.proj(pixels).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)


class Transformer(nn.Module):
    """Positions and layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embed_positions = nn.ModuleDict(
            {
                "A": nn.Embedding(1 + sizes.patches + FIRST_POSITION, sizes.width),
                "B": nn.Embedding(sizes.text_positions, sizes.width),
            }
        )
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.layer_norm = _norm(sizes.width)

    @property
    def blocks(self) -> Iterable[Layer]:
        """The layers, with their type."""
        return cast("Iterable[Layer]", self.layers)


class Body(nn.Module):
    """What its authors call beit3."""

    main_input_name = "pixel_values"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.text_embed = nn.Embedding(sizes.vocabulary, sizes.width)
        self.vision_embed = VisionEmbedding(sizes)
        self.encoder = Transformer(sizes)

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        """Keys and values of a picture, of all layers: [n, layers, 2, heads, places, head width]."""
        x = self.vision_embed(pixel_values)
        x = x + self.encoder.embed_positions.A.weight[FIRST_POSITION : FIRST_POSITION + x.shape[1]]  # type: ignore[union-attr, index]
        kept = []
        for layer in self.encoder.blocks:
            x, own = layer.of_picture(x)
            kept.append(own)
        return BaseModelOutput(last_hidden_state=torch.stack(kept, dim=1))

    def next_word(self, words: Tensor, pictures: Tensor, cache: Any) -> Tensor:
        """[n, width] of the mask that stands last in `words` [n, new]; the cache keeps the others."""
        past = cache.get_seq_length() if cache is not None else 0
        start = FIRST_POSITION + past
        x = self.text_embed(words) + self.encoder.embed_positions.B.weight[start : start + words.shape[1]]  # type: ignore[union-attr, index]
        for number, layer in enumerate(self.encoder.blocks):
            x = layer.of_words(x, number, pictures[:, number], cache)
        if cache is not None:
            cache.crop(-1)
        return self.encoder.layer_norm(x[:, -1], words=True)


class Beit3(PreTrainedModel, GenerationMixin):
    """The captioner, decoded by transformers."""

    config_class = Beit3Config
    main_input_name = "pixel_values"

    def __init__(self, config: Beit3Config) -> None:
        super().__init__(config)
        sizes = Sizes(**config.sizes)
        self.beit3 = Body(sizes)
        self.mlm_head = nn.Linear(sizes.width, sizes.vocabulary)
        self.post_init()

    def get_encoder(self, *_: Any, **__: Any) -> nn.Module:
        return self.beit3

    def forward(
        self,
        pixel_values: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: EncoderDecoderCache | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Logits [n, 1, vocabulary] of the word after `decoder_input_ids`, those that the cache does not have yet."""
        assert decoder_input_ids is not None
        pictures = (encoder_outputs if encoder_outputs is not None else self.beit3(pixel_values))[0]
        mask = decoder_input_ids.new_full((len(decoder_input_ids), 1), self.config.mask_token_id)
        own = past_key_values.self_attention_cache if past_key_values is not None else None
        last = self.beit3.next_word(torch.cat([decoder_input_ids, mask], dim=1), pictures, own)
        return Seq2SeqLMOutput(logits=self.mlm_head(last)[:, None], past_key_values=past_key_values)
