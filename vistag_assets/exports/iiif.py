"""IIIF Presentation 3: a Manifest a folder, and for each picture a page of W3C Web Annotations.

As the IIIF Cookbook has it: tags 0021 and 0258 (tagging, with an external resource), outlines 0261 (SvgSelector).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from vistag_assets.exports.formats import IiifOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.json_stream import JsonElements, as_json
from vistag_assets.exports.pictures import picture_name, put_picture
from vistag_assets.exports.records import FolderRecords, ImageRecord, Region, Tag
from vistag_assets.exports.shapes import in_pixels, polygons

CONTEXT = "http://iiif.io/api/presentation/3/context.json"


def write(job: Job) -> None:
    options: IiifOptions = job.options  # type: ignore[assignment]
    base = options.base.rstrip("/")
    for folder in job.changed_folders():
        _write_manifest(job, folder, base)


def _write_manifest(job: Job, folder: FolderRecords, base: str) -> None:
    directory = quote(folder.folder.key)
    id_ = f"{base}/{directory}/manifest.json"
    name = f"{folder.folder.library}/{folder.folder.relative}"
    with job.stream(f"{folder.folder.key}/manifest.json") as file:
        file.write(
            b'{"@context": ' + as_json(CONTEXT) + b', "id": ' + as_json(id_) + b', "type": "Manifest", '
        )
        file.write(b'"label": ' + as_json({"none": [name]}) + b', "items": [\n')
        canvases = JsonElements(file)
        for image in job.images_of(folder):
            if not put_picture(job, image, "images/"):
                continue
            page = f"{folder.folder.key}/annotations/{image.id}.json"
            canvas = _canvas(image, base, f"{base}/{directory}/canvas/{image.id}", f"{base}/{quote(page)}")
            job.put(page, as_json(_page(image, canvas)) + b"\n")
            canvases.add(canvas)
        file.write(b"\n]}\n")


def _canvas(image: ImageRecord, base: str, id_: str, page: str) -> dict[str, Any]:
    """In pixels of the upright original; what is painted on it is the working copy."""
    assert image.proxy is not None
    name = picture_name(image)
    body = {
        "id": f"{base}/images/{quote(name)}",
        "type": "Image",
        "format": "image/png" if name.endswith(".png") else "image/jpeg",
        "width": image.proxy.width,
        "height": image.proxy.height,
    }
    painting = {
        "id": f"{id_}/painting",
        "type": "Annotation",
        "motivation": "painting",
        "body": body,
        "target": id_,
    }
    return {
        "id": id_,
        "type": "Canvas",
        "label": {"none": [image.title or image.path]},
        **({"summary": {"none": [text]}} if (text := image.description or image.caption) else {}),
        "width": image.width,
        "height": image.height,
        "items": [{"id": f"{id_}/page", "type": "AnnotationPage", "items": [painting]}],
        "annotations": [{"id": page, "type": "AnnotationPage"}],
    }


def _page(image: ImageRecord, canvas: dict[str, Any]) -> dict[str, Any]:
    """A tag with regions is on them, another on the whole picture."""
    id_ = canvas["annotations"][0]["id"]
    on_regions = [(region.tag, _target(region, image, canvas["id"])) for region in image.regions]
    placed = {tag.label for tag, _ in on_regions}
    found = [*on_regions, *((tag, canvas["id"]) for tag in image.tags if tag.label not in placed)]
    items = [
        {
            "id": f"{id_}#{number}",
            "type": "Annotation",
            "motivation": "tagging",
            "body": _bodies(tag),
            "target": target,
        }
        for number, (tag, target) in enumerate(found, start=1)
    ]
    return {"@context": CONTEXT, "id": id_, "type": "AnnotationPage", "items": items}


def _bodies(tag: Tag) -> list[dict[str, Any]]:
    """The concept, where it has an address, and its label: IIIF's schema takes no other IRI than an address."""
    text = {"type": "TextualBody", "value": tag.label, "format": "text/plain"}
    if tag.concept is None:
        return [text]
    labelled = {**text, "language": tag.concept.language or "en"}
    if not tag.iri.startswith(("http://", "https://")):
        return [labelled]
    return [{"type": "SpecificResource", "source": tag.iri}, labelled]


def _target(region: Region, image: ImageRecord, canvas: str) -> str | dict[str, Any]:
    pieces = polygons(region.mask) if region.mask else []
    if not pieces:
        return f"{canvas}#xywh={','.join(f'{round(v)}' for v in in_pixels(region.box, image))}"
    path = "".join(
        "M" + "L".join(f"{x * image.width:.1f} {y * image.height:.1f}" for x, y in piece) + "Z"
        for piece in pieces
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><path d='{path}'/></svg>"
    return {"type": "SpecificResource", "source": canvas, "selector": {"type": "SvgSelector", "value": svg}}
