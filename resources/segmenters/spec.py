"""What a tier says about a segmenter."""

from typing import Literal

from resources.checkpoints import ModelSpec


class SegmenterSpec(ModelSpec):
    """One segmenter: boxes in, masks out. GrabCut has no weights; its `model` is "opencv"."""

    family: Literal["grabcut", "sam2"]
    facets: tuple[str, ...] = ("object",)
    """Facets whose regions get a mask; the others keep their box."""
