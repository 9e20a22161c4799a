"""Promptable segmenters: an image and boxes to masks.

A new family is one class with the methods of `Segmenter` and its rows in resources/models/registry/segmenter.yaml.
"""

from resources.models.segmenters.masks import Masks
from resources.models.segmenters.spec import Segmenter, SegmenterSpec

__all__ = ["Masks", "Segmenter", "SegmenterSpec"]
