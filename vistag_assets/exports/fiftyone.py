"""FiftyOne's dataset on disk (FiftyOneDataset): samples with labels and detections, in MongoDB's extended JSON."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from typing import Any

import numpy as np

from resources.object_store import location
from vistag_assets.exports.formats import FiftyoneOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.json_stream import BETWEEN, JsonElements, as_json
from vistag_assets.exports.pictures import picture_name, put_picture
from vistag_assets.exports.records import FolderRecords, ImageRecord, Region, Tag, file_name
from vistag_assets.exports.shapes import decoded

REGIONS = ("masks", "boxes", "none")
_VERSION = "1.0.0"
"""Of FiftyOne, whose form this is: later ones bring it up to theirs when they load it."""
_FIELDS = "fiftyone.core.fields"
_LABELS = "fiftyone.core.labels"
_TEXTS = ("vistag_id", "library", "path", "title", "description", "caption")
_ID_DIGITS = 24


def write(job: Job) -> None:
    options: FiftyoneOptions = job.options  # type: ignore[assignment]
    if options.regions not in REGIONS:
        raise ExportError(f"regions is {options.regions!r}: give one of {', '.join(REGIONS)}")
    job.put("metadata.json", as_json(_dataset(job, options)) + b"\n")
    for folder in job.changed_folders():
        with job.section("samples") as file:
            samples = JsonElements(file)
            for image in job.images_of(folder):
                if options.pictures and not put_picture(job, image, "data/"):
                    continue
                samples.add(_sample(image, _path_of(image, folder, options), options))
    with job.stream("samples.json") as file:
        file.write(b'{"samples": [\n')
        job.join("samples", file, BETWEEN)
        file.write(b"\n]}\n")


def _path_of(image: ImageRecord, folder: FolderRecords, options: FiftyoneOptions) -> str:
    """Of the working copy beside it, else of the original where it lies."""
    if options.pictures:
        return f"data/{picture_name(image)}"
    return str(location(folder.folder.root) / file_name(image.path))


def _sample(image: ImageRecord, path: str, options: FiftyoneOptions) -> dict[str, Any]:
    digest = hashlib.sha256(image.name.encode()).digest()
    texts = (image.id, image.library, image.path, image.title, image.description, image.caption)
    sample: dict[str, Any] = {
        "_id": _id(image.name),
        "filepath": path,
        "tags": [],
        "_media_type": "image",
        "_rand": int.from_bytes(digest[:6], "big") / 2**48,
        **dict(zip(_TEXTS, texts, strict=True)),
    }
    if options.labels:
        labels = [
            _label("Classification", tag, f"{image.name} {tag.label}", tag.probability) for tag in image.tags
        ]
        sample["labels"] = {"_cls": "Classifications", "classifications": labels}
    if options.regions != "none":
        found = [_detection(region, image, masks=options.regions == "masks") for region in image.regions]
        sample["regions"] = {"_cls": "Detections", "detections": found}
    return sample


def _label(kind: str, tag: Tag, name: str, confidence: float) -> dict[str, Any]:
    return {
        "_id": _id(name),
        "_cls": kind,
        "tags": [],
        "label": tag.label,
        "confidence": round(confidence, 6),
        "concept_id": tag.concept.id if tag.concept else None,
        "uri": tag.iri or None,
        "state": tag.state,
    }


def _detection(region: Region, image: ImageRecord, *, masks: bool) -> dict[str, Any]:
    found = _label("Detection", region.tag, f"{image.name} {region.region_id}", region.score)
    found |= {"attributes": {}, "bounding_box": list(region.box)}
    if masks and region.mask:
        found["mask"] = {"$binary": {"base64": _mask(region), "subType": "00"}}
    return found


def _mask(region: Region) -> str:
    """The mask within the box, as FiftyOne keeps arrays: NumPy's file, packed."""
    assert region.mask is not None
    sides = (region.mask.width, region.mask.height)
    left, top = (int(region.box[n] * side) for n, side in enumerate(sides))
    right, bottom = (round((region.box[n] + region.box[n + 2]) * side) for n, side in enumerate(sides))
    file = io.BytesIO()
    np.save(file, decoded(region.mask)[top : max(bottom, top + 1), left : max(right, left + 1)].astype(bool))
    return base64.b64encode(zlib.compress(file.getvalue())).decode("ascii")


def _id(name: str) -> dict[str, str]:
    return {"$oid": hashlib.sha256(name.encode()).hexdigest()[:_ID_DIGITS]}


def _dataset(job: Job, options: FiftyoneOptions) -> dict[str, Any]:
    fields = [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("filepath", "StringField"),
        _field("tags", "ListField", subfield="StringField"),
        _field("metadata", "EmbeddedDocumentField", embedded="fiftyone.core.metadata.ImageMetadata"),
        _field("created_at", "DateTimeField"),
        _field("last_modified_at", "DateTimeField"),
        *(_field(name, "StringField") for name in _TEXTS),
    ]
    if options.labels:
        fields.append(_field("labels", "EmbeddedDocumentField", embedded=f"{_LABELS}.Classifications"))
    if options.regions != "none":
        fields.append(_field("regions", "EmbeddedDocumentField", embedded=f"{_LABELS}.Detections"))
    return {
        "version": _VERSION,
        "media_type": "image",
        "tags": [],
        "info": {
            "made_by": f"vistag, tier {job.workspace.tier.name}",
            "vocabulary": job.workspace.taxonomy.fingerprint,
        },
        "sample_fields": fields,
        "frame_fields": [],
    }


def _field(
    name: str, kind: str, *, subfield: str | None = None, embedded: str | None = None, db_field: str = ""
) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": f"{_FIELDS}.{kind}",
        "subfield": subfield and f"{_FIELDS}.{subfield}",
        "embedded_doc_type": embedded,
        "db_field": db_field or name,
        "fields": [],
    }
