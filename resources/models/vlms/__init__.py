"""Vision-language models: images and a prompt to text, with log-probability and entropy of each token; and text-only
models, which correct the form of a description.

A new family is one class with the methods of `Vlm` and its rows in resources/models/registry/vlm.yaml, or of `TextModel`
and repair.yaml.
"""

from resources.models.vlms.answers import ENTROPY_TOP, Answer, Unanswered
from resources.models.vlms.spec import RepairSpec, TextModel, Vlm, VlmSpec

__all__ = ["ENTROPY_TOP", "Answer", "RepairSpec", "TextModel", "Unanswered", "Vlm", "VlmSpec"]
