"""A tiny OFA with random weights, saved in both layouts that the large ones are published in."""

from __future__ import annotations

import json
import random
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from resources.models.vlms.ofa.checkpoint import SPECIALS

WIDTH, HEADS, HIDDEN, LAYERS = 32, 4, 48, 2
POSITIONS, BUCKETS, IMAGE_SIDE, IMAGE_PX = 40, 8, 6, 64
MERGES = [
    ("w", "h"),
    ("wh", "a"),
    ("Ġ", "wha"),
    ("Ġwha", "t"),
    ("i", "m"),
    ("a", "g"),
    ("Ġ", "im"),
    ("Ġim", "ag"),
]
PIECES = [*bytes_to_unicode().values(), *("".join(pair) for pair in MERGES)]
VOCABULARY = len(PIECES) + len(SPECIALS) + 6
"""The last ones are codes and bins of pictures, which no text is made of"""
FORK = (
    (r"^(encoder\..*)\.attn_ln\.", r"\1.self_attn_mid_layer_norm."),
    (r"\.self_attn_ln\.", ".self_attn_mid_layer_norm."),
    (r"\.cross_attn_ln\.", ".cross_attn_mid_layer_norm."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_layer_norm."),
    (r"\.ffn_layernorm\.", ".ffn_layer_norm."),
)
"""fairseq's names of weights -> those of the authors' fork of transformers"""


def tiny_weights(seed: int = 0, scaled: bool = True) -> dict[str, torch.Tensor]:
    """Under the names of fairseq, as its code registers them, with buffers and what captions do not need."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, torch.Tensor] = {}

    def put(name: str, *shape: int, around: float = 0.0, spread: float | None = None) -> None:
        spread = spread if spread is not None else (shape[-1] if len(shape) == 2 else 16) ** -0.5
        made[name] = around + spread * torch.randn(*shape, generator=generator)

    def linear(name: str, wide: int, out: int) -> None:
        put(f"{name}.weight", out, wide)
        put(f"{name}.bias", out)

    def norm(name: str, width: int = WIDTH) -> None:
        put(f"{name}.weight", width, around=1.0, spread=0.1)
        put(f"{name}.bias", width, spread=0.1)

    def attention(name: str) -> None:
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            linear(f"{name}.{part}", WIDTH, WIDTH)
        if scaled:
            put(f"{name}.c_attn", HEADS, around=1.0, spread=0.3)

    put("encoder.embed_tokens.weight", VOCABULARY, WIDTH, spread=0.5)
    made["decoder.embed_tokens.weight"] = made["decoder.output_projection.weight"] = made[
        "encoder.embed_tokens.weight"
    ]
    for side in ("encoder", "decoder"):
        made[f"{side}.version"] = torch.tensor([3.0])
        norm(f"{side}.layernorm_embedding")
        put(f"{side}.embed_positions.weight", POSITIONS, WIDTH, spread=0.5)
        put(f"{side}.embed_image_positions.weight", IMAGE_SIDE**2 + 1, WIDTH, spread=0.5)
        for name in ("pos_ln", "image_pos_ln", "layer_norm"):
            norm(f"{side}.{name}")
        for layer in range(LAYERS):
            put(f"{side}.token_rel_pos_table_list.{layer}.weight", 2 * BUCKETS - 1, HEADS, spread=0.5)
            put(
                f"{side}.image_rel_pos_table_list.{layer}.weight",
                (2 * IMAGE_SIDE - 1) ** 2 + 3,
                HEADS,
                spread=0.5,
            )
            start = f"{side}.layers.{layer}"
            attention(f"{start}.self_attn")
            for name in ("self_attn_layer_norm", "final_layer_norm"):
                norm(f"{start}.{name}")
            linear(f"{start}.fc1", WIDTH, HIDDEN)
            linear(f"{start}.fc2", HIDDEN, WIDTH)
            if scaled:
                norm(f"{start}.ffn_layernorm", HIDDEN)
            if side == "decoder":
                attention(f"{start}.encoder_attn")
                norm(f"{start}.encoder_attn_layer_norm")
            for name in ("attn_ln",) if side == "encoder" else ("self_attn_ln", "cross_attn_ln"):
                if scaled:
                    norm(f"{start}.{name}")
        made[f"{side}.image_rp_bucket"] = torch.zeros(IMAGE_SIDE**2 + 1, IMAGE_SIDE**2 + 1, dtype=torch.long)
    put("encoder.type_embedding.weight", 2, WIDTH, spread=0.5)
    norm("encoder.patch_layernorm_embedding")
    norm("decoder.code_layernorm_embedding")
    for name in (
        "encoder.pos_q_linear",
        "encoder.pos_k_linear",
        "decoder.self_pos_q_linear",
        "decoder.self_pos_k_linear",
    ):
        linear(name, WIDTH, WIDTH)
    for name in ("decoder.cross_pos_q_linear", "decoder.cross_pos_k_linear"):
        linear(name, WIDTH, WIDTH)
    linear("encoder.image_proj", 1024, WIDTH)
    _resnet(made, generator)
    return made


def _resnet(made: dict[str, torch.Tensor], generator: torch.Generator) -> None:
    """Of two blocks and twice one, as wide as the large ones' is."""

    def convolution(name: str, wide: int, out: int, side: int) -> None:
        made[f"{name}.weight"] = (
            torch.randn(out, wide, side, side, generator=generator) * (wide * side**2) ** -0.5
        )

    def batch_norm(name: str, width: int) -> None:
        made[f"{name}.weight"] = 1 + 0.1 * torch.randn(width, generator=generator)
        made[f"{name}.bias"] = 0.1 * torch.randn(width, generator=generator)
        made[f"{name}.running_mean"] = 0.1 * torch.randn(width, generator=generator)
        made[f"{name}.running_var"] = 1 + 0.1 * torch.rand(width, generator=generator)
        made[f"{name}.num_batches_tracked"] = torch.tensor(7)

    start = "encoder.embed_images"
    convolution(f"{start}.conv1", 3, 64, 7)
    batch_norm(f"{start}.bn1", 64)
    wide = 64
    for stage, (blocks, planes) in enumerate([(2, 64), (1, 128), (1, 256)], start=1):
        for block in range(blocks):
            name = f"{start}.layer{stage}.{block}"
            for number, (into, out, side) in enumerate(
                [(wide, planes, 1), (planes, planes, 3), (planes, 4 * planes, 1)], 1
            ):
                convolution(f"{name}.conv{number}", into, out, side)
                batch_norm(f"{name}.bn{number}", out)
            if block == 0:
                convolution(f"{name}.downsample.0", wide, 4 * planes, 1)
                batch_norm(f"{name}.downsample.1", 4 * planes)
            wide = 4 * planes


def save_pickle(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """As fairseq saves a training: weights under `model`, beside settings."""
    settings: dict[str, Any] = {"task": {"patch_image_size": IMAGE_PX}, "model": Namespace(arch="ofa_base")}
    torch.save({"args": None, "cfg": settings, "model": weights, "extra_state": {"epoch": 3}}, path)
    return path


def save_fairseq_text(directory: Path) -> None:
    """encoder.json, vocab.bpe and dict.txt, the last in another order than the first."""
    gpt2 = {piece: number for number, piece in enumerate(PIECES)}
    (directory / "encoder.json").write_text(json.dumps(gpt2), encoding="utf-8")
    _save_merges(directory / "vocab.bpe")
    order = [str(number) for number in gpt2.values()]
    random.Random(0).shuffle(order)
    lines = [f"{number} {100 - place}" for place, number in enumerate([*order, "madeupword0000"])]
    (directory / "dict.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _save_settings(directory)


def save_hub_text(directory: Path) -> None:
    """vocab.json and merges.txt, with the same ids as those of fairseq."""
    save_fairseq_text(directory)
    gpt2 = json.loads((directory / "encoder.json").read_text(encoding="utf-8"))
    order = [line.split()[0] for line in (directory / "dict.txt").read_text(encoding="utf-8").splitlines()]
    ids = {token: place for place, token in enumerate(SPECIALS)}
    ids |= {piece: order.index(str(number)) + len(SPECIALS) for piece, number in gpt2.items()}
    for name in ("encoder.json", "dict.txt"):
        (directory / name).unlink()
    (directory / "vocab.bpe").rename(directory / "merges.txt")
    (directory / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")


def in_the_fork(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in FORK:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def _save_merges(path: Path) -> None:
    path.write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in MERGES) + "\n", encoding="utf-8")


def _save_settings(directory: Path) -> None:
    (directory / "preprocessor_config.json").write_text(json.dumps({"size": IMAGE_PX}), encoding="utf-8")
