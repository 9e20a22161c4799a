"""`make bench-memory`: what the registry says of parameters and activations, beside what the architectures themselves need.

Weights cannot be had where vistag is tested, configs are public. Parameters are counted on torch's meta device.
Activations are those of a real forward pass at full width and resolution with few layers: layers follow one
another, so their number does not raise the peak, but the largest one does.
"""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resources.models.registry import registry

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
    run: Callable[[Any, torch.dtype], Any]

    def build(self, layers: int | None = None) -> Any:
        """The model with random weights, or without any inside `torch.device("meta")`."""
        config = getattr(transformers, self.classes[0])(**_shortened(self.config, self.depths, layers))
        return getattr(transformers, self.classes[1])._from_config(config).eval()


def parameters_m(architecture: Architecture) -> float:
    """Millions of parameters; tied ones count once."""
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build().parameters()) / 1e6


def activations_mib(architecture: Architecture, dtype: torch.dtype) -> float:
    """Peak memory of all that one forward pass of one item allocates, MiB."""
    model = architecture.build(FEW_LAYERS).to(dtype)
    with torch.inference_mode(), _Allocations() as allocations:
        architecture.run(model, dtype)
    return allocations.peak / 2**20


class _Allocations(TorchDispatchMode):
    """Bytes of the storages that operations made and that still live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        taken = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if _is_tensor(leaf):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._alive | taken:
                    self._alive.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return out

    def _freed(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


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

    def run(siglip: Any, dtype: torch.dtype) -> Any:
        return siglip.get_image_features(pixel_values=torch.zeros(1, 3, side, side, dtype=dtype))

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

    def run(qwen: Any, dtype: torch.dtype) -> Any:
        patches = torch.zeros(IMAGE_PATCHES**2, 3 * 2 * 16 * 16, dtype=dtype)
        qwen.model.visual(patches, grid_thw=torch.tensor([[1, IMAGE_PATCHES, IMAGE_PATCHES]]))
        tokens = torch.zeros(1, IMAGE_PATCHES**2 // 4 + PROMPT_TOKENS, dtype=torch.long)
        return qwen(input_ids=tokens, logits_to_keep=1, use_cache=False)

    classes = ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration")
    return Architecture("vlm", model, classes, config, ("text_config.num_hidden_layers",), run)


def _sam2(model: str, config: dict[str, Any]) -> Architecture:
    def run(sam: Any, dtype: torch.dtype) -> Any:
        return sam(
            pixel_values=torch.zeros(1, 3, 1024, 1024, dtype=dtype),
            input_boxes=torch.ones(1, 1, 4, dtype=dtype),
        )

    return Architecture("segmenter", model, ("Sam2Config", "Sam2Model"), config, (), run)


def _mm_grounding_dino(model: str, tower: tuple[int, list[int], list[int], int, int]) -> Architecture:
    width, depths, heads, window, side = tower
    swin = {
        "model_type": "swin", "embed_dim": width, "depths": depths, "num_heads": heads, "window_size": window,
        "image_size": side, "out_features": ["stage2", "stage3", "stage4"],
    }  # fmt: skip

    def run(dino: Any, dtype: torch.dtype) -> Any:
        return dino(
            pixel_values=torch.zeros(1, 3, 800, 1200, dtype=dtype),
            input_ids=torch.full((1, DETECTOR_TOKENS), 2000),
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
    _qwen3_vl("Qwen/Qwen3-VL-2B-Instruct", (2048, 6144, 28, 16, 8), tied=True, tower=(24, 1024, 4096, 16)),
    _qwen3_vl("Qwen/Qwen3-VL-4B-Instruct", (2560, 9728, 36, 32, 8), tied=True, tower=(24, 1024, 4096, 16)),
    _qwen3_vl("Qwen/Qwen3-VL-8B-Instruct", (4096, 12288, 36, 32, 8), tied=False, tower=(27, 1152, 4304, 16)),
    _qwen3_vl("Qwen/Qwen3-VL-32B-Instruct", (5120, 25600, 64, 64, 8), tied=False, tower=(27, 1152, 4304, 16)),
)


def main() -> None:
    print(f"{'model':40} {'parameters, M':>24} {'activations, MiB':>24}")
    print(f"{'':40} {'table':>12}{'counted':>12} {'table':>12}{'measured':>12}")
    only = sys.argv[1:]
    for architecture in ARCHITECTURES:
        known = registry().find(architecture.role, architecture.model)
        if known is None or (only and not any(name in architecture.model for name in only)):
            continue
        row = known[1]
        measured = activations_mib(architecture, getattr(torch, row.dtype))
        print(
            f"{architecture.model:40} {row.parameters_m:12.0f}{parameters_m(architecture):12.0f} "
            f"{row.activations_mib:12.0f}{measured:12.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
