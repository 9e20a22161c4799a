"""The package `sam2` of the authors of SAM 2, held against our segmenter on the same random weights at full size.

It wants packages that part from vistag's own (docs/decisions/0007-sam2-package.md): make test-extras.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_zoo import picture
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

from resources.models.checkpoints import make_model
from resources.models.segmenters import Masks, SegmenterSpec

pytestmark = pytest.mark.extras

CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
OF_VIDEO = re.compile("memory_|mask_downsample|obj_ptr|maskmem|no_obj|no_mem_pos")
RENAMED = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"(mlps\.\d|_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d|_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(mlps\.\d|_head)\.layers\.2\.", r"\1.proj_out."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"pe_layer\.positional_encoding_gaussian_matrix$", "shared_embedding.positional_embedding"),
)
"""Names of the package -> names of transformers, one after the other."""
POINTS = "prompt_encoder.point_embeddings.{}.weight"
BOXES = np.array(
    [[0.1, 0.2, 0.3, 0.6], [0.6, 0.2, 0.25, 0.7], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], np.float32
)
SIZES = [(1024, 1024), (97, 61), (300, 31), (640, 480)]


def in_transformers(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the image model under the names that transformers has for them."""
    renamed = {}
    for name, value in weights.items():
        if OF_VIDEO.match(name):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    renamed["prompt_encoder.point_embed.weight"] = torch.cat(
        [renamed.pop(POINTS.format(place)) for place in range(4)]
    )
    renamed["shared_image_embedding.positional_embedding"] = renamed[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    return renamed


@pytest.fixture(scope="module")
def package() -> Any:
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    torch.manual_seed(0)
    model = build_sam2(CONFIG, device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # as they are made, an answer hardly depends on the prompt
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return SAM2ImagePredictor(model)


@pytest.fixture(scope="module")
def checkpoint(package: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sam2")
    model = Sam2Model(Sam2Config())
    model.load_state_dict(in_transformers(package.model.state_dict()))  # raises where a name is left over
    model.save_pretrained(directory)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(directory)
    return directory


def of_package(package: Any, image: Any) -> Masks:
    package.set_image(image)
    masks, scores = [], []
    for x, y, w, h in BOXES.astype(float):
        corners = np.array([x, y, x + w, y + h]) * np.tile(image.size, 2)
        mask, score, _ = package.predict(box=corners, multimask_output=False)
        masks.append(mask[0] > 0)
        scores.append(float(score[0]))
    return Masks(np.stack(masks), np.array(scores, dtype=np.float32), ())


def test_the_native_port_equals_the_package(package: Any, checkpoint: Path) -> None:
    spec = SegmenterSpec(family="sam2", model=str(checkpoint), batch_size=3, licence="own")
    ours = make_model(spec, "cpu")
    for seed, size in enumerate(SIZES):
        image = picture(*size, seed=seed)
        found, reference = ours.segment(image, BOXES), of_package(package, image)
        # transformers rounds to 8 bits after it has scaled an image, the package before
        resized = size != (1024, 1024)
        assert (found.masks != reference.masks).mean() < (5e-3 if resized else 1e-5)
        np.testing.assert_allclose(found.scores, reference.scores, atol=2e-3 if resized else 1e-5)
        assert np.ptp(reference.scores) > 0.03
        assert 0.1 < reference.masks.mean() < 0.9
