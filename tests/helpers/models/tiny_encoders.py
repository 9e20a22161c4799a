"""Tiny checkpoints with random weights of every family of dual encoders, saved as the large ones are on the hub.

The architectures are the real ones: what is small is their width and depth.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from timm.layers import LayerNorm
from timm.models import build_model_with_cfg, register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from tiny_checkpoint import TEXT_LENGTH, letter_tokenizer
from tokenizers import pre_tokenizers
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    GemmaTokenizer,
    MetaClip2Config,
    MetaClip2Model,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipTokenizer,
    XLMRobertaTokenizer,
)

SIDE = 32
"""pixels"""
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_PATCHES = TOWER | {"image_size": SIDE, "patch_size": 8}
LOGIT_SCALE = math.log(20.0)
BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
"""what BiomedCLIP names its text tower"""


def save_tiny_clip(directory: Path) -> Path:
    """A byte-level vocabulary without merges, numbered as CLIP's: the two special tokens come last."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({token: place for place, token in enumerate(tokens)}, [])
    config = CLIPConfig(
        text_config=TOWER
        | {"vocab_size": len(tokens), "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1},
        vision_config=_PATCHES,
        projection_dim=24,
    )
    return _save(CLIPModel(config), CLIPProcessor(_clip_images(), tokenizer), directory)


def save_tiny_metaclip2(directory: Path) -> Path:
    """A multilingual (Unigram) vocabulary of single letters, as XLM-V's."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, "▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöü,.-"]
    tokenizer = XLMRobertaTokenizer([(piece, -1.0) for piece in pieces])
    size = len(tokenizer)
    config = MetaClip2Config(
        text_config=TOWER | {"vocab_size": size, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
        vision_config=_PATCHES,
        projection_dim=24,
    )
    return _save(MetaClip2Model(config), CLIPProcessor(_clip_images(), tokenizer), directory)


def save_tiny_siglip_1(directory: Path) -> Path:
    """With SigLIP's own tokenizer: a sentencepiece model, here of a few words."""
    sentencepiece = pytest.importorskip("sentencepiece")
    directory.mkdir(exist_ok=True)
    words = [
        "a vase",
        "rust",
        "a photo of a gilded bronze figure, seated",
        "the quick brown fox jumps",
        "blue",
    ]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20),
        model_prefix=str(directory / "spiece"),
        vocab_size=50,
        hard_vocab_limit=False,
        **{"unk_id": 2, "eos_id": 1, "bos_id": -1, "pad_id": -1, "minloglevel": 2},
    )
    tokenizer = SiglipTokenizer(str(directory / "spiece.model"), model_input_names=["input_ids"])
    images = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    model = SiglipModel(SiglipConfig(text_config=_siglip_text(tokenizer), vision_config=_PATCHES))
    return _save(model, SiglipProcessor(images, tokenizer), directory)


def save_tiny_siglip2(directory: Path) -> Path:
    """A SigLIP model with Gemma's tokenizer, which ends a text and pads behind it."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz,"]
    tokenizer = GemmaTokenizer(
        {token: place for place, token in enumerate(tokens)},
        [],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_input_names=["input_ids"],
    )
    images = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    model = SiglipModel(SiglipConfig(text_config=_siglip_text(tokenizer), vision_config=_PATCHES))
    return _save(model, SiglipProcessor(images, tokenizer), directory)


def save_tiny_naflex(directory: Path) -> Path:
    """At most 256 patches of 16 px, in the image's own aspect ratio, as in all of them."""
    tokenizer = letter_tokenizer()
    vision = TOWER | {"patch_size": 16, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=_siglip_text(tokenizer), vision_config=vision))
    images = Siglip2ImageProcessor(patch_size=16, max_num_patches=256)
    return _save(model, Siglip2Processor(images, tokenizer), directory)


def _siglip_text(tokenizer: Any) -> dict[str, Any]:
    special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    size = {"vocab_size": len(tokenizer), "projection_size": 32, "max_position_embeddings": TEXT_LENGTH}
    return TOWER | special | size


def _clip_images() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def _save(model: Any, processor: Any, directory: Path) -> Path:
    with torch.no_grad():
        model.logit_scale.fill_(LOGIT_SCALE)
        if hasattr(model, "logit_bias"):
            model.logit_bias.fill_(-3.0)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


@register_model
def vistag_tiny_eva02(pretrained: bool = False, **changes: Any) -> Any:
    """As timm's eva02_large_patch14_clip_336."""
    return build_model_with_cfg(
        Eva, "vistag_tiny_eva02", pretrained, img_size=SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=2,
        mlp_ratio=4 * 2 / 3, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True,
        use_rot_pos_emb=True, ref_feat_shape=(3, 3), **changes,
    )  # fmt: skip


@register_model
def vistag_tiny_pe_core(pretrained: bool = False, **changes: Any) -> Any:
    """As timm's vit_pe_core_large_patch14_336."""
    return build_model_with_cfg(
        Eva, "vistag_tiny_pe_core", pretrained, img_size=SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=2,
        attn_type="rope", use_pre_transformer_norm=True, use_rot_pos_emb=True, ref_feat_shape=(4, 4),
        rope_grid_offset=1.0, rope_grid_indexing="xy", attn_pool_num_heads=8, attn_pool_mlp_ratio=4.0,
        norm_layer=partial(LayerNorm, eps=1e-5), **changes,
    )  # fmt: skip


@register_model
def vistag_tiny_vit(pretrained: bool = False, **changes: Any) -> Any:
    """As timm's vit_base_patch16_224 and its SigLIP variants."""
    return build_model_with_cfg(
        VisionTransformer, "vistag_tiny_vit", pretrained, img_size=SIDE, patch_size=8, embed_dim=32, depth=2,
        num_heads=2, **changes,
    )  # fmt: skip


_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
_CLIP_PIXELS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
_HALF_PIXELS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}


def _timm(name: str, pool: str, projection: str | None = None) -> dict[str, Any]:
    return {"image_size": SIDE, "timm_model_name": name, "timm_pool": pool, "timm_proj": projection}


OPEN_CLIP_CONFIGS: dict[str, dict[str, Any]] = {
    "OpenCLIP": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "patch_size": 8},
            "text_cfg": _TEXT,
        },
        "preprocess_cfg": _CLIP_PIXELS,
    },
    "DFN": {
        "model_cfg": {
            "embed_dim": 24,
            "quick_gelu": True,
            "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 80, "head_width": 40, "patch_size": 8},
            "text_cfg": _TEXT,
        },
        "preprocess_cfg": _CLIP_PIXELS,
    },
    "EVA-CLIP": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": _timm("vistag_tiny_eva02", "token"),
            "text_cfg": _TEXT,
            "custom_text": True,
        },
        "preprocess_cfg": _CLIP_PIXELS,
    },
    "PE-Core": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": _timm("vistag_tiny_pe_core", "map"),
            "text_cfg": _TEXT | {"context_length": 32},
            "custom_text": True,
        },
        "preprocess_cfg": _HALF_PIXELS,
    },
    "BiomedCLIP": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": _timm("vistag_tiny_vit", "", "linear"),
            "text_cfg": {
                "hf_model_name": BERT,
                "hf_tokenizer_name": BERT,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 256,
            },
        },
        "preprocess_cfg": {"mean": _CLIP_PIXELS["mean"], "std": _CLIP_PIXELS["std"]},
    },
    "SigLIP of open_clip": {
        "model_cfg": {
            "embed_dim": 32,
            "init_logit_bias": -3,
            "custom_text": True,
            "vision_cfg": _timm("vistag_tiny_vit", "map", "none"),
            "text_cfg": {
                "context_length": TEXT_LENGTH,
                "vocab_size": 34,
                "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "width": 32,
                "heads": 2,
                "layers": 2,
                "no_causal_mask": True,
                "proj_bias": True,
                "pool_type": "last",
                "norm_kwargs": {"eps": 1e-6},
            },
        },
        "preprocess_cfg": _HALF_PIXELS | {"interpolation": "bicubic"},
    },
}


def save_tiny_open_clip(system: str, directory: Path) -> Path:
    """As a snapshot of the hub lies on disk: its configuration, weights, and the tokenizer where it has its own."""
    config = OPEN_CLIP_CONFIGS[system]
    directory.mkdir(parents=True)
    if "hf_model_name" in config["model_cfg"]["text_cfg"]:
        _bert(directory / BERT)
        _word_pieces().save_pretrained(directory)
    elif "hf_tokenizer_name" in config["model_cfg"]["text_cfg"]:
        letter_tokenizer().save_pretrained(directory)
    write_open_clip_config(directory, _with_absolute_text_tower(config, directory))
    model = open_clip.create_model(f"local-dir:{directory}", pretrained_text=False)
    with torch.no_grad():
        model.logit_scale.fill_(LOGIT_SCALE)
        _shake(model)
    save_file(model.state_dict(), directory / "open_clip_model.safetensors")
    write_open_clip_config(directory, config)
    return directory


def write_open_clip_config(directory: Path, config: dict[str, Any]) -> None:
    (directory / "open_clip_config.json").write_text(json.dumps(config, indent=2))


def _with_absolute_text_tower(config: dict[str, Any], directory: Path) -> dict[str, Any]:
    """What open_clip itself can build offline: it takes the name of a text tower for a path or an id on the hub."""
    text = config["model_cfg"]["text_cfg"]
    if "hf_model_name" not in text:
        return config
    local = text | {"hf_model_name": str(directory / BERT), "hf_model_pretrained": False}
    return config | {"model_cfg": config["model_cfg"] | {"text_cfg": local}}


def open_clip_reference(directory: Path) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
    """open_clip's own model, transform and tokenizer of a checkpoint."""
    config = json.loads((directory / "open_clip_config.json").read_text())
    try:
        write_open_clip_config(directory, _with_absolute_text_tower(config, directory))
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{directory}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
    finally:
        write_open_clip_config(directory, config)
    return model.eval(), transform, tokenizer


def _shake(model: torch.nn.Module) -> None:
    """Towers this small say the same of every picture with the weights that timm and open_clip start with."""
    for parameter in model.parameters():
        if parameter.ndim:
            parameter.add_(torch.randn_like(parameter) * 0.15)


def _bert(directory: Path) -> None:
    directory.mkdir(parents=True)
    config = BertConfig(vocab_size=len(_word_pieces()), max_position_embeddings=256, **TOWER)
    config.save_pretrained(directory)


def _word_pieces() -> BertTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + x for x in letters), ",", "."]
    return BertTokenizer({token: place for place, token in enumerate(tokens)})
