"""Tiny segmenters with random weights, one of each real architecture, saved as the large ones are.

SAM 2, SAM 3 and EdgeTAM are published as their video models, which hold the weights of the image model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    Sam2ImageProcessor,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam3ImageProcessor,
    Sam3TrackerProcessor,
    Sam3VideoConfig,
    Sam3VideoModel,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
)

SAM_PX = 64
SAM2_PX = 128
SAM3_PX = 112

DECODER: dict[str, Any] = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}


def save_tiny_sam(directory: Path, seed: int = 0) -> Path:
    """64 px, two layers of 32, one of them windowed."""
    torch.manual_seed(seed)
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SAM_PX,
            "patch_size": 8,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
            "mlp_dim": 64,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": SAM_PX,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config=DECODER,
    )
    model = _awake(SamModel(config))
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(0.5)  # SAM's own has no sigmoid
    model.save_pretrained(directory)
    pixels = SamImageProcessor(
        size={"longest_edge": SAM_PX},
        pad_size=_square(SAM_PX),
        mask_size={"longest_edge": SAM_PX // 4},
        mask_pad_size=_square(SAM_PX // 4),
    )
    SamProcessor(pixels).save_pretrained(directory)
    return directory


def save_tiny_sam2(directory: Path, seed: int = 0, as_in_the_package: bool = False) -> Path:
    """128 px, five blocks, features of 32; with the sizes that the code of the package sam2 has and no configuration changes."""
    torch.manual_seed(seed)
    decoder = DECODER | {"mlp_dim": 2048, "num_attention_heads": 8, "iou_head_hidden_dim": 256}
    config = Sam2VideoConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [SAM2_PX, SAM2_PX],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 2, 4, 8] if as_in_the_package else [1, 1, 2, 2],
                "window_size_per_stage": [8, 4, 4, 2],
                "window_positional_embedding_background_size": [2, 2],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": _feature_sizes(SAM2_PX),
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": SAM2_PX,
            "mask_input_channels": 16 if as_in_the_package else 4,
        },
        mask_decoder_config=decoder if as_in_the_package else DECODER,
        **_memory(SAM2_PX),
    )
    model = _awake(Sam2VideoModel(config))
    if as_in_the_package:  # which has one table of places for images and prompts, as published weights do
        shared = model.shared_image_embedding.positional_embedding
        model.prompt_encoder.shared_embedding.positional_embedding.data.copy_(shared)
    model.save_pretrained(directory)
    _save_sam2_processor(directory)
    return directory


def save_tiny_edgetam(directory: Path, seed: int = 0) -> Path:
    """128 px, RepViT with one block a stage, features of 32."""
    torch.manual_seed(seed)
    config = EdgeTamVideoConfig(
        vision_config={
            "model_type": "edgetam_vision_model",
            "backbone_config": {
                "model_type": "timm_wrapper",
                "architecture": "repvit_m1",
                "num_classes": 2,
                "model_args": {
                    "in_chans": 3,
                    "features_only": True,
                    "out_indices": [0, 1, 2, 3],
                    "embed_dim": [8, 16, 24, 32],
                    "depth": [1, 1, 1, 1],
                },
            },
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": _feature_sizes(SAM2_PX),
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SAM2_PX, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
        **_memory(SAM2_PX),
    )
    _awake(EdgeTamVideoModel(config)).save_pretrained(directory)
    _save_sam2_processor(directory)
    return directory


def save_tiny_sam3(directory: Path, seed: int = 0) -> Path:
    """112 px, two layers of 32, one of them windowed; the detector by text is in it too."""
    torch.manual_seed(seed)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": layers
        | {
            "model_type": "sam3_vit_model",
            "num_hidden_layers": 2,
            "image_size": SAM3_PX,
            "pretrain_image_size": 56,
            "window_size": 4,
            "global_attn_indexes": [1],
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }
    detr = layers | {"num_layers": 1}
    config = Sam3VideoConfig(
        detector_config={
            "model_type": "sam3",
            "vision_config": vision,
            "text_config": layers
            | {"num_hidden_layers": 1, "projection_dim": 32, "vocab_size": 64, "max_position_embeddings": 8},
            "geometry_encoder_config": detr,
            "detr_encoder_config": detr,
            "detr_decoder_config": detr | {"num_queries": 4},
            "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
        },
        tracker_config={
            "model_type": "sam3_tracker_video",
            "vision_config": vision,
            "prompt_encoder_config": {"hidden_size": 32, "image_size": SAM3_PX, "mask_input_channels": 4},
            "mask_decoder_config": DECODER,
            "image_size": SAM3_PX,
            **_memory(SAM3_PX, feature_px=14),
        },
    )
    config.save_pretrained(directory)
    # save_pretrained of transformers 5.23 writes `tracker_model.tracker_model.`; published are the module's names
    model = _awake(Sam3VideoModel(config))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    pixels = Sam3ImageProcessor(size=_square(SAM3_PX), mask_size=_square(SAM3_PX // 4))
    Sam3TrackerProcessor(pixels, target_size=SAM3_PX).save_pretrained(directory)
    return directory


def _awake(model: Any) -> Any:
    """With weights that keep the scale of what goes through: as they are made, an answer is the same for all."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model


def _memory(image_px: int, feature_px: int = 16) -> dict[str, Any]:
    """The part of a video model that an image model leaves aside, as small as it goes."""
    return {
        "image_size": image_px,
        "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [image_px // feature_px] * 2,
        "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32,
    }


def _save_sam2_processor(directory: Path) -> None:
    pixels = Sam2ImageProcessor(size=_square(SAM2_PX), mask_size=_square(SAM2_PX // 4))
    Sam2Processor(pixels, target_size=SAM2_PX).save_pretrained(directory)


def _square(side_px: int) -> dict[str, int]:
    return {"height": side_px, "width": side_px}


def _feature_sizes(image_px: int) -> list[list[int]]:
    return [[image_px // stride] * 2 for stride in (4, 8, 16)]
