"""What is measured with: full-size models of random weights, and JPEG files of three sizes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

from benchmarks.tiny_checkpoint import CHARACTERS, letter_tokenizer

SIZES_PX = {"24 megapixels": (6000, 4000), "1 megapixel": (1224, 816), "thumbnail": (256, 170)}
"""Width and height, by the name in the tables."""
_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_CLIP_TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
}
_CLIP_WORDS = 49_408
_DIFFERENT = 4
"""Pictures that are drawn of a size; a file is one of them with a patch of its own."""


def save_clip(directory: Path) -> Path:
    """CLIP ViT-B/32, with a vocabulary of letters: its words are not to be had offline, and no text is measured."""
    tokenizer, special = _clip_tokenizer()
    text = _CLIP_TEXT | special
    config = CLIPConfig(
        text_config=text, vision_config=_BASE | {"image_size": 224, "patch_size": 32}, projection_dim=512
    )
    return _save(CLIPModel(config), CLIPProcessor(CLIPImageProcessor(), tokenizer), directory)


def save_siglip2(directory: Path) -> Path:
    """SigLIP 2 B/16 at 256 px, likewise."""
    text = _BASE | {"vocab_size": len(CHARACTERS), "projection_size": 768}
    text |= {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    config = SiglipConfig(text_config=text, vision_config=_BASE | {"image_size": 256, "patch_size": 16})
    pixels = SiglipImageProcessor(size={"height": 256, "width": 256})
    processor = SiglipProcessor(image_processor=pixels, tokenizer=letter_tokenizer())
    return _save(SiglipModel(config), processor, directory)


def save_owlv2(directory: Path) -> Path:
    """OWLv2 B/16 at 960 px, likewise."""
    tokenizer, special = _clip_tokenizer()
    text = _CLIP_TEXT | special | {"max_position_embeddings": 16}
    vision = _BASE | {"image_size": 960, "patch_size": 16}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=512)
    processor = Owlv2Processor(image_processor=Owlv2ImageProcessor(), tokenizer=tokenizer)
    return _save(Owlv2ForObjectDetection(config), processor, directory)


def _clip_tokenizer() -> tuple[CLIPTokenizer, dict[str, int]]:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    # rows for all words of CLIP, which clip-retrieval reads a text with before it begins
    special = {"vocab_size": _CLIP_WORDS, "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    return CLIPTokenizer({token: place for place, token in enumerate(tokens)}, []), special


def _save(model: Any, processor: Any, directory: Path) -> Path:
    for part in (model, processor):
        part.save_pretrained(directory)
    return directory


def write_jpegs(folder: Path, size: tuple[int, int], count: int, seed: int) -> Path:
    """So many JPEG files of width and height `size`, as cameras compress them. No two show the same, of any seed: what
    vistag knows of a picture it takes along to its copies.
    """
    random = np.random.default_rng([seed, *size])
    folder.mkdir(parents=True)
    pictures = _pictures(size)
    for number in range(count):
        picture = pictures[number % len(pictures)].copy()
        patch = random.integers(0, 256, (8, 8, 3), np.uint8)
        picture.paste(Image.fromarray(patch).resize((size[0] // 4, size[1] // 4), Image.Resampling.NEAREST))
        picture.save(folder / f"{number:06d}.jpg", "JPEG", quality=90)
    return folder


@lru_cache(maxsize=1)
def _pictures(size: tuple[int, int]) -> list[Image.Image]:
    """Noise of falling strength at rising frequencies, as photographs have it: of a photograph's size in bytes too."""
    random = np.random.default_rng(5)
    pictures = []
    for _ in range(_DIFFERENT):
        total = np.zeros((size[1], size[0], 3), np.float32)
        for cells, strength in ((4, 90), (16, 45), (64, 22), (256, 11), (1024, 6)):
            noise = random.integers(0, 256, (min(cells, size[1]), min(cells, size[0]), 3), np.uint8)
            grown = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
            total += (np.asarray(grown, np.float32) - 128) * (strength / 128)
        pictures.append(Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8)))
    return pictures
