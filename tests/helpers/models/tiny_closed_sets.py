"""Tiny closed-set detectors with random weights, one of each real architecture, saved as the large ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    PreTrainedConfig,
    PreTrainedModel,
    RfDetrConfig,
    RfDetrDinov2Config,
    RfDetrForObjectDetection,
    RfDetrImageProcessor,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)

CLASS_NAMES = ["Bowl", "brick_wall", "car", "taxi", "a"]


def spread_boxes(model: torch.nn.Module) -> None:
    """A new box head adds nothing to the proposals, whatever the picture."""
    for name, parameter in model.named_parameters():
        if "bbox_embed" in name or "bbox_head" in name:
            parameter.normal_(std=0.2)


def resnet() -> RTDetrResNetConfig:
    return RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 32, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )


def hgnet() -> HGNetV2Config:
    return HGNetV2Config(
        embedding_size=16,
        hidden_sizes=[16, 32, 32, 64],
        stem_channels=[3, 8, 16],
        stage_in_channels=[16, 16, 32, 32],
        stage_mid_channels=[16] * 4,
        stage_out_channels=[16, 32, 32, 64],
        stage_num_blocks=[1] * 4,
        stage_numb_of_layers=[1] * 4,
        stage_downsample=[False, True, True, True],
        stage_light_block=[False] * 4,
        stage_kernel_size=[3] * 4,
        out_indices=[2, 3, 4],
    )


def _save_tiny_closed_set(
    directory: Path,
    config: type[PreTrainedConfig],
    model_class: type[PreTrainedModel],
    backbone: PreTrainedConfig,
    seed: int,
) -> Path:
    """64 px, two decoder layers of 32, 20 queries, five classes."""
    torch.manual_seed(seed)
    model = model_class(
        config(
            backbone_config=backbone,
            id2label=dict(enumerate(CLASS_NAMES)),
            label2id={name: place for place, name in enumerate(CLASS_NAMES)},
            encoder_hidden_dim=32,
            encoder_in_channels=[32, 32, 64],
            encoder_ffn_dim=64,
            encoder_attention_heads=2,
            d_model=32,
            decoder_in_channels=[32, 32, 32],
            decoder_ffn_dim=64,
            decoder_layers=2,
            decoder_attention_heads=2,
            num_queries=20,
            num_denoising=0,
        )
    )
    with torch.no_grad():
        spread_boxes(model)
    model.save_pretrained(directory)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(directory)
    return directory


def save_tiny_rt_detr(directory: Path, seed: int = 0) -> Path:
    return _save_tiny_closed_set(directory, RTDetrConfig, RTDetrForObjectDetection, resnet(), seed)


def save_tiny_rt_detr_v2(directory: Path, seed: int = 0) -> Path:
    return _save_tiny_closed_set(directory, RTDetrV2Config, RTDetrV2ForObjectDetection, resnet(), seed)


def save_tiny_d_fine(directory: Path, seed: int = 0) -> Path:
    return _save_tiny_closed_set(directory, DFineConfig, DFineForObjectDetection, hgnet(), seed)


def save_tiny_rf_detr(directory: Path, seed: int = 0) -> Path:
    """112 px in windows of four patches, two decoder layers of 32, 20 queries, five classes."""
    torch.manual_seed(seed)
    backbone = RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=112,
        num_windows=2,
        out_features=["stage2", "stage4"],
        num_register_tokens=0,
    )
    model = RfDetrForObjectDetection(
        RfDetrConfig(
            backbone_config=backbone,
            id2label=dict(enumerate(CLASS_NAMES)),
            label2id={name: place for place, name in enumerate(CLASS_NAMES)},
            d_model=32,
            intermediate_size=64,
            decoder_ffn_dim=64,
            decoder_layers=2,
            decoder_self_attention_heads=2,
            decoder_cross_attention_heads=2,
            num_queries=20,
            c2f_num_blocks=1,
        )
    )
    with torch.no_grad():
        spread_boxes(model)
        model.class_embed.weight.normal_(std=0.2)
        model.class_embed.bias.zero_()
    model.save_pretrained(directory)
    RfDetrImageProcessor(size={"height": 112, "width": 112}).save_pretrained(directory)
    return directory
