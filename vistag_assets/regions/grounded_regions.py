"""Boxes of the candidates that the detector finds, with its scores and what it was asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
from PIL import Image

from resources.checked import checked
from resources.fingerprint import fingerprint
from resources.models.detectors import Detector
from resources.previews import Preview, preview, thumbnail
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, Proxies, Rows, folder_asset, in_batches_of_images
from vistag_assets.lineage import answered, by_id, column_by_id
from vistag_assets.regions.grounding import Asked, asked_of, in_chunks, to_regions
from vistag_assets.regions.overlay import draw_regions, marked_regions
from vistag_assets.regions.regions_json import update_regions_json

PREVIEWED_REGIONS = 5
PREVIEW_PX = 240


def _boxes(folder: Folder) -> Preview:
    """The best regions of the first images, drawn and told."""
    ids, open_image = folder.first_ids(), folder.opener()
    found: dict[str, list[str]] = {id_: [] for id_ in ids}
    rows = folder.rows_of("grounded_regions", ids, ["id", "concept_id", "phrase", "bbox", "score"])
    for row in rows:
        found[row["id"]].append(f"{row['phrase']} {row['score']:.2f}")
    marked = marked_regions(rows, folder.workspace.taxonomy)
    lines = [
        (
            thumbnail(draw_regions(open_image(id_), marked.get(id_, [])[:PREVIEWED_REGIONS]), PREVIEW_PX),
            ", ".join(found[id_][:PREVIEWED_REGIONS]),
        )
        for id_ in ids
    ]
    return preview(["image", f"best {PREVIEWED_REGIONS} regions"], lines)


def _about(folder: Folder) -> dict[str, Any]:
    spec = folder.workspace.detector.spec
    return {"chunk_phrases": spec.chunk_phrases, "min_score": spec.min_score, "nms_iou": spec.nms_iou}


def _write_json(folder: Folder) -> None:
    update_regions_json(folder.workspace, folder.key)


@folder_asset(
    "Grounding regions",
    "grounded",
    role="detector",
    version=1,
    preview=_boxes,
    about=_about,
    after=_write_json,
)
def grounded_regions(folder: Folder, candidates: pa.Table, proxies: Proxies) -> Rows:
    """An image is sent to the detector again only if other phrases are asked of it, whatever else has changed in
    its candidates.
    """
    detector, spec = folder.workspace.detector, folder.workspace.detector.spec
    proxy_of = column_by_id(proxies, "fingerprint")
    asked = asked_of(candidates.select(["id", "phrase", "concept_id"]).to_pylist())
    wanted = {
        id_: fingerprint(
            proxy=proxy_of[id_],
            asked=[[phrase, *concepts] for phrase, concepts in asked.get(id_, {}).items()],
            detector=detector.fingerprint,
            spec=[spec.chunk_phrases, spec.nms_iou, spec.max_regions],
            version=folder.version,
        )
        for id_ in answered(candidates)["id"].to_pylist()
        if id_ in proxy_of
    }
    ground = in_batches_of_images(
        spec.batch_size,
        folder.opener(proxies),
        lambda ids, images: _ground(detector, ids, images, asked),
    )
    return Rows(by_id(wanted), ground, detector.load)


def _ground(
    detector: Detector, ids: Sequence[str], images: Sequence[Image.Image], asked: Mapping[str, Asked]
) -> list[dict[str, Any]]:
    """Rows of `grounded_regions` of some images."""
    spec = detector.spec
    chunks = {id_: in_chunks(asked.get(id_, {}), spec.chunk_phrases) for id_ in ids}
    found = iter(
        detector.detect(
            [image for id_, image in zip(ids, images, strict=True) for _ in chunks[id_]],
            [chunk for id_ in ids for chunk in chunks[id_]],
        )
    )
    return [
        region | {"id": id_}
        for id_ in ids
        for region in to_regions(
            id_,
            asked.get(id_, {}),
            chunks[id_],
            [next(found) for _ in chunks[id_]],
            spec.nms_iou,
            spec.max_regions,
        )
    ]


@dg.asset_check(
    asset="grounded_regions",
    description="Every region is of a phrase and a concept that was asked of its image.",
)
def regions_were_asked_for(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    regions = strangers = 0
    if lake.folders("grounded_regions"):
        with lake.connect(skip_damaged=True) as sql:
            [(regions, strangers)] = sql.execute(
                "select count(*), count(*) filter (not exists ("
                "  from candidates c where c.folder = r.folder and c.id = r.id and c.phrase = r.phrase"
                "  and c.concept_id is not distinct from r.concept_id)) from grounded_regions r"
            ).fetchall()
    return checked(
        "regions",
        regions,
        strangers,
        right="are of a phrase that was asked of their image",
        fault="are of a phrase or a concept that was not asked of their image; run its folder again",
    )
