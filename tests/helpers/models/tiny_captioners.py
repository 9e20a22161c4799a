"""Tiny captioning models of the real architectures, with random weights and their own processors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tiny_vlm import SIDE_PX, byte_tokenizer, save, vision_tower
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from resources.models.vlms.florence2 import ADDED_TOKENS

SIZE = {"height": SIDE_PX, "width": SIDE_PX}
QUERIES = 4
BART_TOKENS: dict[str, Any] = {"first": ("<s>", "<pad>", "</s>"), "added": ("<unk>", "<mask>")}
BART_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}


def word_piece_tokenizer() -> hf.PreTrainedTokenizerFast:
    """Letters at the start of a word and within one, as BERT's tokenizer has them."""
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[DEC]", *ascii_lowercase, ",", "."]
    pieces += [f"##{letter}" for letter in ascii_lowercase]
    letters = Tokenizer(
        models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    letters.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters.decoder = decoders.WordPiece()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=letters,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        extra_special_tokens=["[DEC]"],
    )


def text_tower(tokenizer: Any, **ids: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0, **ids,
    }  # fmt: skip


def save_tiny_blip(directory: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = word_piece_tokenizer()
    config = hf.BlipConfig(
        text_config=text_tower(tokenizer, bos_token_id=4, sep_token_id=2, eos_token_id=2)
        | {"encoder_hidden_size": 32, "projection_dim": 32},
        vision_config=vision_tower() | {"projection_dim": 32, "initializer_range": 0.02},
    )
    processor = hf.BlipProcessor(hf.BlipImageProcessor(size=SIZE), tokenizer)
    return save(hf.BlipForConditionalGeneration(config), processor, directory)


def save_tiny_blip2(directory: Path, text: str = "opt") -> Path:
    """Four queries look at the picture, and a language model goes on from what they saw."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<image>")
    towers = {
        "opt": {
            "vocab_size": len(tokenizer), "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        },
        "t5": {
            "vocab_size": len(tokenizer), "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
            "pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 2, "is_encoder_decoder": True,
        },
    }  # fmt: skip
    config = hf.Blip2Config(
        text_config={"model_type": text, **towers[text]},
        vision_config=vision_tower() | {"initializer_range": 0.02},
        qformer_config=text_tower(tokenizer) | {"encoder_hidden_size": 32, "cross_attention_frequency": 1},
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = hf.Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens)  # zeros at first
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=SIZE), tokenizer, num_query_tokens=QUERIES)
    return save(model, processor, directory)


def save_tiny_git(directory: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = word_piece_tokenizer()
    config = hf.GitConfig(
        vision_config=vision_tower(), **text_tower(tokenizer, bos_token_id=1, eos_token_id=2)
    )
    pixels = hf.CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size=SIZE)
    return save(hf.GitForCausalLM(config), hf.GitProcessor(pixels, tokenizer), directory)


def save_tiny_vit_gpt2(directory: Path) -> Path:
    """As the checkpoint on the hub: image processor and tokenizer side by side, and no processor of both."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    decoder = hf.GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=256, add_cross_attention=True,
        is_decoder=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        hf.ViTConfig(**vision_tower()), decoder, decoder_start_token_id=1, eos_token_id=2, pad_token_id=0
    )
    hf.ViTImageProcessor(size=SIZE).save_pretrained(directory)
    return save(hf.VisionEncoderDecoderModel(config), tokenizer, directory)


def save_tiny_donut(directory: Path) -> Path:
    """A Swin encoder, an MBart decoder, and task tokens that the decoder begins with."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<s_synthdog>", "<s_cord-v2>", "<unk>")
    tokenizer.unk_token = "<unk>"
    encoder = hf.DonutSwinConfig(
        image_size=[SIDE_PX, 2 * SIDE_PX], patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )  # fmt: skip
    decoder = hf.MBartConfig(
        vocab_size=len(tokenizer), d_model=32, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=64,
        encoder_layers=2, max_position_embeddings=256, is_decoder=True, add_cross_attention=True, is_encoder_decoder=False,
        add_final_layer_norm=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, decoder_start_token_id=3, eos_token_id=2, pad_token_id=0
    )
    pixels = hf.DonutImageProcessor(size={"height": SIDE_PX, "width": 2 * SIDE_PX})
    return save(hf.VisionEncoderDecoderModel(config), hf.DonutProcessor(pixels, tokenizer), directory)


def florence2_parts() -> tuple[Any, Any]:
    """(model, processor) in transformers' format: 64 px, 5 tokens a picture."""
    torch.manual_seed(0)
    tokens = BART_TOKENS | {"added": (*BART_TOKENS["added"], *ADDED_TOKENS, "<image>")}
    tokenizer = byte_tokenizer(**tokens, named={"image_token": "<image>"})
    tower = {"depths": [1] * 4, "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2]}
    text = {
        "vocab_size": len(tokenizer) - 1, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
        "max_position_embeddings": 256, "forced_eos_token_id": 2, **BART_IDS,
    }  # fmt: skip
    config = hf.Florence2Config(
        vision_config=tower | {"embed_dim": [16, 16, 32, 48], "window_size": 4, "projection_dim": 32},
        text_config={"model_type": "bart", **text},
        image_token_id=len(tokenizer) - 1,
    )
    model = hf.Florence2ForConditionalGeneration(config)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():  # so that random answers are letters and not all places
        model.get_input_embeddings().weight[-len(ADDED_TOKENS) - 1 :] *= 0.01
        for layer in model.model.language_model.decoder.layers:
            layer.encoder_attn.out_proj.weight *= 30  # so that the picture matters
    model.generation_config = hf.GenerationConfig(
        **BART_IDS, forced_bos_token_id=0, no_repeat_ngram_size=3, num_beams=3, early_stopping=True
    )  # fmt: skip
    pixels = hf.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=5)
    return model, hf.Florence2Processor(pixels, tokenizer, post_processor_config={"pure_text": {}})


def save_tiny_florence2(directory: Path) -> Path:
    return save(*florence2_parts(), directory)


def save_tiny_original_florence2(directory: Path) -> Path:
    """The same weights in the format of microsoft's own code, which PromptGen's checkpoints are in too."""
    model, processor = florence2_parts()
    save(model, processor, directory)
    weights = {
        as_in_the_original(name): values
        for name, values in load_file(directory / "model.safetensors").items()
    }
    weights["image_projection"] = weights["image_projection"].T.contiguous()
    words = model.config.text_config.vocab_size - 1
    weights["language_model.model.shared.weight"] = weights["language_model.model.shared.weight"][
        :words
    ].clone()
    weights["language_model.final_logits_bias"] = torch.zeros(1, words)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    tower = model.config.vision_config.to_dict()
    tower |= {
        "model_type": "davit",
        "dim_embed": tower.pop("embed_dim"),
        "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 100},
        "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
    }
    text = model.config.text_config.to_dict() | {"model_type": "florence2_language", "vocab_size": words}
    text |= {"num_beams": 3, "no_repeat_ngram_size": 3, "early_stopping": True, "forced_bos_token_id": 0}
    config = {"model_type": "florence2", "text_config": text, "vision_config": tower}
    config["auto_map"] = {"AutoConfig": "configuration_florence2.Florence2Config"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "processor_config.json").unlink()
    processor.image_processor.save_pretrained(directory)
    byte_tokenizer(**BART_TOKENS).save_pretrained(directory)
    return directory


def as_in_the_original(name: str) -> str:
    """What microsoft's code calls a weight of transformers' Florence-2, layer by layer as its modules nest."""
    head, _, rest = name.removeprefix("model.").partition(".")
    if head == "multi_modal_projector":
        rest = rest.replace("image_position_embed", "image_pos_embed")
        return "image_projection" if rest == "image_projection.weight" else rest
    if head == "language_model":
        return f"language_model.model.{rest}"
    if head == "lm_head":
        return f"language_model.{name}"
    path = rest.split(".")
    if path[0] == "convs":
        path[2] = {"conv": "proj", "norm": "norm"}[path[2]]
    else:
        attention = "window_attn" if path[3] == "spatial_block" else "channel_attn"
        nested = {
            "conv1": ["conv1", "fn", "dw"],
            "conv2": ["conv2", "fn", "dw"],
            "norm1": [attention, "norm"],
            "norm2": ["ffn", "norm"],
            attention: [attention, "fn"],
            "ffn": ["ffn", "fn", "net"],
        }
        path[4:5] = nested[path[4]]
    return ".".join(["vision_tower", *path])


SAVERS: dict[str, Callable[[Path], Path]] = {
    "blip": save_tiny_blip,
    "blip-2": save_tiny_blip2,
    "blip-2-t5": lambda directory: save_tiny_blip2(directory, "t5"),
    "git": save_tiny_git,
    "vit-gpt2": save_tiny_vit_gpt2,
    "donut": save_tiny_donut,
    "florence-2": save_tiny_florence2,
    "florence-2-promptgen": save_tiny_original_florence2,
}
