"""Every family of encoders against its library: batches of ours, one image at a time of theirs, on the same checkpoint."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_encoders import (
    BERT,
    OPEN_CLIP_CONFIGS,
    open_clip_reference,
    save_tiny_clip,
    save_tiny_metaclip2,
    save_tiny_naflex,
    save_tiny_open_clip,
    save_tiny_siglip2,
    save_tiny_siglip_1,
)
from transformers import AutoModel, AutoProcessor, pipeline
from typer.testing import CliRunner

from resources.models.checkpoints import ModelUnavailableError, read_scalars
from resources.models.encoders import Encoder, EncoderSpec
from resources.models.registry import registry
from vistag_assets.cli import app

SIZES = [(1, 1), (33, 7), (640, 3), (31, 480), (32, 32), (101, 99), (250, 251), (77, 240)]
LABELS = ["a vase", "Rust", "a photo of a gilded bronze figure, seated", "blue"]
OF_TRANSFORMERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "SigLIP": ("siglip", save_tiny_siglip_1),
    "SigLIP 2": ("siglip", save_tiny_siglip2),
    "SigLIP 2 NaFlex": ("siglip2-naflex", save_tiny_naflex),
    "CLIP": ("clip", save_tiny_clip),
    "MetaCLIP 2": ("metaclip2", save_tiny_metaclip2),
}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Odd sizes and aspect ratios."""
    random = np.random.default_rng(7)
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in SIZES
    ]


@pytest.fixture(scope="module", params=OF_TRANSFORMERS)
def of_transformers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    torch.manual_seed(0)
    family, save = OF_TRANSFORMERS[request.param]
    return encoder_of(family, save(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module", params=OPEN_CLIP_CONFIGS)
def of_open_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    torch.manual_seed(0)
    directory = save_tiny_open_clip(request.param, tmp_path_factory.mktemp("tiny") / "snapshot")
    listed = {system: family.name for family in registry().families for system in family.systems}
    return encoder_of(listed.get(request.param, "open-clip"), directory)


def encoder_of(family: str, directory: Path, **changes: object) -> Encoder:
    fields = {"family": family, "model": str(directory), "batch_size": 3, "licence": "own"}
    return Encoder(EncoderSpec.model_validate(fields | changes), "cpu")


def test_pixels_are_read_as_they_lie_and_are_the_librarys(
    of_transformers: Encoder, pictures: list[Image.Image]
) -> None:
    processor = AutoProcessor.from_pretrained(of_transformers.directory).image_processor
    for picture in [*pictures, pictures[2].crop((3, 0, 600, 2))]:
        theirs, ours = processor(images=picture, return_tensors="pt"), of_transformers.preprocess(picture)
        assert {name: value[0].numpy().tobytes() for name, value in theirs.items()} == {
            name: array.tobytes() for name, array in ours.items()
        }


def scores_of(encoder: Encoder, pictures: list[Image.Image], labels: list[str]) -> Any:
    cosine = encoder.embed_images(pictures) @ encoder.embed_texts(labels).T
    return encoder.score_head.scores(encoder.score_head.logits(cosine))


def unit(features: Any) -> np.ndarray:
    return (features / features.norm(dim=-1, keepdim=True)).numpy()


def tells_apart(vectors: Any) -> bool:
    """Whether the tiny model says different things of different inputs: else every comparison would pass."""
    return bool(np.ptp(np.stack(list(vectors)), axis=0).max() > 0.1)


def test_transformers_families_equal_the_library(
    of_transformers: Encoder, pictures: list[Image.Image]
) -> None:
    directory = of_transformers.spec.model
    model, processor = AutoModel.from_pretrained(directory), AutoProcessor.from_pretrained(directory)
    with torch.inference_mode():
        expected = [
            unit(model.get_image_features(**processor(images=picture, return_tensors="pt")).pooler_output[0])
            for picture in pictures
        ]
    np.testing.assert_allclose(of_transformers.embed_images(pictures), expected, atol=TOLERANCE)
    assert of_transformers.dimension == len(expected[0])
    assert tells_apart(expected)

    zero_shot = pipeline("zero-shot-image-classification", model=directory)
    labels = LABELS if of_transformers.score_head.kind == "softmax" else [label.lower() for label in LABELS]
    for picture, row in zip(pictures, scores_of(of_transformers, pictures, LABELS), strict=True):
        answers = {
            answer["label"]: answer["score"]
            for answer in zero_shot(picture, labels, hypothesis_template="{}")
        }
        np.testing.assert_allclose(row, [answers[label] for label in labels], atol=TOLERANCE)


def test_open_clip_families_equal_the_library(of_open_clip: Encoder, pictures: list[Image.Image]) -> None:
    directory = Path(of_open_clip.spec.model)
    model, transform, tokenizer = open_clip_reference(directory)
    logits, expected = [], []
    with torch.inference_mode():
        tokens = tokenizer(LABELS)
        for picture in pictures:
            features, texts, *head = model(transform(picture)[None], tokens)
            expected.append(features[0].numpy())
            logits.append((head[0] * features @ texts.T + sum(head[1:]))[0])
        scores = torch.stack(logits)
        scores = scores.sigmoid() if model.logit_bias is not None else scores.softmax(dim=-1)
    np.testing.assert_allclose(of_open_clip.embed_images(pictures), expected, atol=TOLERANCE)
    np.testing.assert_allclose(of_open_clip.embed_texts(LABELS), texts.numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(scores_of(of_open_clip, pictures, LABELS), scores.numpy(), atol=TOLERANCE)
    assert of_open_clip.dimension == len(expected[0])
    assert tells_apart(expected)
    assert tells_apart(texts)


@pytest.mark.parametrize("system", ["OpenCLIP", "BiomedCLIP"])
def test_a_copied_snapshot_needs_no_network(
    system: str, tmp_path: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(self: object, address: object, *_: object) -> None:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    encoder = encoder_of("open-clip", save_tiny_open_clip(system, tmp_path / "copy"))
    assert encoder.fingerprint
    assert encoder.score_head.scale == pytest.approx(20, rel=1e-5)
    assert not encoder.is_loaded
    encoder.embed_images(pictures[:1])
    encoder.embed_texts(LABELS)
    assert encoder.is_loaded
    assert asked == []


def test_a_text_tower_that_cannot_be_had_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = save_tiny_open_clip("BiomedCLIP", tmp_path / "copy")
    first = encoder_of("open-clip", directory).fingerprint
    config = directory / BERT / "config.json"
    config.write_text(config.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": 4'))
    assert encoder_of("open-clip", directory).fingerprint != first  # the weights fit both
    config.unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelUnavailableError, match=rf"{BERT} is not on this .*put that file into {directory}"
    ):
        encoder_of("open-clip", directory)


def test_pickles_and_missing_weights_are_refused(tmp_path: Path) -> None:
    directory = save_tiny_open_clip("OpenCLIP", tmp_path / "copy")
    weights = directory / "open_clip_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if name != "ln_final.weight"}, weights)
    encoder = encoder_of("open-clip", directory)
    with pytest.raises(ModelUnavailableError, match=r"ln_final\.weight"):
        encoder.load()
    weights.unlink()
    torch.save(tensors, directory / "open_clip_pytorch_model.bin")
    with pytest.raises(
        ModelUnavailableError, match=r"holds no open_clip_model.safetensors.*vistag convert FILE"
    ):
        encoder_of("open-clip", directory)
    (directory / "open_clip_config.json").unlink()
    with pytest.raises(ModelUnavailableError, match=r"open_clip_config\.json is missing"):
        encoder_of("open-clip", directory)


def test_the_documented_conversion_makes_a_pickle_a_checkpoint(tmp_path: Path) -> None:
    directory = save_tiny_open_clip("BiomedCLIP", tmp_path / "copy")
    expected = encoder_of("open-clip", directory).embed_texts(LABELS)
    weights = directory / "open_clip_model.safetensors"
    torch.save(load_file(weights), directory / "open_clip_pytorch_model.bin")
    weights.unlink()
    document = (Path(__file__).parents[4] / "docs" / "encoders.md").read_text()
    [command] = [line for line in document.splitlines() if line.startswith("vistag convert ")]
    assert command.endswith("/open_clip_pytorch_model.bin")
    done = CliRunner().invoke(app, ["convert", str(directory / "open_clip_pytorch_model.bin")])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(encoder_of("open-clip", directory).embed_texts(LABELS), expected)


def test_half_precision_stays_near(of_open_clip: Encoder, pictures: list[Image.Image]) -> None:
    half = encoder_of("open-clip", of_open_clip.directory, dtype="bfloat16")
    for ours, theirs in (
        (half.embed_images(pictures), of_open_clip.embed_images(pictures)),
        (half.embed_texts(LABELS), of_open_clip.embed_texts(LABELS)),
    ):
        assert ours.dtype == np.float32
        assert (ours * theirs).sum(axis=1).min() > 0.999


def test_a_head_kept_in_16_bits_is_read_without_torch(tmp_path: Path) -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        tensors = {"other": torch.ones(3), "logit_scale": torch.tensor(2.5, dtype=dtype)}
        save_file(tensors, tmp_path / "model.safetensors")
        assert read_scalars(tmp_path, "logit_scale") == {"logit_scale": 2.5}
    with pytest.raises(ValueError, match="no tensor named logit_bias"):
        read_scalars(tmp_path, "logit_scale", "logit_bias")
