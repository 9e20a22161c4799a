"""Tiny detectors with random weights, one of each real architecture, saved as the large ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_closed_sets import save_tiny_d_fine, save_tiny_rf_detr, save_tiny_rt_detr, spread_boxes
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BertConfig,
    BertTokenizer,
    CLIPImageProcessor,
    CLIPTextConfig,
    DetrImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    OmDetTurboConfig,
    OmDetTurboForObjectDetection,
    OmDetTurboProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    SwinConfig,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz -'"
OWLV2_TEXT_LENGTH = 16
FLORENCE2_TEXT_LENGTH = 64
FLORENCE2_OUTLINES = ["<poly>", "<sep>", "</poly>"]
FLORENCE2_BANNED = "e"


def letter_tokenizer(specials: list[str], begin: str, end: str, **named: str) -> PreTrainedTokenizerFast:
    """One token a letter, between `begin` and `end`; the special tokens come first, the end last if it is not one."""
    vocabulary = [*specials, *[letter for letter in LETTERS + "DL.,?" if letter not in specials]]
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


def bert_tokenizer() -> BertTokenizer:
    """A letter a token, at the ids of BERT that Grounding DINO has in its code."""
    ids = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
    ids |= {letter: 200 + place for place, letter in enumerate(LETTERS.replace(" ", ""))}
    ids |= {f"##{letter}": 300 + place for place, letter in enumerate(LETTERS.replace(" ", ""))}
    return BertTokenizer(vocab=ids)


def swin() -> SwinConfig:
    return SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )


def save_tiny_grounding_dino(directory: Path, seed: int = 0, mm: bool = False) -> Path:
    """96 to 192 px, two layers of 32, 20 queries, sentences of 64 tokens."""
    torch.manual_seed(seed)
    config = (MMGroundingDinoConfig if mm else GroundingDinoConfig)(
        backbone_config=swin(),
        text_config=BertConfig(
            vocab_size=1100,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=20,
        max_text_len=64,
    )
    model = (MMGroundingDinoForObjectDetection if mm else GroundingDinoForObjectDetection)(config)
    with torch.no_grad():
        model.model.decoder.layer_norm.weight.mul_(
            1.0 if mm else 0.1
        )  # a dot product: 1.0 everywhere otherwise
        spread_boxes(model)
    model.save_pretrained(directory)
    pixels = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 192})
    GroundingDinoProcessor(image_processor=pixels, tokenizer=bert_tokenizer()).save_pretrained(directory)
    return directory


def save_tiny_mm_grounding_dino(directory: Path, seed: int = 0) -> Path:
    return save_tiny_grounding_dino(directory, seed, mm=True)


def save_tiny_omdet_turbo(directory: Path, seed: int = 0) -> Path:
    """64 px, two layers of 32, 20 queries."""
    torch.manual_seed(seed)
    tokenizer = letter_tokenizer(
        ["<pad>", "<unk>", "<begin>"],
        "<begin>",
        "<end>",
        pad_token="<pad>",
        eos_token="<end>",
        model_max_length=77,
    )
    config = OmDetTurboConfig(
        backbone_config=swin(),
        text_config=CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            eos_token_id=len(tokenizer) - 1,
            bos_token_id=2,
            pad_token_id=0,
        ),
        image_size=64,
        apply_layernorm_after_vision_backbone=False,
        text_projection_in_dim=48,
        text_projection_out_dim=48,
        task_encoder_hidden_dim=64,
        class_embed_dim=48,
        num_queries=20,
        encoder_hidden_dim=32,
        vision_features_channels=(32, 32, 32),
        encoder_in_channels=(32, 64, 128),
        encoder_attention_heads=2,
        encoder_dim_feedforward=64,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_hidden_dim=32,
        decoder_dim_feedforward=64,
    )
    model = OmDetTurboForObjectDetection(config)
    with torch.no_grad():
        model.language_backbone.text_projection.normal_()
        spread_boxes(model)
    model.save_pretrained(directory)
    pixels = DetrImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
    OmDetTurboProcessor(image_processor=pixels, tokenizer=tokenizer).save_pretrained(directory)
    return directory


def save_tiny_florence2(directory: Path, seed: int = 0) -> Path:
    """64 px, two layers of 32; most of its tokens are locations, so that its random answers are too.

    As a trained one it begins with a word: here a letter, and letters are likelier than locations.
    """
    torch.manual_seed(seed)
    locations = [f"<loc_{number}>" for number in range(1000)]
    tokenizer = letter_tokenizer(
        ["<s>", "<pad>", "</s>", "<unk>", "<image>", *FLORENCE2_OUTLINES, *locations],
        "<s>",
        "</s>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )
    tower = {"depths": [1] * 4, "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2]}
    config = Florence2Config(
        vision_config=tower | {"embed_dim": [16, 16, 32, 32], "window_size": 4, "projection_dim": 32},
        text_config=BartConfig(
            vocab_size=len(tokenizer),
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=FLORENCE2_TEXT_LENGTH,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            forced_eos_token_id=2,
            init_std=0.5,
        ),
        image_token_id=4,
    )
    model = Florence2ForConditionalGeneration(config).eval()
    letters = tokenizer.convert_tokens_to_ids(list(LETTERS))
    with torch.no_grad():
        model.get_input_embeddings().weight[letters] *= 1.05
    model.generation_config.forced_bos_token_id = letters[0]
    model.generation_config.suppress_tokens = list(range(3, 5 + len(FLORENCE2_OUTLINES)))
    model.save_pretrained(directory)
    pixels = CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    with torch.no_grad():
        features = model.get_image_features(torch.zeros(1, 3, 64, 64)).pooler_output
    pixels.image_seq_length = features.shape[1]
    Florence2Processor(
        image_processor=pixels,
        tokenizer=tokenizer,
        post_processor_config={
            "description_with_bboxes_or_polygons": {},
            "phrase_grounding": {"banned_grounding_tokens": [FLORENCE2_BANNED]},
        },
    ).save_pretrained(directory)
    return directory


SAVERS: dict[str, Callable[[Path], Path]] = {
    "owlv2": save_tiny_owlv2,
    "grounding-dino": save_tiny_grounding_dino,
    "mm-grounding-dino": save_tiny_mm_grounding_dino,
    "llmdet": save_tiny_mm_grounding_dino,
    "omdet-turbo": save_tiny_omdet_turbo,
    "florence2": save_tiny_florence2,
    "rt-detr": save_tiny_rt_detr,
    "d-fine": save_tiny_d_fine,
    "rf-detr": save_tiny_rf_detr,
}


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    """A picture of coarse coloured squares: width, height in pixels."""
    squares = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(squares).resize(size, Image.Resampling.NEAREST)
