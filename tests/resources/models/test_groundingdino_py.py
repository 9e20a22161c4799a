"""The authors' own Grounding DINO (`groundingdino-py`) beside ours, with the same weights. In `make test-extras`.

The package does not run against transformers 5 as it is (docs/decisions/0006-groundingdino-py.md): the three methods of
BertModel that it takes and that are gone are put back here, for its own copy of the class alone.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_detectors import bert_tokenizer, noise, save_tiny_grounding_dino
from transformers import (
    BertConfig,
    BertModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.convert import convert
from resources.models.detectors import DetectorSpec
from resources.models.detectors.groundingdino_py import renamed

SIZES = ((61, 40), (40, 61), (50, 50), (97, 33), (33, 97), (64, 64), (120, 47), (45, 46))
IMAGES = [noise(size, seed) for seed, size in enumerate(SIZES)]
PHRASES = ["bowl", "car", "car taxi"]
SPANS = ((1, 5), (6, 9), (10, 17))
"""Tokens of the phrases in "bowl. car. car taxi.", a letter a token."""
JOINT = re.compile(r"(in_proj_|qkv\.)(weight|bias)$")


def converted(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the package under the names of transformers, joint projections split in three."""
    made: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if "position_index" in name or "pooler" in name:
            continue
        name = renamed(name)
        if joint := JOINT.search(name):
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


def made(checkpoint: Path, **changes: Any) -> Any:
    fields = {
        "family": "grounding-dino",
        "model": str(checkpoint),
        "min_score": 0.0,
        "batch_size": 4,
        "licence": "own",
    }
    return make_model(DetectorSpec.model_validate(fields | changes), "cpu")


def assert_both_find_the_same(checkpoint: Path, other: Path | None = None) -> None:
    """Two chunks of phrases over eight images, in batches by the port and one at a time by the package, to 1e-5."""
    phrases = [PHRASES if place % 2 else ["taxi", "a bowl"] for place in range(len(IMAGES))]
    port = made(checkpoint).detect(IMAGES, phrases)
    package = made(other or checkpoint, backend="groundingdino-py").detect(IMAGES, phrases)
    for ours, theirs in zip(port, package, strict=True):
        assert ours.prompt == theirs.prompt
        np.testing.assert_array_equal(ours.phrase_index, theirs.phrase_index)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        np.testing.assert_allclose(ours.text_scores, theirs.text_scores, atol=1e-5)
        np.testing.assert_allclose(ours.boxes_xywh, theirs.boxes_xywh, atol=1e-5)
    assert np.std([each.scores.max() for each in package]) > 0.01


@pytest.mark.extras
def test_the_backend_equals_the_native_port(checkpoint: Path) -> None:
    """One checkpoint under the names of transformers, as the hub has it."""
    assert_both_find_the_same(checkpoint)


@pytest.mark.extras
def test_the_backend_reads_what_was_saved_by_transformers(checkpoint: Path, tmp_path: Path) -> None:
    """Which leaves tied heads of boxes out."""
    GroundingDinoForObjectDetection.from_pretrained(checkpoint).save_pretrained(tmp_path)
    GroundingDinoProcessor.from_pretrained(checkpoint).save_pretrained(tmp_path)
    assert len(load_file(tmp_path / "model.safetensors")) < len(load_file(checkpoint / "model.safetensors"))
    assert_both_find_the_same(checkpoint, tmp_path)


@pytest.mark.extras
def test_the_backend_reads_the_names_of_the_package(authors: Any, checkpoint: Path, tmp_path: Path) -> None:
    """As its training saves them: one pickle, converted, beside the configuration and the tokenizer of the hub."""
    for path in checkpoint.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, tmp_path)
    named = {f"module.{name}": value for name, value in authors.state_dict().items()}
    torch.save({"model": named}, tmp_path / "groundingdino_swint_ogc.pth")
    convert(tmp_path / "groundingdino_swint_ogc.pth", tmp_path / "model.safetensors")
    assert_both_find_the_same(checkpoint, tmp_path)


@pytest.mark.extras
def test_a_checkpoint_that_lacks_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(checkpoint, tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    left = {name: value for name, value in weights.items() if "text_projection" not in name}
    save_file(left, damaged / "model.safetensors")
    with pytest.raises(ModelUnavailableError, match=r"damaged lacks weights of its model: feat_map\.bias"):
        made(damaged, backend="groundingdino-py").load()


@pytest.mark.extras
def test_a_backbone_that_the_package_does_not_have_is_refused(tmp_path: Path) -> None:
    save_tiny_grounding_dino(tmp_path)
    with pytest.raises(
        ModelUnavailableError, match=r"has the backbones swin_T.*\(16, 4\)\): leave `backend` out"
    ):
        made(tmp_path, backend="groundingdino-py").load()


@pytest.mark.extras
def test_the_shim_is_gone_when_the_model_is_made(checkpoint: Path) -> None:
    from groundingdino.util import get_tokenlizer

    made(checkpoint, backend="groundingdino-py").load()
    assert get_tokenlizer.get_pretrained_language_model.__module__ == get_tokenlizer.__name__
    assert not hasattr(BertModel, "get_extended_attention_mask")
