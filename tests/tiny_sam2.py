"""A tiny SAM 2 checkpoint with random weights, saved as the large ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

IMAGE_PX = 128


def save_tiny_sam2(directory: Path, seed: int = 0) -> Path:
    """128 px, five blocks, features of 32."""
    torch.manual_seed(seed)
    sides = [[IMAGE_PX // stride] * 2 for stride in (4, 8, 16)]
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [IMAGE_PX, IMAGE_PX],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [8, 4, 4, 2],
                "window_positional_embedding_background_size": [2, 2],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": sides,
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": IMAGE_PX, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    Sam2Model(config).save_pretrained(directory)
    size = {"height": IMAGE_PX, "width": IMAGE_PX}
    mask_size = {"height": IMAGE_PX // 4, "width": IMAGE_PX // 4}
    Sam2Processor(Sam2ImageProcessor(size=size, mask_size=mask_size), target_size=IMAGE_PX).save_pretrained(
        directory
    )
    return directory
