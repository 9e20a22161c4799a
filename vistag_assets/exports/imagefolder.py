"""Hugging Face's imagefolder: pictures and metadata.jsonl, and the same in Parquet with the pictures inside."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vistag_assets.exports.formats import HfOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.pictures import picture_name, picture_of, put_picture
from vistag_assets.exports.records import ImageRecord

LAYOUTS = ("folder", "parquet")
_ROWS = 500
_SHARD_BYTES = 500 * 1024 * 1024
_OBJECTS = pa.struct(
    [
        ("bbox", pa.list_(pa.list_(pa.float32()))),
        ("category", pa.list_(pa.string())),
        ("concept_id", pa.list_(pa.string())),
        ("score", pa.list_(pa.float32())),
    ]
)
_SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *((name, pa.string()) for name in ("id", "library", "path", "title", "description", "caption")),
        *((name, pa.int32()) for name in ("width", "height")),
        *((name, pa.list_(pa.string())) for name in ("tags", "concept_ids", "states")),
        ("probabilities", pa.list_(pa.float32())),
        ("objects", _OBJECTS),
    ],
    metadata={b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()},
)


def write(job: Job) -> None:
    options: HfOptions = job.options  # type: ignore[assignment]
    if options.layout not in LAYOUTS:
        raise ExportError(f"layout is {options.layout!r}: give one of {', '.join(LAYOUTS)}")
    if options.layout == "folder":
        _write_folder(job)
    else:
        _write_parquet(job)


def row_of(image: ImageRecord) -> dict[str, Any]:
    """An image as one flat row. Boxes are xywh in pixels of the picture that comes with it, the working copy."""
    proxy = image.proxy
    assert proxy is not None
    sides = (proxy.width, proxy.height) * 2
    return {
        "id": image.id,
        "library": image.library,
        "path": image.path,
        "title": image.title,
        "description": image.description,
        "caption": image.caption,
        "width": proxy.width,
        "height": proxy.height,
        "tags": [tag.label for tag in image.tags],
        "concept_ids": [tag.concept.id if tag.concept else None for tag in image.tags],
        "states": [tag.state for tag in image.tags],
        "probabilities": [round(tag.probability, 6) for tag in image.tags],
        "objects": {
            "bbox": [[round(v * s, 2) for v, s in zip(r.box, sides, strict=True)] for r in image.regions],
            "category": [region.tag.label for region in image.regions],
            "concept_id": [r.tag.concept.id if r.tag.concept else None for r in image.regions],
            "score": [round(region.score, 6) for region in image.regions],
        },
    }


def _write_folder(job: Job) -> None:
    for folder in job.changed_folders():
        with job.section("metadata") as metadata:
            for image in job.images_of(folder):
                if put_picture(job, image):
                    line = json.dumps({"file_name": picture_name(image), **row_of(image)}, ensure_ascii=False)
                    metadata.write(f"{line}\n".encode())
    with job.stream("metadata.jsonl") as file:
        job.join("metadata", file)


def _write_parquet(job: Job) -> None:
    rows: list[dict[str, Any]] = []
    images, shard = job.images(), 0
    image = next(images, None)
    while image is not None:
        with job.stream(f"data/train-{shard:05}.parquet") as file:
            shard += 1
            written = 0
            with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as table:
                while image is not None and written < _SHARD_BYTES:
                    if (picture := picture_of(job, image)) is not None:
                        written += len(picture)
                        rows.append(
                            {"image": {"bytes": picture, "path": picture_name(image)}, **row_of(image)}
                        )
                    image = next(images, None)
                    if len(rows) >= _ROWS or image is None or written >= _SHARD_BYTES:
                        table.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                        rows.clear()
