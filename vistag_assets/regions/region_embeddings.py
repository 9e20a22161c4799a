"""One unit vector a region, and one of the region without its background where it has a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from resources.checked import check_unit_length
from resources.lake import embedding_column, embedding_matrix
from resources.models.encoders import embed_in_batches
from resources.models.segmenters.masks import decode_rle
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, Proxies, Row, Rows, folder_asset, in_batches
from vistag_assets.lineage import answered, derived, joined, rows_by_id
from vistag_assets.regions.crops import same_boxes, square_crop
from vistag_assets.regions.previews import preview_regions

_IMAGES_AT_A_TIME = 16


_shown = preview_regions("region_embeddings", lambda row: "with mask" if row["masked_embedding"] else "")


@folder_asset("Embedding regions", "embedded by region", role="encoder", version=1, preview=_shown)
def region_embeddings(
    folder: Folder, grounded_regions: pa.Table, region_masks: pa.Table, proxies: Proxies
) -> Rows:
    encoder, open_image = folder.workspace.encoder, folder.opener(proxies)
    rows_of = rows_by_id(grounded_regions)
    mask_of = {row["region_id"]: row for row in region_masks.to_pylist()}
    wanted = derived(
        joined(answered(grounded_regions), answered(region_masks), proxies),
        encoder=encoder.fingerprint,
        version=folder.version,
    )

    def crops(ids: list[str]) -> Iterator[tuple[_Crop, Image.Image]]:
        for id_ in ids:
            yield from _crops(open_image(id_), id_, rows_of[id_], mask_of)

    def embed(ids: list[str]) -> pa.Table:
        vectors: dict[_Crop, NDArray[np.float32]] = {}
        for embedded, rows in embed_in_batches(encoder, crops(ids), lambda crop: crop[1]):
            vectors.update(zip((name for name, _ in embedded), rows, strict=True))
        return _embedding_rows(ids, rows_of, mask_of, vectors)

    return Rows(
        wanted,
        in_batches(_IMAGES_AT_A_TIME, embed),
        encoder.load,
        without_rows=frozenset(wanted["id"].to_pylist()) - rows_of.keys(),
        dimension=encoder.dimension,
    )


def best_vectors(embeddings: pa.Table) -> NDArray[np.float32]:
    """The embedding without background of each row of `region_embeddings`, where there is one, else the box's."""
    vectors = embedding_matrix(embeddings["embedding"]).copy()
    has_mask = embeddings["masked_embedding"].is_valid()
    vectors[has_mask.to_numpy()] = embedding_matrix(embeddings["masked_embedding"].filter(has_mask))
    return vectors


_Crop = tuple[str, int, str | None]
"""An image, the place of a box among its regions, and the RLE of the mask that hides the background."""


def _crop_names(id_: str, regions: list[Row], mask_of: Mapping[str, Row]) -> list[tuple[_Crop, _Crop | None]]:
    """The crop of each region and its crop without background; regions with the same box have the same crop."""
    names: list[tuple[_Crop, _Crop | None]] = []
    boxes = np.array([region["bbox"] for region in regions])
    for region, first in zip(regions, same_boxes(boxes).tolist(), strict=True):
        mask = mask_of.get(region["region_id"])
        names.append(((id_, first, None), (id_, first, mask["counts"]) if mask else None))
    return names


def _crops(
    image: Image.Image, id_: str, regions: list[Row], mask_of: Mapping[str, Row]
) -> Iterator[tuple[_Crop, Image.Image]]:
    """Every distinct crop of an image, once."""
    wanted = {name: None for pair in _crop_names(id_, regions, mask_of) for name in pair if name}
    for name in wanted:
        _, first, counts = name
        mask = None if counts is None else decode_rle(counts, *image.size[::-1])
        yield name, square_crop(image, np.array(regions[first]["bbox"]), mask)


def _embedding_rows(
    ids: list[str],
    rows_of: Mapping[str, list[Row]],
    mask_of: Mapping[str, Row],
    vectors: Mapping[_Crop, NDArray[np.float32]],
) -> pa.Table:
    regions = [row for id_ in ids for row in rows_of[id_]]
    names = [pair for id_ in ids for pair in _crop_names(id_, rows_of[id_], mask_of)]
    unmasked = np.array([masked is None for _, masked in names])
    whole = embedding_column(np.stack([vectors[box] for box, _ in names]))
    cut_out = embedding_column(np.stack([vectors[masked or box] for box, masked in names]))
    masked = pa.FixedSizeListArray.from_arrays(
        cut_out.values, cut_out.type.list_size, mask=pa.array(unmasked)
    )
    return pa.table(
        {
            "id": [row["id"] for row in regions],
            "region_id": [row["region_id"] for row in regions],
            "embedding": whole,
            "masked_embedding": masked,
        }
    )


@dg.asset_check(asset="region_embeddings", description="Embeddings have unit length (of a sample).")
def region_embeddings_are_unit_length(vistag: VistagResource) -> dg.AssetCheckResult:
    return check_unit_length(vistag.open().lake, "region_embeddings", "embedding", "masked_embedding")
