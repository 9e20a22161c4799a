"""Tiny detectors with random weights, one of each real architecture, saved as the large ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz -'"
OWLV2_TEXT_LENGTH = 16


def letter_tokenizer(specials: list[str], begin: str, end: str, **named: str) -> PreTrainedTokenizerFast:
    """One token a letter, between `begin` and `end`; the special tokens come first, the end last if it is not one."""
    vocabulary = [*specials, *[letter for letter in LETTERS + ".,?" if letter not in specials]]
    if end not in vocabulary:
        vocabulary.append(end)
    ids = {token: place for place, token in enumerate(vocabulary)}
    letters = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    letters.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, ids[begin]), (end, ids[end])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="<unk>", **named)


def save_tiny_owlv2(directory: Path, seed: int = 0) -> Path:
    """48 px, 36 patches, two layers of 32 in each tower."""
    torch.manual_seed(seed)
    tokenizer = letter_tokenizer(
        ["<pad>", "<unk>", "<begin>"],
        "<begin>",
        "<end>",
        pad_token="<pad>",
        eos_token="<end>",
        model_max_length=OWLV2_TEXT_LENGTH,
    )
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": len(tokenizer) - 1}
    config = Owlv2Config(
        text_config=tower
        | special
        | {"vocab_size": len(tokenizer), "max_position_embeddings": OWLV2_TEXT_LENGTH},
        vision_config=tower | {"image_size": 48, "patch_size": 8},
        projection_dim=32,
    )
    model = Owlv2ForObjectDetection(config)
    with torch.no_grad():
        # random heads of this width say 0 or 1 and draw boxes without an area
        for head in (model.box_head.dense2, model.class_head.logit_shift, model.class_head.logit_scale):
            for parameter in head.parameters():
                parameter.mul_(0.03)
    model.save_pretrained(directory)
    pixels = Owlv2ImageProcessor(size={"height": 48, "width": 48})
    Owlv2Processor(image_processor=pixels, tokenizer=tokenizer).save_pretrained(directory)
    return directory
