"""Checkpoints that vLLM serves on a processor: heads of 64 numbers, fewer of which its attention there refuses."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_vlm import QWEN_TEMPLATE, QWEN_TOKENS, byte_tokenizer, qwen_ids, save
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)


def save_tiny_qwen2_5_vl(directory: Path, seed: int = 0) -> Path:
    """Random weights; as many image tokens as the picture's size asks for."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer(*QWEN_TOKENS.values())
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 8, 8], "rope_theta": 1e4},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 128, "intermediate_size": 256, "num_heads": 2, "patch_size": 14,
        "out_hidden_size": 256, "window_size": 112, "fullatt_block_indexes": [1],
    }  # fmt: skip
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=16 * 28 * 28),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **qwen_ids(tokenizer))
    return save(Qwen2_5_VLForConditionalGeneration(config), processor, directory)


def save_random_qwen3_vl(directory: Path, seed: int = 0, *, large: bool = False) -> Path:
    """Random weights of the architecture of Qwen3-VL; `large`: at the sizes of the 2 B one, in bfloat16."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer(*QWEN_TOKENS.values())
    widths = (2048, 6144, 28, 16, 8) if large else (256, 512, 2, 4, 2)
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    )  # fmt: skip
    head = 128 if large else 64
    text = dict(zip(names, widths, strict=True)) | {
        "vocab_size": len(tokenizer), "head_dim": head, "max_position_embeddings": 32768,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "rope_parameters": {
            "rope_type": "default", "mrope_section": [head // 4, head // 8, head // 8], "rope_theta": 5e6,
            "mrope_interleaved": True,
        },
    }  # fmt: skip
    depth, width, inner, heads = (24, 1024, 4096, 16) if large else (3, 128, 256, 2)
    vision = {
        "depth": depth, "hidden_size": width, "intermediate_size": inner, "num_heads": heads, "patch_size": 16,
        "out_hidden_size": widths[0], "deepstack_visual_indexes": [5, 11, 17] if large else [0, 1, 2],
    }  # fmt: skip
    pixels = {
        "min_pixels": 32 * 32,
        "max_pixels": 1024 * 32 * 32 if large else 16 * 32 * 32,
        "patch_size": 16,
    }
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels),
        tokenizer,
        Qwen3VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, **qwen_ids(tokenizer)
    )
    model = Qwen3VLForConditionalGeneration(config)
    return save(model.to(torch.bfloat16) if large else model, processor, directory)
