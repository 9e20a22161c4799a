"""Monocular depth estimation: an image to a depth map.

A new family is one class with the methods of `DepthEstimator` and its rows in resources/models/registry/depth.yaml.
"""

from resources.models.depth.maps import DepthMap
from resources.models.depth.spec import DepthEstimator, DepthSpec

__all__ = ["DepthEstimator", "DepthMap", "DepthSpec"]
