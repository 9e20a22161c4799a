"""SAM 2 through transformers: box prompts, one pass of the image encoder for all boxes of an image."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import (
    Device,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
)
from resources.fingerprint import fingerprint
from resources.segmenters.masks import Masks
from resources.segmenters.spec import SegmenterSpec

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"


class Sam2:
    """A SAM 2 checkpoint. Making one reads small files; the weights are loaded at the first image."""

    def __init__(self, spec: SegmenterSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.directory = checkpoint_directory(spec)
        self.fingerprint = fingerprint(
            code=CODE_VERSION, weights=content_hash(self.directory), dtype=spec.dtype
        )

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self.directory, "Sam2Processor")

    @cached_property
    def _model(self) -> Any:
        # the published checkpoints are those of the video model, which has this one's weights in it
        return load_model(self.directory, "Sam2Model", self.spec.dtype, self.device)

    def load(self) -> None:
        """Load the weights now rather than at the first image."""
        _ = self._model

    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1); `batch_size` boxes at a time."""
        import torch

        if len(boxes_xywh) == 0:
            empty = np.zeros((0, image.height, image.width), dtype=np.bool_)
            return Masks(empty, np.zeros(0, dtype=np.float32), ())
        corners = _corners(boxes_xywh, image)
        inputs = self._processor(
            images=image.convert("RGB"), input_boxes=[corners.tolist()], return_tensors="pt"
        )
        model = self._model
        pixels = inputs["pixel_values"].to(device=self.device, dtype=model.dtype)
        # coordinates stay float32 on the way: bfloat16 would move a box by pixels
        boxes = inputs["input_boxes"].to(self.device)
        masks, scores = [], []
        with torch.inference_mode():
            image_embeddings = model.get_image_embeddings(pixels)
            for start in range(0, len(corners), self.spec.batch_size):
                answer = model(
                    image_embeddings=list(image_embeddings),
                    input_boxes=boxes[:, start : start + self.spec.batch_size],
                    multimask_output=False,  # a box says which thing is meant
                )
                [drawn] = self._processor.post_process_masks(
                    answer.pred_masks.float().cpu(), inputs["original_sizes"]
                )
                masks.append(drawn[:, 0].numpy())
                scores.append(answer.iou_scores[0, :, 0].float().cpu().numpy())
        estimates = np.clip(np.concatenate(scores), 0, 1).astype(np.float32)
        return Masks(np.concatenate(masks), estimates, (self.spec.family,) * len(corners))


def _corners(boxes_xywh: NDArray[np.float32], image: Image.Image) -> NDArray[np.float64]:
    """Left, top, right and bottom in pixels."""
    x, y, w, h = np.asarray(boxes_xywh, dtype=np.float64).T
    corners = np.stack([x, y, x + w, y + h], axis=1)
    return np.asarray(corners * np.tile([image.width, image.height], 2))
