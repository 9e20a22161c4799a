"""What each asset on regions does for one folder: their masks, their embeddings, and whether they match.

Each returns None where the folder has no `grounded_regions`: the tier has no detector, or it has not run yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from resources.fingerprint import fingerprint
from resources.images import open_proxy
from resources.lake import UpdateStats, embedding_column, embedding_matrix, update_partition, with_empty_ids
from resources.models.encoders import embed_in_batches, prefetch
from resources.models.segmenters import Segmenter
from resources.models.segmenters.masks import box_fill, decode_rle, encode_rle
from resources.workspace import Workspace
from vistag_assets.lineage import answered, column_by_id, derived, joined
from vistag_assets.progress import Meter
from vistag_assets.regions.crops import same_boxes, square_crop, without_background
from vistag_assets.regions.matching import NO_CONCEPT, REGION_MATCHES, match_crops
from vistag_assets.whole_image.scoring import Scorer

# To be raised when a stage would compute other rows from the same inputs.
MASK_VERSION = 1
REGION_EMBEDDING_VERSION = 1
MATCH_VERSION = 1

REGION_MASKS = pa.schema(
    [
        ("id", pa.string()),
        ("region_id", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("counts", pa.string()),
        ("area", pa.int64()),
        ("area_share", pa.float32()),
        ("box_fill", pa.float32()),
        ("score", pa.float32()),
        ("method", pa.string()),
        ("fingerprint", pa.string()),
    ]
)
_IMAGES_AT_A_TIME = 16

Row = dict[str, Any]


def region_embeddings_schema(dimension: int) -> pa.Schema:
    vector = pa.list_(pa.float16(), dimension)
    return pa.schema(
        [
            ("id", pa.string()),
            ("region_id", pa.string()),
            ("embedding", vector),
            ("masked_embedding", vector),
            ("fingerprint", pa.string()),
        ]
    )


def mask_regions(workspace: Workspace, key: str, meter: Meter) -> UpdateStats | None:
    """Bring `region_masks` of a folder up to date with its regions; no rows where the tier has no segmenter."""
    regions = workspace.lake.read_or_none("grounded_regions", key)
    if regions is None:
        return None
    spec = workspace.tier.segmenter
    segmenter = workspace.segmenter if spec else None
    facets = masked_facets(workspace) if spec else []
    concepts = {concept.id for concept in workspace.taxonomy.concepts if concept.facet in facets}
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    path_of = column_by_id(proxies, "path")
    wanted = derived(
        joined(answered(regions), proxies),
        segmenter=segmenter.fingerprint if segmenter else "",
        concepts=fingerprint(ids=sorted(concepts)),
        version=MASK_VERSION,
    )
    fingerprint_of = column_by_id(wanted, "fingerprint")
    asked = {
        id_: [row for row in rows if row["concept_id"] in concepts]
        for id_, rows in _rows_by_id(regions).items()
    }

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        masked = [id_ for id_ in ids if asked.get(id_)]
        with meter.timed():
            yield _no_rows(REGION_MASKS, set(ids) - set(masked), fingerprint_of)
        if not segmenter or not masked:
            return
        segmenter.load()
        with meter.timed():
            for batch in _batches(masked):
                opened = prefetch(
                    batch, lambda id_: open_proxy(workspace.home.root, path_of[id_]), workers=1, depth=2
                )
                rows = [
                    row | {"id": id_, "fingerprint": fingerprint_of[id_]}
                    for id_, image in opened
                    for row in mask_rows(image, asked[id_], segmenter)
                ]
                yield pa.Table.from_pylist(rows, schema=REGION_MASKS)

    return update_partition(
        workspace.lake, "region_masks", key, wanted, REGION_MASKS, compute, on_progress=meter.folder()
    )


def masked_facets(workspace: Workspace) -> list[str]:
    """The facets whose regions get a mask: those that the tier's segmenter names, else those that the vocabulary does."""
    spec = workspace.tier.segmenter
    if spec and spec.facets is not None:
        return list(spec.facets)
    return [facet.name for facet in workspace.taxonomy.facets.values() if facet.mask]


def mask_rows(image: Image.Image, regions: list[Row], segmenter: Segmenter) -> list[Row]:
    """The columns of `region_masks` but id and fingerprint, for regions of one image; equal boxes share a mask."""
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


def embed_regions(workspace: Workspace, key: str, meter: Meter) -> UpdateStats | None:
    """Bring `region_embeddings` of a folder up to date with its regions and their masks."""
    regions = workspace.lake.read_or_none("grounded_regions", key)
    if regions is None:
        return None
    encoder = workspace.encoder
    schema = region_embeddings_schema(encoder.dimension)
    masks = workspace.lake.read("region_masks", key)
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    path_of = column_by_id(proxies, "path")
    wanted = derived(
        joined(answered(regions), answered(masks), proxies),
        encoder=encoder.fingerprint,
        version=REGION_EMBEDDING_VERSION,
    )
    fingerprint_of = column_by_id(wanted, "fingerprint")
    rows_of, mask_of = _rows_by_id(regions), {row["region_id"]: row for row in masks.to_pylist()}

    def crops(ids: list[str]) -> Iterator[tuple[_Crop, Image.Image]]:
        for id_ in ids:
            image = open_proxy(workspace.home.root, path_of[id_])
            yield from _crops(image, id_, rows_of[id_], mask_of)

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        filled = [id_ for id_ in ids if id_ in rows_of]
        with meter.timed():
            yield _no_rows(schema, set(ids) - set(filled), fingerprint_of)
        if not filled:
            return
        encoder.load()
        with meter.timed():
            for batch in _batches(filled):
                vectors: dict[_Crop, NDArray[np.float32]] = {}
                for embedded, rows in embed_in_batches(encoder, crops(batch), lambda crop: crop[1]):
                    vectors.update(zip((name for name, _ in embedded), rows, strict=True))
                yield _embedding_rows(batch, rows_of, mask_of, vectors, fingerprint_of, schema)

    return update_partition(
        workspace.lake, "region_embeddings", key, wanted, schema, compute, on_progress=meter.folder()
    )


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
        seen = image if counts is None else without_background(image, decode_rle(counts, *image.size[::-1]))
        yield name, square_crop(seen, np.array(regions[first]["bbox"]))


def _embedding_rows(
    ids: list[str],
    rows_of: Mapping[str, list[Row]],
    mask_of: Mapping[str, Row],
    vectors: Mapping[_Crop, NDArray[np.float32]],
    fingerprint_of: Mapping[str, str],
    schema: pa.Schema,
) -> pa.Table:
    regions = [row for id_ in ids for row in rows_of[id_]]
    names = [pair for id_ in ids for pair in _crop_names(id_, rows_of[id_], mask_of)]
    unmasked = np.array([masked is None for _, masked in names])
    whole = embedding_column(np.stack([vectors[box] for box, _ in names]))
    cut_out = embedding_column(np.stack([vectors[masked or box] for box, masked in names]))
    return pa.table(
        [
            [row["id"] for row in regions],
            [row["region_id"] for row in regions],
            whole,
            pa.FixedSizeListArray.from_arrays(
                cut_out.values, cut_out.type.list_size, mask=pa.array(unmasked)
            ),
            [fingerprint_of[row["id"]] for row in regions],
        ],
        schema=schema,
    )


def match_regions(workspace: Workspace, scorer: Scorer, key: str, meter: Meter) -> UpdateStats | None:
    """Bring `region_matches` of a folder up to date; a model is needed for phrases that are no concept only."""
    regions = workspace.lake.read_or_none("grounded_regions", key)
    if regions is None:
        return None
    embeddings = workspace.lake.read("region_embeddings", key)
    wanted = derived(
        joined(answered(regions), answered(embeddings)),
        concepts=workspace.taxonomy.fingerprint,
        encoder=workspace.encoder.fingerprint,
        calibration=repr(scorer.calibration),
        share_with_broader=workspace.tier.share_with_broader,
        version=MATCH_VERSION,
    )
    fingerprint_of = column_by_id(wanted, "fingerprint")
    rows_of = _rows_by_id(regions)
    vector_of = dict(zip(embeddings["region_id"].to_pylist(), best_vectors(embeddings), strict=True))

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        filled = [id_ for id_ in ids if id_ in rows_of]
        with meter.timed():
            yield _no_rows(REGION_MATCHES, set(ids) - set(filled), fingerprint_of)
            row_of = {concept_id: row for row, concept_id in enumerate(scorer.concept_ids)}
            for images in _batches(filled):
                batch = [row for id_ in images for row in rows_of[id_]]
                rows = np.array([row_of.get(row["concept_id"], NO_CONCEPT) for row in batch])
                crops = np.stack([vector_of[row["region_id"]] for row in batch])
                matches = match_crops(crops, rows, _phrase_vectors(workspace, batch, rows, crops), scorer)
                yield pa.table(
                    [
                        [row["id"] for row in batch],
                        [row["region_id"] for row in batch],
                        [row["concept_id"] for row in batch],
                        matches.cosine,
                        matches.logit,
                        matches.probability,
                        matches.rank,
                        matches.verdicts,
                        [fingerprint_of[row["id"]] for row in batch],
                    ],
                    schema=REGION_MATCHES,
                )

    return update_partition(
        workspace.lake, "region_matches", key, wanted, REGION_MATCHES, compute, on_progress=meter.folder()
    )


def best_vectors(embeddings: pa.Table) -> NDArray[np.float32]:
    """The embedding without background of each row of `region_embeddings`, where there is one, else the box's."""
    vectors = embedding_matrix(embeddings["embedding"]).copy()
    has_mask = embeddings["masked_embedding"].is_valid()
    vectors[has_mask.to_numpy()] = embedding_matrix(embeddings["masked_embedding"].filter(has_mask))
    return vectors


def _phrase_vectors(
    workspace: Workspace, regions: list[Row], concept_rows: NDArray[np.intp], like: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The embedding of the phrase of each region that has no concept; zeros for the others."""
    vectors = np.zeros_like(like)
    without = np.flatnonzero(concept_rows == NO_CONCEPT)
    if without.size:
        phrases, place = np.unique([regions[row]["phrase"] for row in without], return_inverse=True)
        vectors[without] = workspace.encoder.embed_texts([str(phrase) for phrase in phrases])[place]
    return vectors


def _rows_by_id(rows: pa.Table) -> dict[str, list[Row]]:
    by_id: dict[str, list[Row]] = defaultdict(list)
    for row in rows.to_pylist():
        by_id[row["id"]].append(row)
    return dict(by_id)


def _no_rows(schema: pa.Schema, ids: set[str], fingerprint_of: Mapping[str, str]) -> pa.Table:
    return with_empty_ids(schema.empty_table(), {id_: fingerprint_of[id_] for id_ in ids})


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _IMAGES_AT_A_TIME):
        yield ids[start : start + _IMAGES_AT_A_TIME]
