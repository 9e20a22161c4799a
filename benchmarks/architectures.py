"""The architectures of the tiers at their published sizes, to be built with random weights: configs are public."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

import torch
import transformers

FEW_LAYERS = 4
PROMPT_TOKENS = 768
IMAGE_PATCHES = 64
"""a side, of an image of a megapixel at 16 px a patch"""
DETECTOR_TOKENS = 160
"""of forty phrases"""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The published configuration of a checkpoint, and how its stage runs it."""

    role: str
    model: str
    classes: tuple[str, str]
    """config and model in transformers"""
    config: dict[str, Any]
    depths: tuple[str, ...]
    """dotted names of the numbers of layers in the config"""
    run: Callable[[Any, int], Any]
    """one forward pass of so many items, on the model's own device and in its precision"""

    def build(self, layers: int | None = None) -> Any:
        """The model with random weights, or without any inside `torch.device("meta")`."""
        config = getattr(transformers, self.classes[0])(**_shortened(self.config, self.depths, layers))
        return getattr(transformers, self.classes[1])._from_config(config).eval()


def parameters_m(architecture: Architecture) -> float:
    """Millions of parameters; tied ones count once."""
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build().parameters()) / 1e6


def _zeros(model: Any, *shape: int) -> torch.Tensor:
    """On the device and in the precision of a model."""
    one = next(model.parameters())
    return torch.zeros(*shape, dtype=one.dtype, device=one.device)


def _hiera(
    width: int, heads: int, blocks: list[int], attending: list[int], window: int, windows: list[int]
) -> dict[str, Any]:
    """The tower of SAM 2: four stages, each twice as wide as the one before."""
    widths = [width * 2**stage for stage in range(4)]
    tower = {
        "model_type": "sam2_hiera_det_model", "hidden_size": width, "num_attention_heads": heads,
        "blocks_per_stage": blocks, "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads * 2**stage for stage in range(4)], "global_attention_blocks": attending,
        "window_positional_embedding_background_size": [window, window], "window_size_per_stage": windows,
    }  # fmt: skip
    return {"vision_config": {"backbone_config": tower, "backbone_channel_list": widths[::-1]}}


def _shortened(config: dict[str, Any], depths: tuple[str, ...], layers: int | None) -> dict[str, Any]:
    if layers is None:
        return config
    short = copy.deepcopy(config)
    for depth in depths:
        *path, name = depth.split(".")
        part = reduce(getitem, path, short)
        part[name] = min(int(part[name]), layers)
    return short


def _siglip(
    model: str, side: int, patch: int, vision: tuple[int, ...], text: tuple[int, ...]
) -> Architecture:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = {
        "vision_config": dict(zip(names, vision, strict=True)) | {"image_size": side, "patch_size": patch},
        "text_config": dict(zip(names, text, strict=True))
        | {"vocab_size": 256000, "max_position_embeddings": 64, "projection_size": vision[0]},
    }

    def run(siglip: Any, items: int) -> Any:
        return siglip.get_image_features(pixel_values=_zeros(siglip, items, 3, side, side))

    depths = ("vision_config.num_hidden_layers", "text_config.num_hidden_layers")
    return Architecture("encoder", model, ("SiglipConfig", "SiglipModel"), config, depths, run)


def _qwen3_vl(model: str, text: tuple[int, ...], *, tied: bool, tower: tuple[int, ...]) -> Architecture:
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    )  # fmt: skip
    depth, width, inner, heads = tower
    deepstack = {24: [5, 11, 17], 27: [8, 16, 24]}[depth]
    config = {
        "text_config": dict(zip(names, text, strict=True)) | {"head_dim": 128, "vocab_size": 151936},
        "vision_config": {
            "depth": depth, "hidden_size": width, "intermediate_size": inner, "num_heads": heads,
            "patch_size": 16, "out_hidden_size": text[0], "deepstack_visual_indexes": deepstack,
        },
        "tie_word_embeddings": tied,
    }  # fmt: skip

    def run(qwen: Any, items: int) -> Any:
        patches = _zeros(qwen, items * IMAGE_PATCHES**2, 3 * 2 * 16 * 16)
        grid = torch.tensor([[1, IMAGE_PATCHES, IMAGE_PATCHES]] * items, device=patches.device)
        qwen.model.visual(patches, grid_thw=grid)
        tokens = torch.zeros(
            items, IMAGE_PATCHES**2 // 4 + PROMPT_TOKENS, dtype=torch.long, device=patches.device
        )
        return qwen(input_ids=tokens, logits_to_keep=1, use_cache=False)

    classes = ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration")
    return Architecture("vlm", model, classes, config, ("text_config.num_hidden_layers",), run)


def _sam2(model: str, config: dict[str, Any]) -> Architecture:
    def run(sam: Any, items: int) -> Any:
        """`items` boxes of one image."""
        return sam(pixel_values=_zeros(sam, 1, 3, 1024, 1024), input_boxes=_zeros(sam, 1, items, 4) + 1)

    return Architecture("segmenter", model, ("Sam2Config", "Sam2Model"), config, (), run)


def _mm_grounding_dino(model: str, tower: tuple[int, list[int], list[int], int, int]) -> Architecture:
    width, depths, heads, window, side = tower
    swin = {
        "model_type": "swin", "embed_dim": width, "depths": depths, "num_heads": heads, "window_size": window,
        "image_size": side, "out_features": ["stage2", "stage3", "stage4"],
    }  # fmt: skip

    def run(dino: Any, items: int) -> Any:
        pixels = _zeros(dino, items, 3, 800, 1200)
        return dino(
            pixel_values=pixels, input_ids=torch.full((items, DETECTOR_TOKENS), 2000, device=pixels.device)
        )

    classes = ("MMGroundingDinoConfig", "MMGroundingDinoForObjectDetection")
    return Architecture("detector", model, classes, {"backbone_config": swin}, (), run)


BASE, LARGE, SO400M, GIANT = (
    (768, 3072, 12, 12),
    (1024, 4096, 24, 16),
    (1152, 4304, 27, 16),
    (1536, 6144, 40, 16),
)
ARCHITECTURES: tuple[Architecture, ...] = (
    _siglip("google/siglip2-base-patch16-256", 256, 16, BASE, BASE),
    _siglip("google/siglip2-large-patch16-384", 384, 16, LARGE, LARGE),
    _siglip("google/siglip2-so400m-patch14-384", 384, 14, SO400M, SO400M),
    _siglip("google/siglip2-giant-opt-patch16-384", 384, 16, GIANT, SO400M),
    _mm_grounding_dino("iSEE-Laboratory/llmdet_tiny", (96, [2, 2, 6, 2], [3, 6, 12, 24], 7, 224)),
    _mm_grounding_dino("iSEE-Laboratory/llmdet_base", (128, [2, 2, 18, 2], [4, 8, 16, 32], 12, 384)),
    _mm_grounding_dino("iSEE-Laboratory/llmdet_large", (192, [2, 2, 18, 2], [6, 12, 24, 48], 12, 384)),
    _sam2("facebook/sam2.1-hiera-tiny", {}),
    _sam2(
        "facebook/sam2.1-hiera-base-plus",
        _hiera(112, 2, [2, 3, 16, 3], [12, 16, 20], 14, [8, 4, 14, 7]),
    ),
    _sam2("facebook/sam2.1-hiera-large", _hiera(144, 2, [2, 6, 36, 4], [23, 33, 43], 7, [8, 4, 16, 8])),
    _qwen3_vl("Qwen/Qwen3-VL-2B-Instruct", (2048, 6144, 28, 16, 8), tied=True, tower=(24, 1024, 4096, 16)),
    _qwen3_vl("Qwen/Qwen3-VL-4B-Instruct", (2560, 9728, 36, 32, 8), tied=True, tower=(24, 1024, 4096, 16)),
    _qwen3_vl("Qwen/Qwen3-VL-8B-Instruct", (4096, 12288, 36, 32, 8), tied=False, tower=(27, 1152, 4304, 16)),
    _qwen3_vl("Qwen/Qwen3-VL-32B-Instruct", (5120, 25600, 64, 64, 8), tied=False, tower=(27, 1152, 4304, 16)),
)
