"""More tiny chat models that see: a random checkpoint of each family of resources/models/registry/vlm.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_vlm import (
    PATCH_PX,
    QWEN_TEMPLATE,
    QWEN_TOKENS,
    SIDE_PX,
    TEMPLATE,
    byte_tokenizer,
    qwen_ids,
    save,
    save_tiny_idefics3,
    save_tiny_llava,
    save_tiny_qwen2_vl,
    text_tower,
    vision_tower,
)

IMAGE_TOKENS = (SIDE_PX // PATCH_PX) ** 2
TILES = [[SIDE_PX, 2 * SIDE_PX], [2 * SIDE_PX, SIDE_PX], [2 * SIDE_PX, 2 * SIDE_PX], [SIDE_PX, 3 * SIDE_PX]]
JOY_TEMPLATE = (
    "<s>{% set users = messages | selectattr('role', 'equalto', 'user') | list %}{% for message in messages %}"
    "{{ message['role'] }}: {% if message == users[0] %}<image>{% endif %}{{ message['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""A template of the kind of JoyCaption's: it wants a message's content as one string, and puts the image itself."""


def save_tiny_idefics2(directory: Path) -> Path:
    """Pictures of their own size and shape, padded and masked within a batch; four latents each."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    perceiver = {
        "hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
        "resampler_head_dim": 16, "num_key_value_heads": 1,
    }  # fmt: skip
    config = hf.Idefics2Config(
        text_config={"model_type": "mistral", **text_tower(tokenizer)},
        vision_config=vision_tower(),
        perceiver_config=perceiver,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = hf.Idefics2Processor(
        hf.Idefics2ImageProcessor(size={"shortest_edge": 12, "longest_edge": SIDE_PX}),
        tokenizer,
        image_seq_len=4,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return save(hf.Idefics2ForConditionalGeneration(config), processor, directory)


def save_tiny_smolvlm(directory: Path) -> Path:
    """Tiles as Idefics3's, under SmolVLM2's own classes."""
    torch.manual_seed(0)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = byte_tokenizer(
        "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", "<video>", *tiles
    )
    config = hf.SmolVLMConfig(
        text_config={"model_type": "llama", **text_tower(tokenizer)},
        vision_config=vision_tower(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    pixels = {"size": {"longest_edge": 2 * SIDE_PX}, "max_image_size": {"longest_edge": SIDE_PX}}
    processor = hf.SmolVLMProcessor(
        hf.SmolVLMImageProcessor(**pixels),
        tokenizer,
        hf.SmolVLMVideoProcessor(),
        image_seq_len=IMAGE_TOKENS // 4,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return save(hf.SmolVLMForConditionalGeneration(config), processor, directory)


def save_tiny_llava_next(directory: Path, text_type: str = "mistral") -> Path:
    """A base view and tiles, with as many image tokens as what is left of the padding asks for."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<image>")
    config = hf.LlavaNextConfig(
        text_config={"model_type": text_type, **text_tower(tokenizer)},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **vision_tower()},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=TILES,
        image_seq_length=IMAGE_TOKENS,
    )
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessor(
            size={"shortest_edge": SIDE_PX},
            crop_size={"height": SIDE_PX, "width": SIDE_PX},
            image_grid_pinpoints=TILES,
        ),
        tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return save(hf.LlavaNextForConditionalGeneration(config), processor, directory)


def save_tiny_llava_onevision(directory: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<image>", "<video>")
    config = hf.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text_tower(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **vision_tower()},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=TILES,
    )
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(
            size={"height": SIDE_PX, "width": SIDE_PX}, image_grid_pinpoints=TILES
        ),
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(),
        num_image_tokens=IMAGE_TOKENS,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return save(hf.LlavaOnevisionForConditionalGeneration(config), processor, directory)


def save_tiny_qwen2_5_vl(directory: Path) -> Path:
    """Window attention in one layer of the tower, full attention in the other."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(*QWEN_TOKENS.values())
    config = hf.Qwen2_5_VLConfig(
        text_config=text_tower(tokenizer)
        | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
            "window_size": 56, "fullatt_block_indexes": [1],
        },
        **qwen_ids(tokenizer),
    )  # fmt: skip
    processor = hf.Qwen2_5_VLProcessor(
        hf.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=16 * 28 * 28),
        tokenizer,
        hf.Qwen2VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    return save(hf.Qwen2_5_VLForConditionalGeneration(config), processor, directory)


def qwen3_vl_parts(tokenizer: Any) -> dict[str, Any]:
    text = text_tower(tokenizer) | {
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4},
    }
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    return {"text_config": text, "vision_config": vision, **qwen_ids(tokenizer)}


def qwen3_vl_processor(tokenizer: Any) -> Any:
    return hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessor(
            patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 16 * 32 * 32}
        ),
        tokenizer,
        hf.Qwen3VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )


def save_tiny_qwen3_vl(directory: Path) -> Path:
    """Features of an early layer of the tower go into the text tower too (deepstack)."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(*QWEN_TOKENS.values())
    model = hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(**qwen3_vl_parts(tokenizer)))
    return save(model, qwen3_vl_processor(tokenizer), directory)


def save_tiny_qwen3_vl_moe(directory: Path) -> Path:
    """Four experts a layer, two of them at work."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(*QWEN_TOKENS.values())
    parts = qwen3_vl_parts(tokenizer)
    parts["text_config"] |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    model = hf.Qwen3VLMoeForConditionalGeneration(hf.Qwen3VLMoeConfig(**parts))
    return save(model, qwen3_vl_processor(tokenizer), directory)


def save_tiny_internvl(directory: Path) -> Path:
    """Tiles by aspect ratio, each of four tokens."""
    torch.manual_seed(0)
    names = {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
    }  # fmt: skip
    tokenizer = byte_tokenizer(*names.values(), named=names)
    config = hf.InternVLConfig(
        text_config={"model_type": "qwen2", **text_tower(tokenizer)},
        vision_config=vision_tower() | {"image_size": [SIDE_PX, SIDE_PX], "patch_size": [PATCH_PX, PATCH_PX]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=IMAGE_TOKENS // 4,
        tie_word_embeddings=False,
    )
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(
            size={"height": SIDE_PX, "width": SIDE_PX}, crop_to_patches=True, max_patches=4
        ),
        tokenizer,
        hf.InternVLVideoProcessor(),
        image_seq_length=IMAGE_TOKENS // 4,
        chat_template=TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    return save(hf.InternVLForConditionalGeneration(config), processor, directory)


def save_tiny_gemma3(directory: Path) -> Path:
    """Image tokens see each other, which the types of tokens tell; one layer of two looks back a little only."""
    torch.manual_seed(0)
    names = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    tokenizer = byte_tokenizer(*names.values(), named=names)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    config = hf.Gemma3Config(
        text_config=text_tower(tokenizer)
        | {"head_dim": 16, "sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **vision_tower()},
        mm_tokens_per_image=IMAGE_TOKENS // 4,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
        tie_word_embeddings=False,
    )
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}),
        tokenizer,
        image_seq_length=IMAGE_TOKENS // 4,
        chat_template=TEMPLATE.replace("IMAGE", "<start_of_image>"),
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)  # zeros at first
    return save(model, processor, directory)


def save_tiny_joycaption(directory: Path) -> Path:
    """LLaVA with a SigLIP tower, whose features are those before the last layer, and Llama."""
    return save_tiny_llava(directory, template=JOY_TEMPLATE, layer=-2)


SAVERS: dict[str, Callable[[Path], Path]] = {
    "llava": save_tiny_llava,
    "qwen2-vl": save_tiny_qwen2_vl,
    "idefics3": save_tiny_idefics3,
    "idefics2": save_tiny_idefics2,
    "smolvlm": save_tiny_smolvlm,
    "llava-next": save_tiny_llava_next,
    "llava-next-llama": lambda directory: save_tiny_llava_next(directory, "llama"),
    "llava-onevision": save_tiny_llava_onevision,
    "qwen2.5-vl": save_tiny_qwen2_5_vl,
    "qwen3-vl": save_tiny_qwen3_vl,
    "qwen3-vl-moe": save_tiny_qwen3_vl_moe,
    "internvl": save_tiny_internvl,
    "gemma3": save_tiny_gemma3,
}
