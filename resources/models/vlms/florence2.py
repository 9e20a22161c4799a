"""Florence-2's checkpoints in both of their formats, run by transformers' own code.

microsoft's and most fine-tuned ones, PromptGen among them, are in the format of the code that came with them: other
names of weights and of settings. They are read as they are; no code of a checkpoint is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resources.models.checkpoints import (
    Device,
    ModelUnavailableError,
    load_model,
    load_processor,
    read_config,
    read_weights,
    renamed,
    shared_model,
)
from resources.models.registry import Dtype
from resources.models.vlms.spec import VlmSpec

_NAMES: tuple[tuple[str, str], ...] = (
    (r"^vision_tower\.convs\.(\d+)\.proj\.", r"model.vision_tower.convs.\1.conv."),
    (r"^vision_tower\.", "model.vision_tower."),
    (r"\.conv([12])\.fn\.dw\.", r".conv\1."),
    (r"\.(window_attn|channel_attn)\.norm\.", ".norm1."),
    (r"\.(window_attn|channel_attn)\.fn\.", r".\1."),
    (r"\.ffn\.norm\.", ".norm2."),
    (r"\.ffn\.fn\.net\.", ".ffn."),
    (r"^image_projection$", "model.multi_modal_projector.image_projection.weight"),
    (r"^image_proj_norm\.", "model.multi_modal_projector.image_proj_norm."),
    (r"^image_pos_embed\.", "model.multi_modal_projector.image_position_embed."),
    (r"^visual_temporal_embed\.", "model.multi_modal_projector.visual_temporal_embed."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.final_logits_bias$", ""),
)
"""Names of weights in the original format -> in transformers', applied one after the other; "" is left out."""

_TOWER_SETTINGS = (
    "patch_size", "patch_stride", "patch_padding", "patch_prenorm", "num_heads", "num_groups", "depths",
    "window_size", "projection_dim", "drop_path_rate",
)  # fmt: skip
"""Of the vision tower; both formats name them alike."""

ADDED_TOKENS = (
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *(f"<loc_{number}>" for number in range(1000)),
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>"),
    *("<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>"),
    *("<region_to_desciption>", "</region_to_desciption>", "<proposal>", "</proposal>"),
    *("<poly>", "</poly>", "<and>"),
)
"""What the code of the original format adds to BART's vocabulary, in its order and spelling."""


def is_original(directory: Path) -> bool:
    """Whether a checkpoint is in the format of microsoft's own code."""
    return "dim_embed" in read_config(directory).get("vision_config", {})


def load(spec: VlmSpec, directory: Path, device: Device) -> Any:
    """The model of a checkpoint directory. Raises ModelUnavailableError where weights are missing."""
    auto = "Florence2ForConditionalGeneration"
    if not is_original(directory):
        return load_model(directory, auto, spec.dtype, device)
    return shared_model(
        directory, auto, spec.dtype, device, lambda: _load_original(directory, spec.dtype).to(device)
    )


def processor(directory: Path) -> Any:
    """transformers' own processor, made of the parts of a checkpoint where that names one of its own code."""
    if not is_original(directory):
        return load_processor(directory)
    from transformers import Florence2Processor

    tokenizer = load_processor(directory, "BartTokenizerFast")
    tokenizer.add_special_tokens({"extra_special_tokens": [*ADDED_TOKENS, "<image>"]})
    tokenizer.image_token = "<image>"
    tokenizer.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    pixels = load_processor(directory, "CLIPImageProcessor")
    return Florence2Processor(pixels, tokenizer, post_processor_config={"pure_text": {}})


def _load_original(directory: Path, dtype: Dtype) -> Any:
    import torch
    from transformers import Florence2ForConditionalGeneration, GenerationConfig

    weights = {
        name: values
        for original, values in read_weights(directory).items()
        if (name := renamed(original, _NAMES))
    }
    projection = "model.multi_modal_projector.image_projection.weight"
    if projection in weights:
        weights[projection] = weights[projection].T.contiguous()
    model: Any = Florence2ForConditionalGeneration(_config(directory))
    for tied, source in model.all_tied_weights_keys.items():  # a file holds one of them, whichever
        if tied in weights:
            weights.setdefault(source, weights[tied])
    missing, unknown = model.load_state_dict(weights, strict=False)
    lacking = {name for name, _ in model.named_parameters()} & {*missing} - model.all_tied_weights_keys.keys()
    if wrong := sorted(lacking | {*unknown}):
        raise ModelUnavailableError(
            f"{directory} lacks weights of Florence-2 or has others: {', '.join(wrong[:5])}. Fetch it again."
        )
    model.tie_weights()
    # a place for <image>, where the features of the picture stand: its own embedding is never read
    model.resize_token_embeddings(model.config.image_token_id + 1, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[-1] = 0
    if (directory / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(directory)
    return model.to(getattr(torch, dtype)).eval()


def _config(directory: Path) -> Any:
    from transformers import Florence2Config

    original = read_config(directory)
    text, tower = original["text_config"], original["vision_config"]
    return Florence2Config(
        text_config={**text, "model_type": "bart"},
        vision_config={name: tower[name] for name in _TOWER_SETTINGS if name in tower}
        | {
            "embed_dim": tower["dim_embed"],
            "max_temporal_embeddings": tower["visual_temporal_embedding"]["max_temporal_embeddings"],
            "max_position_embeddings": tower["image_pos_embed"]["max_pos_embeddings"],
        },
        image_token_id=text["vocab_size"],
    )
