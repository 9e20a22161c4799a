"""A tiny SigLIP checkpoint with random weights, saved as the large ones are."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

CHARACTERS = ["<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz ,.-'()"]
TEXT_LENGTH = 64


def save_tiny_siglip(directory: Path, seed: int = 0) -> Path:
    """32 px, two layers of 32; float16 weights, a head of scale 10 and bias -3."""
    torch.manual_seed(seed)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    text = tower | special | {"vocab_size": len(CHARACTERS), "projection_size": 32}
    model = SiglipModel(
        SiglipConfig(
            text_config=text | {"max_position_embeddings": TEXT_LENGTH},
            vision_config=tower | {"image_size": 32, "patch_size": 8},
        )
    )
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10.0))
        model.logit_bias.fill_(-3.0)
    model.half().save_pretrained(directory)

    pixels = SiglipImageProcessor(size={"height": 32, "width": 32})
    SiglipProcessor(image_processor=pixels, tokenizer=letter_tokenizer()).save_pretrained(directory)
    return directory


def letter_tokenizer() -> PreTrainedTokenizerFast:
    ids = {character: place for place, character in enumerate(CHARACTERS)}
    letters = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=letters,
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids"],  # as SigLIP's own: the text tower sees the padding
    )
