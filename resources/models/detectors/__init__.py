"""Open-vocabulary detectors: an image and phrases to boxes.

A new family is one class with the methods of `Detector` and its rows in resources/models/registry/detector.yaml.
"""

from resources.models.detectors.detections import Detections
from resources.models.detectors.spec import Detector, DetectorSpec

__all__ = ["Detections", "Detector", "DetectorSpec"]
