"""The authors' own Grounding DINO (`groundingdino-py`) beside ours, with the same weights. In `make test-extras`.

The package does not run against transformers 5 as it is (docs/decisions/0006-groundingdino-py.md): the three methods of
BertModel that it takes and that are gone are put back here, for its own copy of the class alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_detectors import bert_tokenizer, noise
from transformers import (
    BertConfig,
    BertModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

from resources.models.checkpoints import make_model
from resources.models.detectors import DetectorSpec

SIZES = ((61, 40), (40, 61), (50, 50), (97, 33), (33, 97), (64, 64), (120, 47), (45, 46))
IMAGES = [noise(size, seed) for seed, size in enumerate(SIZES)]
PHRASES = ["bowl", "car", "car taxi"]
SPANS = ((1, 5), (6, 9), (10, 17))
"""Tokens of the phrases in "bowl. car. car taxi.", a letter a token."""

BACKBONE = "model.backbone.conv_encoder.model."
LINEAR = {"linear1": "fc1", "linear2": "fc2"}
RENAMED: dict[str, tuple[str, dict[str, str]]] = {
    r"^backbone\.0\.norm1\.": (BACKBONE + "hidden_states_norms.stage2.", {}),
    r"^backbone\.0\.norm2\.": (BACKBONE + "hidden_states_norms.stage3.", {}),
    r"^backbone\.0\.norm3\.": (BACKBONE + "hidden_states_norms.stage4.", {}),
    r"^backbone\.0\.patch_embed\.proj\.": (BACKBONE + "embeddings.patch_embeddings.projection.", {}),
    r"^backbone\.0\.patch_embed\.norm\.": (BACKBONE + "embeddings.norm.", {}),
    r"^backbone\.0\.layers\.": (
        BACKBONE + "encoder.layers.",
        {
            "norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense", "attn.proj": "attention.output.dense", "attn.": "attention.self.",
        },
    ),
    r"^transformer\.encoder\.text_layers\.(\d+)\.": (
        r"model.encoder.layers.\1.text_enhancer_layer.",
        LINEAR | {"norm1": "layer_norm_before", "norm2": "layer_norm_after"},
    ),
    r"^transformer\.encoder\.fusion_layers\.(\d+)\.": (
        r"model.encoder.layers.\1.fusion_layer.",
        {
            "gamma_v": "vision_param", "gamma_l": "text_param", "layer_norm_v.": "layer_norm_vision.",
            "layer_norm_l.": "layer_norm_text.", "v_proj": "vision_proj", "l_proj": "text_proj",
        },
    ),
    r"^transformer\.encoder\.layers\.(\d+)\.": (
        r"model.encoder.layers.\1.deformable_layer.",
        LINEAR | {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"},
    ),
    r"^transformer\.decoder\.layers\.": (
        "model.decoder.layers.",
        LINEAR | {
            "cross_attn.": "encoder_attn.", "ca_text.": "encoder_attn_text.", "catext_norm": "encoder_attn_text_layer_norm",
            "norm1": "encoder_attn_layer_norm", "norm2": "self_attn_layer_norm", "norm3": "final_layer_norm",
        },
    ),
    r"^transformer\.decoder\.ref_point_head": ("model.decoder.reference_points_head", {}),
    r"^transformer\.decoder\.norm": ("model.decoder.layer_norm", {}),
    r"^transformer\.enc_out_bbox_embed": ("model.encoder_output_bbox_embed", {}),
    r"^transformer\.tgt_embed": ("model.query_position_embeddings", {}),
    r"^transformer\.": ("model.", {}),
    r"^input_proj": ("model.input_proj_vision", {}),
    r"^feat_map": ("model.text_projection", {}),
    r"^bert\.": ("model.text_backbone.", {}),
}  # fmt: skip
"""How the package calls a weight -> how transformers does: the first that fits, and words that change in the rest."""


def renamed(name: str) -> str:
    for pattern, (start, words) in RENAMED.items():
        if found := re.match(pattern, name):
            rest = name[found.end() :]
            for word, other in words.items():
                if word in rest:
                    rest = rest.replace(word, other)
                    break
            return found.expand(start) + rest
    return name


def converted(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the package under the names of transformers, joint projections split in three."""
    made: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if "position_index" in name or "pooler" in name:
            continue
        name = renamed(name)
        if joint := re.search(r"(in_proj_|qkv\.)(weight|bias)$", name):
            for part, its in zip(("query", "key", "value"), weight.chunk(3), strict=True):
                made[f"{name[: joint.start()]}{part}.{joint[2]}"] = its.clone()
        else:
            made[name] = weight.clone()
    return made


class Bert(BertModel):
    """With what transformers 4 gave every model and groundingdino-py takes from this one."""

    def get_extended_attention_mask(self, mask: torch.Tensor, *_: Any) -> torch.Tensor:
        return (1.0 - mask[:, None].float()) * torch.finfo(torch.float32).min

    def invert_attention_mask(self, mask: torch.Tensor) -> torch.Tensor:
        raise AssertionError("only a decoder needs it")

    def get_head_mask(self, head_mask: None, layers: int) -> list[None]:
        return [head_mask] * layers


@pytest.fixture(scope="module")
def text() -> BertConfig:
    return BertConfig(
        vocab_size=1100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip


@pytest.fixture(scope="module")
def their_arguments(text: BertConfig, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Their own Swin-T configuration, with two layers, 20 queries and a small text tower of random weights."""
    from groundingdino import config
    from groundingdino.util.slconfig import SLConfig

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    BertModel(text).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    args = SLConfig.fromfile(str(Path(config.__file__).parent / "GroundingDINO_SwinT_OGC.py"))
    args.device, args.text_encoder_type, args.max_text_len = "cpu", str(folder), 64
    args.num_queries, args.enc_layers, args.dec_layers = 20, 2, 2
    return args


@pytest.fixture(scope="module")
def authors(their_arguments: Any) -> Any:
    """Their model with random weights and the three methods."""
    from groundingdino import models
    from groundingdino.util import get_tokenlizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(get_tokenlizer, "BertModel", Bert)
        model = models.build_model(their_arguments).eval()
    with torch.no_grad():
        model.transformer.decoder.norm.weight.mul_(0.03)  # a dot product: every score 1 otherwise
        for name, parameter in model.named_parameters():
            if "bbox_embed" in name:
                parameter.normal_(std=0.05)
    return model


@pytest.fixture(scope="module")
def checkpoint(authors: Any, text: BertConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    backbone = SwinConfig(
        image_size=224, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    GroundingDinoConfig(
        backbone_config=backbone, text_config=text, num_queries=20, max_text_len=64, encoder_layers=2,
        decoder_layers=2, architectures=[GroundingDinoForObjectDetection.__name__],
    ).save_pretrained(folder)  # fmt: skip
    save_file(converted(authors.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    pixels = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 192})
    GroundingDinoProcessor(image_processor=pixels, tokenizer=bert_tokenizer()).save_pretrained(folder)
    return folder


@pytest.mark.extras
def test_the_package_does_not_run_as_it_is(their_arguments: Any) -> None:
    """When this fails, a release has caught up: see docs/decisions/0006-groundingdino-py.md."""
    from groundingdino import models

    with pytest.raises(
        AttributeError, match="'BertModel' object has no attribute 'get_extended_attention_mask'"
    ):
        models.build_model(their_arguments)


@pytest.mark.extras
def test_grounding_dino_equals_its_authors(authors: Any, checkpoint: Path) -> None:
    """Scores to 1e-5 and boxes to 1e-5 of the image: eight images in one call of ours, one at a time in theirs."""
    spec = DetectorSpec(
        family="grounding-dino", model=str(checkpoint), min_score=0.0, batch_size=4, licence="own"
    )
    detector: Any = make_model(spec, "cpu")
    found = detector.detect(IMAGES, [PHRASES] * len(IMAGES))
    seen = []
    for image, ours in zip(IMAGES, found, strict=True):
        pixels = detector.processor.image_processor(images=[image], return_tensors="pt")
        with torch.no_grad():
            theirs = authors(pixels["pixel_values"], captions=["bowl. car. car taxi."])
        tokens = theirs["pred_logits"][0].sigmoid().numpy()
        for index, (start, end) in enumerate(SPANS):
            np.testing.assert_allclose(ours.scores[index::3], tokens[:, start:end].max(axis=1), atol=1e-5)
        x, y, width, height = theirs["pred_boxes"][0].numpy().T
        corners = np.clip(np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1), 0, 1)
        expected = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        np.testing.assert_allclose(ours.boxes_xywh[::3], expected, atol=1e-5)
        seen.append(ours.scores)
    assert np.std(seen) > 0.02
