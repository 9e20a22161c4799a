"""What a tier says about a detector, and what a detector does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

from pydantic import Field, PositiveInt, model_validator

from resources.models.checkpoints import Loadable, ModelSpec
from resources.models.detectors.detections import Detections

if TYPE_CHECKING:
    from PIL import Image

Task = Literal["<OPEN_VOCABULARY_DETECTION>", "<CAPTION_TO_PHRASE_GROUNDING>"]


class DetectorSpec(ModelSpec["Detector"]):
    """One open-vocabulary detector: phrases in, boxes out."""

    role: ClassVar[str] = "detector"
    chunk_phrases: PositiveInt = 40
    """Phrases of one forward pass."""
    min_score: float = Field(0.2, ge=0, le=1)
    """Boxes below are dropped."""
    nms_iou: float = Field(0.6, gt=0, le=1)
    """Of two boxes of one concept that overlap more, the weaker goes."""
    max_regions: PositiveInt = 100
    """Regions kept for an image, best first."""
    task: Task | None = None
    """Of family florence2 alone: which of its tasks is asked; None: open-vocabulary detection."""

    @model_validator(mode="after")
    def _task_is_for_florence2(self) -> Self:
        if self.task is not None and self.family != "florence2":
            raise ValueError(f"task is for family florence2; {self.family} has no tasks: leave it out")
        return self


class Detector(Loadable, Protocol):
    """An open-vocabulary detector."""

    spec: DetectorSpec

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image; `phrases[i]` is the chunk asked of image i. Batched inside.

        What an image gets does not depend on its batch-mates.
        """
        ...
