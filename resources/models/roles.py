"""The one table of roles: what a model can be, in the order of the graph.

A new role is its row here, its package with a spec, its table in the registry, and its field in a `Tier` and in a
`Workspace`, whose types are there for whoever uses them. A test holds all of them to this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.models.checkpoints import RoleSpec
from resources.models.depth import DepthSpec
from resources.models.detectors import DetectorSpec
from resources.models.encoders import EncoderSpec
from resources.models.ocr import OcrSpec
from resources.models.segmenters import SegmenterSpec
from resources.models.taggers import TaggerSpec
from resources.models.vlms import RepairSpec, VlmSpec


@dataclass(frozen=True, slots=True)
class Role:
    """What a model can be."""

    title: str
    spec: type[RoleSpec[Any]] | None = None
    """what a tier says of its model, which knows how it is made; None: no tier names one"""


ROLES: Mapping[str, Role] = {
    "encoder": Role("Encoders: images and phrases into one space", EncoderSpec),
    "detector": Role("Detectors: phrases to boxes", DetectorSpec),
    "segmenter": Role("Segmenters: boxes to masks", SegmenterSpec),
    "vlm": Role("Captioners and vision-language models", VlmSpec),
    "tagger": Role("Taggers with a vocabulary of their own", TaggerSpec),
    "sentence": Role("Sentence encoders: the text side of conse"),
    "ocr": Role("Text in pictures", OcrSpec),
    "depth": Role("Depth", DepthSpec),
    "repair": Role("Text-only models that mend the form of a description", RepairSpec),
    "server": Role("Servers of vision-language models"),
}
"""Its name, which is that of its table in the registry and of the field of a tier -> role."""
