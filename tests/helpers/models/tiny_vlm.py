"""Tiny chat models that see, with random weights, saved as the large ones are: LLaVA, Qwen2-VL and Idefics3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    SiglipImageProcessor,
)

TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
QWEN_TOKENS = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}
QWEN_TEMPLATE = TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
PATCH_PX = 8
SIDE_PX = 32


def byte_tokenizer(
    *special: str,
    named: Mapping[str, str] | None = None,
    added: Sequence[str] = (),
    first: Sequence[str] = ("<pad>", "<s>", "</s>"),
) -> PreTrainedTokenizerFast:
    """A token a byte, so that every text has one, also a letter of several bytes.

    `named` are those special tokens that a processor asks the tokenizer for by name, `added` those behind the letters.
    """
    names = [*first, *special]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = Tokenizer(
        models.BPE({name: place for place, name in enumerate([*names, *alphabet, *added])}, [])
    )
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=letters,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=[*special, *added],
        model_specific_special_tokens=dict(named or {}),
    )


def text_tower(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def vision_tower() -> dict[str, Any]:
    return {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": SIDE_PX, "patch_size": PATCH_PX,
    }  # fmt: skip


def save(model: Any, processor: Any, directory: Path) -> Path:
    """With weights so large that no two tokens are nearly as probable: answers then bear float32's rounding."""
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.mul_(8.0 if "lm_head" in name else 4.0)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def save_tiny_llava(directory: Path, seed: int = 0, *, template: str = TEMPLATE, layer: int = -1) -> Path:
    """32 px by 8 px patches = 16 image tokens, all of them kept, as in the bundled checkpoint."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer("<image>")
    config = LlavaConfig(
        text_config={"model_type": "llama", **text_tower(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **vision_tower()},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=layer,
        image_seq_length=(SIDE_PX // PATCH_PX) ** 2,
    )
    processor = LlavaProcessor(
        SiglipImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}),
        tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="full",
        chat_template=template.replace("IMAGE", "<image>"),
    )
    return save(LlavaForConditionalGeneration(config), processor, directory)


def qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Of QWEN_TOKENS, as the configurations of the family name them."""
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in QWEN_TOKENS.items()}


def save_tiny_qwen2_vl(directory: Path, seed: int = 0) -> Path:
    """As many image tokens as the picture's size asks for, so that lengths differ within a batch."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer(*QWEN_TOKENS.values())
    config = Qwen2VLConfig(
        text_config=text_tower(tokenizer)
        | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 14},
        **qwen_ids(tokenizer),
    )
    pixels = {"min_pixels": 28 * 28, "max_pixels": 16 * 28 * 28}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**pixels),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    return save(Qwen2VLForConditionalGeneration(config), processor, directory)


def save_tiny_idefics3(directory: Path, seed: int = 0) -> Path:
    """SmolVLM's family: a picture is cut into tiles, so that the number of pictures differs within a batch."""
    torch.manual_seed(seed)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = byte_tokenizer(
        "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *tiles
    )
    config = Idefics3Config(
        text_config={"model_type": "llama", **text_tower(tokenizer)},
        vision_config=vision_tower(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": 2 * SIDE_PX}, max_image_size={"longest_edge": SIDE_PX}),
        tokenizer,
        image_seq_len=(SIDE_PX // PATCH_PX // 2) ** 2,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return save(Idefics3ForConditionalGeneration(config), processor, directory)
