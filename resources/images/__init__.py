"""From a folder of image files to rows and to bounded working copies (proxies), without Dagster or torch."""

from resources.images.decode import decode_to_proxy
from resources.images.hashes import perceptual_hash
from resources.images.ingest import Ingested, ingest_folder
from resources.images.isolated import DecoderUnavailable, decode_isolated, sandboxed_by
from resources.images.picture import Decoded, Limits
from resources.images.proxies import open_proxy, prune_proxies, read_proxy, shared_proxies
from resources.images.reading import ingest_fingerprint
from resources.images.rejects import Reject
from resources.images.scan import (
    Found,
    Listing,
    Rejected,
    Survey,
    find_folders,
    folder_order,
    scan_folder,
    survey_library,
    walk_folders,
)

__all__ = [
    "Decoded",
    "DecoderUnavailable",
    "Found",
    "Ingested",
    "Limits",
    "Listing",
    "Reject",
    "Rejected",
    "Survey",
    "decode_isolated",
    "decode_to_proxy",
    "find_folders",
    "folder_order",
    "ingest_fingerprint",
    "ingest_folder",
    "open_proxy",
    "perceptual_hash",
    "prune_proxies",
    "read_proxy",
    "sandboxed_by",
    "scan_folder",
    "shared_proxies",
    "survey_library",
    "walk_folders",
]
