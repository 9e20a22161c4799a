"""Every family of encoders against its library: batches of ours, one image at a time of theirs, on the same checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import (
    OPEN_CLIP_CONFIGS,
    open_clip_reference,
    save_tiny_clip,
    save_tiny_metaclip2,
    save_tiny_naflex,
    save_tiny_open_clip,
)
from transformers import AutoModel, AutoProcessor, pipeline

from resources.encoders import Encoder, EncoderSpec

SIZES = [(1, 1), (33, 7), (640, 3), (31, 480), (32, 32), (101, 99), (250, 251), (77, 240)]
LABELS = ["a vase", "Rust", "a photo of a gilded bronze figure, seated", "blue"]
OF_TRANSFORMERS = {
    "clip": save_tiny_clip,
    "metaclip2": save_tiny_metaclip2,
    "siglip2-naflex": save_tiny_naflex,
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
    directory = OF_TRANSFORMERS[request.param](tmp_path_factory.mktemp("tiny"))
    return encoder_of(request.param, directory)


@pytest.fixture(scope="module", params=OPEN_CLIP_CONFIGS)
def of_open_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    torch.manual_seed(0)
    directory = save_tiny_open_clip(request.param, tmp_path_factory.mktemp("tiny") / "snapshot")
    return encoder_of("open-clip", directory)


def encoder_of(family: str, directory: Path, **changes: object) -> Encoder:
    fields = {"family": family, "model": str(directory), "batch_size": 3, "licence": "own"}
    return Encoder(EncoderSpec.model_validate(fields | changes), "cpu")


def scores_of(encoder: Encoder, pictures: list[Image.Image], labels: list[str]) -> Any:
    cosine = encoder.embed_images(pictures) @ encoder.embed_texts(labels).T
    return encoder.score_head.scores(encoder.score_head.logits(cosine))


def unit(features: Any) -> np.ndarray:
    return (features / features.norm(dim=-1, keepdim=True)).numpy()


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
    assert np.ptp(torch.stack(logits).numpy()) > 0.1  # the model tells these pictures and labels apart
