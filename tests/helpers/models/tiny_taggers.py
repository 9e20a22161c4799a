"""Tiny taggers with random weights: RAM's kin as their pickles hold them, WD's as ONNX files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tiny_onnx as onnx
import torch
from torch import Tensor

from resources.models.convert import convert

EMBED_DIM, DEPTHS, HEADS, WINDOW = 8, (2, 2, 2, 2), (1, 2, 2, 4), 2
WIDTH, INNER, LABEL_WIDTH = 32, 40, 24
SIDE_PX = 64
DESCRIPTIONS = 3
"""Of a tag of RAM++, whose own has 51."""
TAGS = ("vase", "oil lamp", "Amphora", "zongzi", "3D glasses", "shelf")
PUBLISHED = {
    "ram-plus": ("ram_plus_swin_large_14m.pth", "ram_tag_list.txt"),
    "ram": ("ram_swin_large_14m.pth", "ram_tag_list.txt"),
    "tag2text": ("tag2text_swin_14m.pth", "tag2text_ori_tag_list.txt"),
}


def ram_state_dict(family: str, seed: int = 0, tags: int = len(TAGS)) -> dict[str, Tensor]:
    """By the names of the published checkpoints, with the buffers and the captioning half that these hold too."""
    draw = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        weights[name] = scale * torch.randn(shape, generator=draw)

    def dense(name: str, out: int, into: int, *, bias: bool = True) -> None:
        add(f"{name}.weight", out, into, scale=1.5 / into**0.5)
        if bias:
            add(f"{name}.bias", out)

    def norm(name: str, width: int) -> None:
        add(f"{name}.bias", width)
        weights[f"{name}.weight"] = 1 + 0.3 * torch.randn(width, generator=draw)

    tower = "visual_encoder"
    add(f"{tower}.patch_embed.proj.weight", EMBED_DIM, 3, 4, 4)
    add(f"{tower}.patch_embed.proj.bias", EMBED_DIM)
    norm(f"{tower}.patch_embed.norm", EMBED_DIM)
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        width = EMBED_DIM * 2**stage
        for number in range(depth):
            block = f"{tower}.layers.{stage}.blocks.{number}"
            norm(f"{block}.norm1", width)
            norm(f"{block}.norm2", width)
            dense(f"{block}.attn.qkv", 3 * width, width)
            dense(f"{block}.attn.proj", width, width)
            dense(f"{block}.mlp.fc1", 4 * width, width)
            dense(f"{block}.mlp.fc2", width, 4 * width)
            add(f"{block}.attn.relative_position_bias_table", (2 * WINDOW - 1) ** 2, heads, scale=1.0)
            weights[f"{block}.attn.relative_position_index"] = torch.zeros(
                WINDOW**2, WINDOW**2, dtype=torch.int64
            )
        if stage + 1 < len(DEPTHS):
            dense(f"{tower}.layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
            norm(f"{tower}.layers.{stage}.downsample.norm", 4 * width)
    tower_width = EMBED_DIM * 2 ** (len(DEPTHS) - 1)
    norm(f"{tower}.norm", tower_width)

    image_width = tower_width if family == "tag2text" else LABEL_WIDTH
    for number in range(2):
        layer = f"tagging_head.encoder.layer.{number}"
        dense(f"{layer}.crossattention.self.query", WIDTH, WIDTH)
        dense(f"{layer}.crossattention.self.key", WIDTH, image_width)
        dense(f"{layer}.crossattention.self.value", WIDTH, image_width)
        dense(f"{layer}.crossattention.output.dense", WIDTH, WIDTH)
        norm(f"{layer}.crossattention.output.LayerNorm", WIDTH)
        dense(f"{layer}.intermediate.dense", INNER, WIDTH)
        dense(f"{layer}.output.dense", WIDTH, INNER)
        norm(f"{layer}.output.LayerNorm", WIDTH)
    if family == "tag2text":
        add("label_embed.weight", tags, WIDTH, scale=1.0)
        add("fc.W", 1, tags, WIDTH)
        add("fc.b", 1, tags)
    else:
        add("label_embed", tags * (DESCRIPTIONS if family == "ram-plus" else 1), LABEL_WIDTH, scale=1.5)
        dense("image_proj", LABEL_WIDTH, tower_width)
        dense("wordvec_proj", WIDTH, LABEL_WIDTH)
        dense("fc", 1, WIDTH)
    if family == "ram-plus":
        weights["reweight_scale"] = torch.tensor(1.2)
    else:  # tied with the decoder, as in the published files
        weights["tag_encoder.encoder.layer.0.output.dense.weight"] = weights[
            "tagging_head.encoder.layer.0.output.dense.weight"
        ]
        add("text_decoder.bert.encoder.layer.0.output.dense.weight", WIDTH, INNER)
    return weights


def save_tiny_ram(
    family: str,
    directory: Path,
    seed: int = 0,
    tags: Sequence[str] = TAGS,
    thresholds: Sequence[float] | None = None,
) -> Path:
    """The pickle as it is published, converted as docs/taggers.md says, and the lists beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    pickle, names = PUBLISHED[family]
    torch.save({"model": ram_state_dict(family, seed, len(tags))}, directory / pickle)
    convert(directory / pickle, directory / "model.safetensors")
    (directory / names).write_text(
        "\n".join(tags), encoding="utf-8"
    )  # the last line has no end, as in the published list
    if thresholds is not None:
        (directory / "ram_tag_list_threshold.txt").write_text("".join(f"{value}\n" for value in thresholds))
    return directory


WD_TAGS = (
    ("9999999", "general", "9", 1),
    ("470575", "1girl", "0", 9),
    ("1", "oil_lamp", "0", 8),
    ("2", "^_^", "0", 7),
    ("3", "hatsune_miku", "4", 6),
    ("4", "vase", "0", 5),
)
WD_SIDE_PX = 8


def save_tiny_wd(
    directory: Path,
    *,
    batch: int | str = "batch_size",
    tags: Sequence[tuple[str, str, str, int]] = WD_TAGS,
    seed: int = 0,
) -> tuple[Path, np.ndarray]:
    """`model.onnx` and `selected_tags.csv`, and its weights [side * side * 3, tags]: sigmoid(pixels @ weights / 255)."""
    directory.mkdir(parents=True, exist_ok=True)
    inputs = WD_SIDE_PX * WD_SIDE_PX * 3
    weights = np.random.default_rng(seed).normal(0, 0.15, (inputs, len(WD_TAGS))).astype(np.float32)
    nodes = [
        onnx.node("Flatten", ["input"], ["flat"], axis=1),
        onnx.node("Mul", ["flat", "scale"], ["scaled"]),
        onnx.node("MatMul", ["scaled", "weights"], ["logits"]),
        onnx.node("Sigmoid", ["logits"], ["output"]),
    ]
    constants = {"weights": weights, "scale": np.array(1 / 255, np.float32)}
    shape = [batch, WD_SIDE_PX, WD_SIDE_PX, 3]
    model = onnx.model(nodes, constants, {"input": shape}, {"output": [batch, len(WD_TAGS)]})
    (directory / "model.onnx").write_bytes(model)
    with (directory / "selected_tags.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["tag_id", "name", "category", "count"])
        rows.writerows(tags)
    return directory, weights
