"""Segment Anything and its kin through transformers: box prompts, one pass of the image encoder for all boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.boxes import to_corners
from resources.models.checkpoints import TRANSFORMERS, Device, Layout
from resources.models.pretrained import Pretrained
from resources.models.segmenters.masks import Masks
from resources.models.segmenters.spec import SegmenterSpec

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"

CLASSES = {
    "sam": ("SamProcessor", "SamModel"),
    "sam2": ("Sam2Processor", "Sam2Model"),
    "sam3": ("Sam3TrackerProcessor", "Sam3TrackerModel"),
    "edgetam": ("Sam2Processor", "EdgeTamModel"),
}
"""Family -> processor and model of transformers. They are named, not left to its Auto classes: all but SAM's are
published as video models, which have the weights of the image model in them."""


class Sam(Pretrained):
    """A checkpoint of a family of CLASSES. Making one reads small files; the weights are loaded at the first image."""

    def __init__(
        self, spec: SegmenterSpec, device: Device, layout: Layout = TRANSFORMERS, **parts: Any
    ) -> None:
        super().__init__(spec, device, CODE_VERSION, layout, **parts)
        self.processor_class, self.model_class = CLASSES.get(spec.family, ("", ""))

    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1); `batch_size` boxes at a time."""
        import torch

        if len(boxes_xywh) == 0:
            empty = np.zeros((0, image.height, image.width), dtype=np.bool_)
            return Masks(empty, np.zeros(0, dtype=np.float32), ())
        corners = _corners(boxes_xywh, image)
        inputs = self.processor(
            images=image.convert("RGB"), input_boxes=[corners.tolist()], return_tensors="pt"
        )
        model = self.model
        pixels = inputs["pixel_values"].to(device=self.device, dtype=model.dtype)
        # coordinates keep their precision on the way: bfloat16 would move a box by pixels
        boxes = inputs["input_boxes"].to(self.device)
        # SAM pads an image to a square, the others stretch it
        sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs}
        masks, scores = [], []
        with torch.inference_mode():
            image_embeddings = model.get_image_embeddings(pixels)
            for start in range(0, len(corners), self.spec.batch_size):
                answer = model(
                    image_embeddings=image_embeddings,
                    input_boxes=boxes[:, start : start + self.spec.batch_size],
                    multimask_output=False,  # a box says which thing is meant
                )
                [drawn] = self.processor.post_process_masks(answer.pred_masks.float().cpu(), **sizes)
                masks.append(drawn[:, 0].numpy())
                scores.append(answer.iou_scores[0, :, 0].float().cpu().numpy())
        estimates = np.clip(np.concatenate(scores), 0, 1).astype(np.float32)
        return Masks(np.concatenate(masks), estimates, (self.spec.family,) * len(corners))


def _corners(boxes_xywh: NDArray[np.float32], image: Image.Image) -> NDArray[np.float64]:
    """Left, top, right and bottom in pixels."""
    return to_corners(boxes_xywh.astype(np.float64)) * np.tile(image.size, 2)
