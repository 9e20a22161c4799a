"""The outline of each region whose facet wants one, as COCO RLE."""

from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from PIL import Image

from resources.checked import checked
from resources.fingerprint import fingerprint
from resources.lake.checks import sample_rows
from resources.models.segmenters import Segmenter
from resources.models.segmenters.masks import box_fill, encode_rle
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, Proxies, Row, Rows, folder_asset, in_batches_of_images
from vistag_assets.lineage import answered, derived, joined, rows_by_id
from vistag_assets.regions.crops import same_boxes
from vistag_assets.regions.previews import preview_regions

_IMAGES_AT_A_TIME = 16
_SAMPLED_ROWS = 10_000


def _about(folder: Folder) -> dict[str, Any]:
    return {"facets": ", ".join(_masked_facets(folder))}


def _masked_facets(folder: Folder) -> list[str]:
    """Those that the tier's segmenter names, else those that ask for masks in the vocabulary."""
    spec = folder.workspace.tier.segmenter
    if spec and spec.facets is not None:
        return list(spec.facets)
    return [facet.name for facet in folder.workspace.taxonomy.facets.values() if spec and facet.mask]


_shown = preview_regions("region_masks", lambda row: f"{row['area_share']:.0%} of the image, {row['method']}")


@folder_asset(
    "Outlining regions",
    "outlined",
    role="segmenter",
    needs="detector",
    version=1,
    preview=_shown,
    about=_about,
)
def region_masks(folder: Folder, grounded_regions: pa.Table, proxies: Proxies) -> Rows:
    """No rows where the tier has no segmenter."""
    workspace, spec = folder.workspace, folder.workspace.tier.segmenter
    facets = _masked_facets(folder)
    concepts = {concept.id for concept in workspace.taxonomy.concepts if concept.facet in facets}
    asked = {
        id_: [row for row in rows if row["concept_id"] in concepts]
        for id_, rows in rows_by_id(grounded_regions).items()
    }
    wanted = derived(
        joined(answered(grounded_regions), proxies),
        segmenter=workspace.segmenter.fingerprint if spec else "",
        concepts=fingerprint(ids=sorted(concepts)),
        version=folder.version,
    )
    silent = frozenset(id_ for id_ in wanted["id"].to_pylist() if not asked.get(id_))

    def segment(ids: list[str], images: list[Image.Image]) -> list[Row]:
        return [
            row | {"id": id_}
            for id_, image in zip(ids, images, strict=True)
            for row in mask_rows(image, asked[id_], workspace.segmenter)
        ]

    return Rows(
        wanted,
        in_batches_of_images(_IMAGES_AT_A_TIME, folder.opener(proxies), segment),
        lambda: workspace.segmenter.load(),  # not asked for where the tier names none
        without_rows=silent,
    )


def mask_rows(image: Image.Image, regions: list[Row], segmenter: Segmenter) -> list[Row]:
    """The columns of `region_masks` but id and fingerprint, of regions of one image; equal boxes share a mask."""
    boxes = np.array([region["bbox"] for region in regions], dtype=np.float32)
    first = same_boxes(boxes)
    distinct, mask_of = np.unique(first, return_inverse=True)
    drawn = segmenter.segment(image, boxes[distinct])
    counts = [encode_rle(mask) for mask in drawn.masks]
    areas = drawn.masks.sum(axis=(1, 2)).tolist()
    return [
        {
            "region_id": region["region_id"],
            "height": image.height,
            "width": image.width,
            "counts": counts[place],
            "area": areas[place],
            "area_share": areas[place] / (image.height * image.width),
            "box_fill": box_fill(drawn.masks[place], box),
            "score": None if np.isnan(drawn.scores[place]) else float(drawn.scores[place]),
            "method": drawn.methods[place],
        }
        for region, box, place in zip(regions, boxes, mask_of, strict=True)
    ]


@dg.asset_check(asset="region_masks", description="The area of a mask is its count of pixels (of a sample).")
def mask_areas_are_pixel_counts(vistag: VistagResource) -> dg.AssetCheckResult:
    from pycocotools import mask as coco

    rows = sample_rows(vistag.open().lake, "region_masks", "height, width, counts, area", _SAMPLED_ROWS)
    wrong = sum(
        int(coco.area({"size": [height, width], "counts": counts.encode()})) != area
        for height, width, counts, area in rows
    )
    return checked(
        "masks",
        len(rows),
        wrong,
        right="have the area that they say",
        fault="have another area than they say",
    )
