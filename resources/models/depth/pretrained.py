"""Depth Anything V2 and ZoeDepth through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resources.models.batching import alike
from resources.models.checkpoints import Device, read_config
from resources.models.depth.maps import DepthMap, Unit, resized, thickened
from resources.models.depth.spec import DepthSpec
from resources.models.pretrained import Pretrained

if TYPE_CHECKING:
    import torch

CODE_VERSION = "1"


class PretrainedDepth(Pretrained):
    """A checkpoint of a depth model. Making one reads small files; the weights are loaded at the first image."""

    processor_class = "AutoImageProcessor"
    model_class = "AutoModelForDepthEstimation"

    def __init__(self, spec: DepthSpec, device: Device) -> None:
        super().__init__(spec, device, CODE_VERSION)
        config = read_config(self.directory)
        metric = spec.family == "zoedepth" or config.get("depth_estimation_type") == "metric"
        self.unit: Unit = "metres" if metric else "relative_inverse"
        # Of its heads for indoors and outdoors ZoeDepth takes one for the whole batch, by a vote of the images in it.
        self._votes = len(config.get("bin_configurations") or ()) > 1

    def estimate(self, images: Sequence[Image.Image]) -> list[DepthMap]:
        """The depth of each image, [height, width] of the image; `batch_size` images of one shape at a time."""
        import torch

        seen = [thickened(image.convert("RGB")) for image in images]
        pixels = [self.processor(images=image, return_tensors="pt")["pixel_values"][0] for image in seen]
        found: dict[int, NDArray[np.float32]] = {}
        size = 1 if self._votes else self.spec.batch_size
        for places in alike([tuple(one.shape) for one in pixels], size):
            batch = torch.stack([pixels[place] for place in places])
            sizes = [(seen[place].height, seen[place].width) for place in places]
            found |= zip(places, self._forward(batch, sizes), strict=True)
        return [DepthMap(resized(found[place], image.size), self.unit) for place, image in enumerate(images)]

    def _forward(self, pixels: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.float32]]:
        """Depth [height, width] by `sizes` of images that are [n, 3, h, w] to the model."""
        import torch

        model = self.model
        with torch.inference_mode():
            answer = model(pixel_values=pixels.to(device=self.device, dtype=model.dtype))
            answer.predicted_depth = answer.predicted_depth.float()
            maps = self.processor.post_process_depth_estimation(answer, sizes)
        return [one["predicted_depth"].cpu().numpy() for one in maps]
