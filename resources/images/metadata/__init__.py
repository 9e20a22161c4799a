"""What people and their programs wrote about a picture: in the file as Exif, IIM and XMP, and beside it as a sidecar."""

from resources.images.metadata.blocks import read_embedded
from resources.images.metadata.described import Described, described_from
from resources.images.metadata.reconciling import read_sidecar, together

__all__ = ["Described", "described_from", "read_embedded", "read_sidecar", "together"]
