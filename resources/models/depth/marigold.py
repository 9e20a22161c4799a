"""Marigold through diffusers (the extra `marigold`): depth drawn from noise by a diffusion model, slow and fine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resources.models.batching import alike
from resources.models.checkpoints import (
    Device,
    Layout,
    ModelUnavailableError,
    load_model,
    read_config,
    refuse_missing,
)
from resources.models.depth.maps import DepthMap, Unit, resized, thickened
from resources.models.depth.spec import DepthSpec
from resources.models.pretrained import Pretrained

CODE_VERSION = "1"
DIFFUSERS = Layout(
    "model_index.json",
    (
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ),
    ("scheduler/*.json", "tokenizer/*", "text_encoder/config.json", "unet/config.json", "vae/config.json"),
)
UNITS: dict[str, Unit] = {"depth": "relative", "disparity": "relative_inverse"}
"""By the `prediction_type` of a checkpoint."""
SEED = 0


class MarigoldDepth(Pretrained):
    """A Marigold checkpoint. Every image starts from the same noise, so its map is a function of its pixels.

    Making one raises ModelUnavailableError where diffusers is missing; the weights are loaded at the first image.
    """

    def __init__(self, spec: DepthSpec, device: Device) -> None:
        if find_spec("diffusers") is None:
            raise ModelUnavailableError('Marigold needs diffusers: pip install "vistag[marigold]"')
        super().__init__(spec, device, CODE_VERSION, DIFFUSERS, seed=SEED)
        self.unit = UNITS[read_config(self.directory, DIFFUSERS)["prediction_type"]]

    @cached_property
    def processor(self) -> None:
        """The pipeline prepares images itself."""

    @cached_property
    def model(self) -> Any:
        """The pipeline."""
        import diffusers
        import torch

        diffusers.utils.logging.disable_progress_bar()
        local: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
        text_encoder = load_model(
            self.directory / "text_encoder", "CLIPTextModel", self.spec.dtype, self.device
        )
        parts = {"text_encoder": text_encoder}
        for name, architecture in (("unet", "UNet2DConditionModel"), ("vae", "AutoencoderKL")):
            parts[name], loading = getattr(diffusers, architecture).from_pretrained(
                self.directory / name,
                torch_dtype=getattr(torch, self.spec.dtype),
                output_loading_info=True,
                **local,
            )
            refuse_missing(self.directory / name, sorted(loading["missing_keys"]))
        pipeline = diffusers.MarigoldDepthPipeline.from_pretrained(self.directory, **parts, **local)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def estimate(self, images: Sequence[Image.Image]) -> list[DepthMap]:
        """The depth of each image, [height, width] of the image; `batch_size` images of one size at a time."""
        seen = [thickened(image.convert("RGB")) for image in images]
        found: dict[int, NDArray[np.float32]] = {}
        for places in alike([image.size for image in seen], self.spec.batch_size):
            found |= zip(places, self._draw([seen[place] for place in places]), strict=True)
        return [DepthMap(resized(found[place], image.size), self.unit) for place, image in enumerate(images)]

    def _draw(self, images: list[Image.Image]) -> NDArray[np.float32]:
        """[images, height, width] of images of one size."""
        import torch

        answer = self.model(
            images,
            batch_size=len(images),
            generator=[torch.Generator(self.device).manual_seed(SEED) for _ in images],
        )
        return np.asarray(answer.prediction[..., 0], dtype=np.float32)
