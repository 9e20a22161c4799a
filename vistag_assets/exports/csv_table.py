"""CSV for collection systems and spreadsheets: a line an image, and a line a tag."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vistag_assets.exports.formats import CsvOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.records import ImageRecord, Tag, file_name

IMAGES = (
    "file",
    "library",
    "id",
    "width",
    "height",
    "taken_at",
    "title",
    "description",
    "caption",
    "keywords",
    "uris",
)
TAGS = ("file", "library", "id", "concept_id", "label", "uri", "hierarchy", "probability", "state", "regions")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def write(job: Job) -> None:
    options: CsvOptions = job.options  # type: ignore[assignment]

    def line(values: Sequence[object]) -> bytes:
        cells = [text if options.formulas else harmless(text) for text in map(str, values)]
        row = io.StringIO()
        csv.writer(row).writerow(cells)
        return row.getvalue().encode()

    for folder in job.changed_folders():
        with job.section("images") as images, job.section("tags") as tags:
            for image in job.images_of(folder):
                images.write(line(_image(image, options.separator)))
                for tag in image.tags:
                    tags.write(line(_tag(image, tag)))
    for name, heading in (("images", IMAGES), ("tags", TAGS)):
        with job.stream(f"{name}.csv") as file:
            file.write("\ufeff".encode() + line(heading))  # spreadsheets take a file for UTF-8 by this mark
            job.join(name, file)


def _image(image: ImageRecord, separator: str) -> list[object]:
    return [
        *_head(image),
        image.width,
        image.height,
        image.taken_at.isoformat() if image.taken_at else "",
        image.title,
        image.description,
        image.caption,
        separator.join(tag.label.replace(separator, " ") for tag in image.tags),
        separator.join(tag.iri for tag in image.tags if tag.iri),
    ]


def _tag(image: ImageRecord, tag: Tag) -> list[object]:
    return [
        *_head(image),
        tag.concept.id if tag.concept else "",
        tag.label,
        tag.iri,
        " > ".join(tag.paths[0]),
        f"{tag.probability:.4f}",
        tag.state,
        sum(region.tag.label == tag.label for region in image.regions),
    ]


def _head(image: ImageRecord) -> tuple[str, str, str]:
    return file_name(image.path), image.library, image.id


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
