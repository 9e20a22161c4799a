"""Tiny estimators of depth with random weights, one of each real architecture, saved as the large ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BeitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
    "reshape_hidden_states": False,
}


def save_tiny_depth_anything(directory: Path, seed: int = 0, **changes: Any) -> Path:
    """DINOv2 of 4 layers of 32, sides of about 56 px."""
    torch.manual_seed(seed)
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(image_size=56, patch_size=14, mlp_ratio=2, **LAYERS),
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 16, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
        **changes,
    )
    _awake(DepthAnythingForDepthEstimation(config)).save_pretrained(directory)
    DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14, do_pad=False
    ).save_pretrained(directory)
    return directory


def save_tiny_zoedepth(directory: Path, seed: int = 0, heads: int = 2) -> Path:
    """BEiT of 4 layers of 32, sides of about 64 and 96 px; two heads of bins, for indoors and outdoors."""
    torch.manual_seed(seed)
    bins = [
        {"name": "nyu", "n_bins": 8, "min_depth": 0.001, "max_depth": 10.0},
        {"name": "kitti", "n_bins": 8, "min_depth": 0.001, "max_depth": 80.0},
    ]
    config = ZoeDepthConfig(
        backbone_config=BeitConfig(image_size=64, patch_size=16, use_relative_position_bias=True, **LAYERS),
        neck_hidden_sizes=[8, 16, 16, 32],
        fusion_hidden_size=16,
        num_relative_features=8,
        bottleneck_features=16,
        bin_embedding_dim=16,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=bins[:heads],
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,  # the classifier of the heads has it in its code
        patch_transformer_intermediate_size=64,
        patch_transformer_num_attention_heads=2,
    )
    _awake(ZoeDepthForDepthEstimation(config)).save_pretrained(directory)
    ZoeDepthImageProcessor(
        size={"height": 64, "width": 96}, keep_aspect_ratio=True, ensure_multiple_of=32
    ).save_pretrained(directory)
    return directory


def _awake(model: Any) -> Any:
    """With weights that keep the scale of what goes through: as they are made, a map is flat."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model
