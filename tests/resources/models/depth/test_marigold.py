"""Marigold against the pipeline of diffusers, one image at a time; in an environment that has it: make test-extras."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_zoo import picture
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_detectors import letter_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.depth import DepthEstimator, DepthSpec
from resources.models.depth.marigold import SEED

pytestmark = pytest.mark.extras

SIZES = [(128, 96), (128, 96), (97, 61), (128, 96), (300, 31), (33, 501), (61, 97), (128, 96)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_marigold(tmp_path_factory.mktemp("marigold"))


def save_tiny_marigold(directory: Path) -> Path:
    """64 px on the longer side, two levels of 32 channels, two steps of diffusion."""
    import diffusers

    torch.manual_seed(0)
    tokenizer = letter_tokenizer(
        ["<pad>", "<unk>", "<begin>"],
        "<begin>",
        "<end>",
        pad_token="<pad>",
        eos_token="<end>",
        model_max_length=77,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=0,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=32,
        in_channels=8,  # the image's latents and those of the depth
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        latent_channels=4,
    )
    diffusers.MarigoldDepthPipeline(
        unet=unet,
        vae=vae,
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction"),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        prediction_type="depth",
        default_denoising_steps=2,
        default_processing_resolution=64,
    ).save_pretrained(directory)
    return directory


def estimator(checkpoint: Path, **changes: object) -> DepthEstimator:
    fields = {"family": "marigold", "model": str(checkpoint), "batch_size": 3, "licence": "own"}
    return make_model(DepthSpec.model_validate(fields | changes), "cpu")


def test_marigold_equals_the_pipeline_one_image_at_a_time(checkpoint: Path) -> None:
    from diffusers import MarigoldDepthPipeline

    pictures = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
    pipeline: Any = MarigoldDepthPipeline.from_pretrained(checkpoint)
    expected = [
        pipeline(image, generator=torch.Generator().manual_seed(SEED)).prediction[0, :, :, 0]
        for image in pictures
    ]
    found = estimator(checkpoint).estimate(pictures)
    for ours, reference, (width, height) in zip(found, expected, SIZES, strict=True):
        assert ours.depth.shape == (height, width)
        assert ours.unit == "relative"
        np.testing.assert_allclose(ours.depth, reference, atol=1e-5)
    # random weights, and yet the maps are not flat and differ from image to image
    assert all(reference.std() > 1e-2 for reference in expected)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2


def test_any_picture_has_a_depth(checkpoint: Path) -> None:
    sizes = [(1, 1), (640, 5), (1, 1024)]
    found = estimator(checkpoint).estimate([Image.new("L", size, 77) for size in sizes])
    assert [one.depth.shape[::-1] for one in found] == sizes


def test_other_weights_are_another_fingerprint_and_missing_ones_are_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(checkpoint, tmp_path / "damaged")
    file = damaged / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file({name: value for name, value in weights.items() if "conv_out" not in name}, file)
    ours = estimator(damaged)
    assert ours.fingerprint != estimator(checkpoint).fingerprint
    with pytest.raises(ModelUnavailableError, match="conv_out"):
        ours.load()
    with pytest.raises(ModelUnavailableError, match=r"model_index\.json is missing"):
        estimator(tmp_path)
