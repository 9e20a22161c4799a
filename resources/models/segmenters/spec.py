"""What a tier says about a segmenter."""

from typing import ClassVar

from resources.models.checkpoints import ModelSpec
from resources.models.registry import Role


class SegmenterSpec(ModelSpec):
    """One segmenter: boxes in, masks out. GrabCut has no weights; its `model` is "opencv"."""

    role: ClassVar[Role] = "segmenter"
    facets: tuple[str, ...] | None = None
    """Facets whose regions get a mask, in place of those that ask for one in the vocabulary; the others keep their box."""
