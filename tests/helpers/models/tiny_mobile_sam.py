"""A tiny MobileSAM with random weights, by the names of its published pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from resources.models.convert import convert

WIDTHS, DEPTHS, HEADS, WINDOWS = (8, 12, 16, 24), (1, 2, 2, 1), (1, 2, 4, 4), (7, 7, 14, 7)
HIDDEN, MLP, MASK_CHANNELS, IOU_HIDDEN = 32, 24, 8, 20


def mobile_sam_state_dict(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        weights[name] = scale * torch.randn(shape, generator=draw)

    def dense(name: str, out: int, into: int) -> None:
        add(f"{name}.weight", out, into, scale=1.2 / into**0.5)
        add(f"{name}.bias", out)

    def norm(name: str, width: int) -> None:
        weights[f"{name}.weight"] = 1 + 0.3 * torch.randn(width, generator=draw)
        add(f"{name}.bias", width)

    def conv_bn(name: str, out: int, into: int, side: int) -> None:
        add(f"{name}.c.weight", out, into, side, side, scale=1.2 / (into * side * side) ** 0.5)
        norm(f"{name}.bn", out)
        add(f"{name}.bn.running_mean", out, scale=0.1)
        weights[f"{name}.bn.running_var"] = 0.5 + torch.rand(out, generator=draw)
        weights[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    tower = "image_encoder"
    conv_bn(f"{tower}.patch_embed.seq.0", WIDTHS[0] // 2, 3, 3)
    conv_bn(f"{tower}.patch_embed.seq.2", WIDTHS[0], WIDTHS[0] // 2, 3)
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        for number in range(depth):
            block = f"{tower}.layers.{stage}.blocks.{number}"
            if stage == 0:
                conv_bn(f"{block}.conv1", 4 * width, width, 1)
                conv_bn(f"{block}.conv2", 4 * width, 1, 3)
                conv_bn(f"{block}.conv3", width, 4 * width, 1)
                continue
            norm(f"{block}.attn.norm", width)
            dense(f"{block}.attn.qkv", 3 * width, width)
            dense(f"{block}.attn.proj", width, width)
            add(f"{block}.attn.attention_biases", HEADS[stage], WINDOWS[stage] ** 2, scale=1.0)
            norm(f"{block}.mlp.norm", width)
            dense(f"{block}.mlp.fc1", 4 * width, width)
            dense(f"{block}.mlp.fc2", width, 4 * width)
            conv_bn(f"{block}.local_conv", width, 1, 3)
        if stage + 1 < len(WIDTHS):
            out = WIDTHS[stage + 1]
            conv_bn(f"{tower}.layers.{stage}.downsample.conv1", out, width, 1)
            conv_bn(f"{tower}.layers.{stage}.downsample.conv2", out, 1, 3)
            conv_bn(f"{tower}.layers.{stage}.downsample.conv3", out, out, 1)
    norm(f"{tower}.norm_head", WIDTHS[-1])  # of the classifier that it was trained from; nothing reads it
    dense(f"{tower}.head", 10, WIDTHS[-1])
    add(f"{tower}.neck.0.weight", HIDDEN, WIDTHS[-1], 1, 1)
    norm(f"{tower}.neck.1", HIDDEN)
    add(f"{tower}.neck.2.weight", HIDDEN, HIDDEN, 3, 3, scale=0.07)
    norm(f"{tower}.neck.3", HIDDEN)

    add("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2, HIDDEN // 2, scale=1.0)
    for number in range(4):
        add(f"prompt_encoder.point_embeddings.{number}.weight", 1, HIDDEN)
    add("prompt_encoder.not_a_point_embed.weight", 1, HIDDEN)
    add("prompt_encoder.no_mask_embed.weight", 1, HIDDEN)
    add("prompt_encoder.mask_downscaling.0.weight", MASK_CHANNELS // 4, 1, 2, 2)
    add("prompt_encoder.mask_downscaling.0.bias", MASK_CHANNELS // 4)
    norm("prompt_encoder.mask_downscaling.1", MASK_CHANNELS // 4)
    add("prompt_encoder.mask_downscaling.3.weight", MASK_CHANNELS, MASK_CHANNELS // 4, 2, 2)
    add("prompt_encoder.mask_downscaling.3.bias", MASK_CHANNELS)
    norm("prompt_encoder.mask_downscaling.4", MASK_CHANNELS)
    add("prompt_encoder.mask_downscaling.6.weight", HIDDEN, MASK_CHANNELS, 1, 1)
    add("prompt_encoder.mask_downscaling.6.bias", HIDDEN)

    decoder = "mask_decoder"
    add(f"{decoder}.iou_token.weight", 1, HIDDEN)
    add(f"{decoder}.mask_tokens.weight", 4, HIDDEN)
    attentions = [(f"{decoder}.transformer.final_attn_token_to_image", HIDDEN // 2)]
    for number in range(2):
        layer = f"{decoder}.transformer.layers.{number}"
        attentions += [(f"{layer}.self_attn", HIDDEN)]
        attentions += [
            (f"{layer}.{name}", HIDDEN // 2)
            for name in ("cross_attn_token_to_image", "cross_attn_image_to_token")
        ]
        dense(f"{layer}.mlp.lin1", MLP, HIDDEN)
        dense(f"{layer}.mlp.lin2", HIDDEN, MLP)
        for place in range(1, 5):
            norm(f"{layer}.norm{place}", HIDDEN)
    for name, inner in attentions:
        for part in "qkv":
            dense(f"{name}.{part}_proj", inner, HIDDEN)
        dense(f"{name}.out_proj", HIDDEN, inner)
    norm(f"{decoder}.transformer.norm_final_attn", HIDDEN)
    add(f"{decoder}.output_upscaling.0.weight", HIDDEN, HIDDEN // 4, 2, 2)
    add(f"{decoder}.output_upscaling.0.bias", HIDDEN // 4)
    norm(f"{decoder}.output_upscaling.1", HIDDEN // 4)
    add(f"{decoder}.output_upscaling.3.weight", HIDDEN // 4, HIDDEN // 8, 2, 2)
    add(f"{decoder}.output_upscaling.3.bias", HIDDEN // 8)
    heads = [(f"{decoder}.output_hypernetworks_mlps.{number}", HIDDEN, HIDDEN // 8) for number in range(4)]
    for name, inner, out in (*heads, (f"{decoder}.iou_prediction_head", IOU_HIDDEN, 4)):
        for place, (wide, into) in enumerate(((inner, HIDDEN), (inner, inner), (out, inner))):
            dense(f"{name}.layers.{place}", wide, into)
    return weights


def save_tiny_mobile_sam(directory: Path, seed: int = 0) -> Path:
    """The pickle as it is published, and what `vistag convert` makes of it."""
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(mobile_sam_state_dict(seed), directory / "mobile_sam.pt")
    convert(directory / "mobile_sam.pt", directory / "mobile_sam.safetensors")
    return directory
