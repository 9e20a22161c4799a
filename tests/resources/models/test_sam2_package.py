"""The package `sam2` of the authors of SAM 2, held against our segmenter on the same random weights at full size.

It wants packages that part from vistag's own (docs/decisions/0007-sam2-package.md): make test-extras.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_zoo import picture
from safetensors.torch import load_file, save_file
from tiny_segmenters import save_tiny_sam2
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.convert import convert
from resources.models.segmenters import Masks, SegmenterSpec
from resources.models.segmenters.sam2_package import (
    OF_VIDEO,
    Sam2Package,
    in_transformers_name,
)
from resources.models.segmenters.sam2_package import (
    in_transformers as by_package_name,
)

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parents[3]
CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
POINTS = "prompt_encoder.point_embeddings.{}.weight"
BOXES = np.array(
    [[0.1, 0.2, 0.3, 0.6], [0.6, 0.2, 0.25, 0.7], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], np.float32
)
SIZES = [(1024, 1024), (97, 61), (300, 31), (640, 480)]


def in_transformers(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the image model under the names that transformers has for them."""
    made = {in_transformers_name(name): value for name, value in weights.items() if not OF_VIDEO.match(name)}
    made["prompt_encoder.point_embed.weight"] = torch.cat(
        [made.pop(POINTS.format(place)) for place in range(4)]
    )
    made["prompt_encoder.shared_embedding.positional_embedding"] = made[
        "shared_image_embedding.positional_embedding"
    ]
    return made


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


def made(checkpoint: Path, **changes: Any) -> Any:
    fields = {"family": "sam2", "model": str(checkpoint), "batch_size": 3, "licence": "own"}
    return make_model(SegmenterSpec.model_validate(fields | changes), "cpu")


def test_the_configuration_without_hydra_makes_the_package_s_own_model(
    package: Any, checkpoint: Path
) -> None:
    """At full size, on what needs no scaling, beside what `build_sam2` makes of its own configuration."""
    image = picture(1024, 1024, seed=0)
    found, reference = made(checkpoint, backend="sam2").segment(image, BOXES), of_package(package, image)
    assert (found.masks != reference.masks).mean() < 1e-5
    np.testing.assert_allclose(found.scores, reference.scores, atol=1e-5)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam2(tmp_path_factory.mktemp("tiny"), as_in_the_package=True)


def assert_both_draw_the_same(checkpoint: Path, other: Path | None = None) -> None:
    port, package = made(checkpoint), made(other or checkpoint, backend="sam2")
    assert isinstance(package, Sam2Package)
    assert port.fingerprint != package.fingerprint
    seen = []
    for seed, size in enumerate([(128, 128), (97, 61), (300, 31), (33, 501), (640, 480)]):
        image = picture(*size, seed=seed)
        ours, theirs = port.segment(image, BOXES), package.segment(image, BOXES)
        assert theirs.methods == ours.methods == ("sam2",) * len(BOXES)
        assert (ours.masks != theirs.masks).mean() < 1e-4
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        seen.append(theirs.scores)
        assert 0.01 < theirs.masks.mean() < 0.99
    assert np.ptp(seen, axis=1).min() > 0.01
    one = package.segment(image, BOXES[:1])
    np.testing.assert_allclose(one.scores, theirs.scores[:1], atol=1e-5)


def test_the_backend_equals_the_native_port(tiny: Path) -> None:
    """On a video checkpoint under the names of transformers, as the hub has it."""
    assert_both_draw_the_same(tiny)


def test_the_backend_reads_the_names_of_the_package(tiny: Path, tmp_path: Path) -> None:
    """As its authors publish them: one pickle, converted, beside the configuration and the processor of the hub."""
    model = made(tiny, backend="sam2").model._model
    weights = load_file(tiny / "model.safetensors")
    named = {name: by_package_name(name, weights) for name in model.state_dict() if not OF_VIDEO.match(name)}
    torch.save({"model": named}, tmp_path / "sam2.1_hiera_tiny.pt")
    for path in tiny.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, tmp_path)
    convert(tmp_path / "sam2.1_hiera_tiny.pt", tmp_path / "model.safetensors")
    assert_both_draw_the_same(tiny, tmp_path)


def test_no_hydra_is_needed(tiny: Path) -> None:
    """In a process that has none: its import would fail beside vistag's own omegaconf."""
    code = (
        "import sys; sys.modules['hydra'] = None\n"
        "from resources.models.checkpoints import make_model\n"
        "from resources.models.segmenters import SegmenterSpec\n"
        f"spec = SegmenterSpec(family='sam2', backend='sam2', model={str(tiny)!r}, licence='own')\n"
        "make_model(spec, 'cpu').load()\n"
        "assert 'omegaconf' not in sys.modules and 'sam2' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_that_lacks_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny, tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "conv_s0" not in name},
        damaged / "model.safetensors",
    )
    with pytest.raises(
        ModelUnavailableError, match=r"damaged lacks weights of its model: sam_mask_decoder\.conv_s0"
    ):
        made(damaged, backend="sam2").load()


def test_sizes_that_the_package_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailableError, match=r"has mlp_dim, .*mask_input_channels in its code.*leave `backend` out"
    ):
        made(save_tiny_sam2(tmp_path), backend="sam2").load()
