"""The depth of each image, estimated from it alone."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from PIL import Image

from resources.checked import checked
from resources.lake.checks import sample_rows
from resources.models.depth.maps import StoredDepth, bounded, decode_depth, depth_picture, encode_depth
from resources.previews import Preview, preview, thumbnail
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, Proxies, Rows, folder_asset, in_batches_of_images
from vistag_assets.lineage import derived

_SAMPLED_ROWS = 200
_BATCHES_AT_ONCE = 4
"""So that images of one shape, which alone can share a batch, come together."""


def _maps(folder: Folder) -> Preview:
    """The first images beside their maps, in which near is white."""
    pictures = folder.thumbnails()
    rows = [
        (
            pictures[row["id"]],
            thumbnail(
                depth_picture(StoredDepth(row["depth"], row["depth_min"], row["depth_max"]), row["unit"])
            ),
            f"{row['depth_min']:.3g} to {row['depth_max']:.3g} {row['unit']}",
        )
        for row in folder.rows_of("depth_maps", pictures)
    ]
    return preview(["image", "depth", "range"], rows)


@folder_asset("Estimating depth", "measured in depth", role="depth", version=1, preview=_maps)
def depth_maps(folder: Folder, proxies: Proxies) -> Rows:
    estimator, spec = folder.workspace.depth, folder.workspace.depth.spec

    def estimate(ids: list[str], images: Sequence[Image.Image]) -> list[dict[str, Any]]:
        rows = []
        for id_, found in zip(ids, estimator.estimate(images), strict=True):
            depth = bounded(found.depth, spec.max_side_px)
            stored = encode_depth(depth)
            rows.append(
                {
                    "id": id_,
                    "height": depth.shape[0],
                    "width": depth.shape[1],
                    "depth": stored.png,
                    "depth_min": stored.depth_min,
                    "depth_max": stored.depth_max,
                    "unit": found.unit,
                }
            )
        return rows

    wanted = derived(
        proxies, estimator=estimator.fingerprint, max_side_px=spec.max_side_px, version=folder.version
    )
    size = _BATCHES_AT_ONCE * spec.batch_size
    return Rows(wanted, in_batches_of_images(size, folder.opener(proxies), estimate), estimator.load)


@dg.asset_check(asset="depth_maps", description="A map has the size that its row says (of a sample).")
def depth_maps_have_their_size(vistag: VistagResource) -> dg.AssetCheckResult:
    columns = "height, width, depth, depth_min, depth_max"
    rows = sample_rows(vistag.open().lake, "depth_maps", columns, _SAMPLED_ROWS)
    wrong = sum(
        decode_depth(StoredDepth(depth, low, high)).shape != (height, width) or low > high
        for height, width, depth, low, high in rows
    )
    return checked(
        "depth maps",
        len(rows),
        wrong,
        right="have the size and the range that their rows say",
        fault="have another size or range than their rows say",
    )
