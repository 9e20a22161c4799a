"""A tiny BEiT-3 captioner with random weights, saved as the large ones are published."""

from __future__ import annotations

from pathlib import Path

import torch
from sentencepiece import SentencePieceTrainer

WIDTH, HIDDEN, LAYERS, PATCH_PX, SIDE = 128, 160, 2, 8, 3
TEXT_POSITIONS, VOCABULARY = 40, 50
SENTENCES = [
    "a bowl of fruit on a wooden table", "two horses stand before a red barn", "an old map of the town", "a man reads a letter",
    "the bowl and the horse", "a wooden chair under a tree", "three coins of silver", "a letter of the old town",
]  # fmt: skip


def tiny_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Under the names of the package torchscale, with the mask of pictures, which captions do not need."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, torch.Tensor] = {}

    def put(name: str, *shape: int, around: float = 0.0, spread: float = 0.1) -> None:
        made[name] = around + spread * torch.randn(*shape, generator=generator)

    def linear(name: str, wide: int, out: int) -> None:
        put(f"{name}.weight", out, wide, spread=wide**-0.5)
        put(f"{name}.bias", out)

    def norm(name: str, width: int = WIDTH) -> None:
        put(f"{name}.weight", width, around=1.0)
        put(f"{name}.bias", width)

    put("beit3.text_embed.weight", VOCABULARY, WIDTH, spread=0.6)
    put("beit3.vision_embed.mask_token", 1, 1, WIDTH)
    put("beit3.vision_embed.cls_token", 1, 1, WIDTH)
    put("beit3.vision_embed.proj.weight", WIDTH, 3, PATCH_PX, PATCH_PX, spread=0.15)
    put("beit3.vision_embed.proj.bias", WIDTH)
    put("beit3.encoder.embed_positions.A.weight", SIDE**2 + 3, WIDTH, spread=0.4)
    put("beit3.encoder.embed_positions.B.weight", TEXT_POSITIONS, WIDTH, spread=0.4)
    for way in "AB":
        norm(f"beit3.encoder.layer_norm.{way}")
        for layer in range(LAYERS):
            start = f"beit3.encoder.layers.{layer}"
            for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
                linear(f"{start}.self_attn.{name}.{way}", WIDTH, WIDTH)
            for name in ("self_attn.inner_attn_ln", "self_attn_layer_norm", "final_layer_norm"):
                norm(f"{start}.{name}.{way}")
            linear(f"{start}.ffn.{way}.fc1", WIDTH, HIDDEN)
            linear(f"{start}.ffn.{way}.fc2", HIDDEN, WIDTH)
            norm(f"{start}.ffn.{way}.ffn_layernorm", HIDDEN)
    linear("mlm_head", WIDTH, VOCABULARY)
    return made


def save_pieces(directory: Path) -> None:
    """beit3.spm, of fewer pieces than the weights have words."""
    text = directory / "sentences.txt"
    text.write_text("\n".join(SENTENCES * 4) + "\n", encoding="utf-8")
    SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(directory / "beit3"),
        vocab_size=40,
        model_type="unigram",
        minloglevel=2,
    )
    (directory / "beit3.model").rename(directory / "beit3.spm")
    text.unlink()
