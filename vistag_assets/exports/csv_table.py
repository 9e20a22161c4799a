"""CSV for collection systems and spreadsheets: a line an image, and a line a tag."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vistag_assets.exports.formats import CsvOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.records import file_name

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

    with job.stream("images.csv") as images, job.stream("tags.csv") as tags:
        images.write("\ufeff".encode() + line(IMAGES))  # spreadsheets take a file for UTF-8 by this mark
        tags.write("\ufeff".encode() + line(TAGS))
        for image in job.images():
            head = (file_name(image.path), image.library, image.id)
            labels = [tag.label.replace(options.separator, " ") for tag in image.tags]
            images.write(
                line(
                    [
                        *head,
                        image.width,
                        image.height,
                        image.taken_at.isoformat() if image.taken_at else "",
                        image.title,
                        image.description,
                        image.caption,
                        options.separator.join(labels),
                        options.separator.join(tag.iri for tag in image.tags if tag.iri),
                    ]
                )
            )
            for tag in image.tags:
                tags.write(
                    line(
                        [
                            *head,
                            tag.concept.id if tag.concept else "",
                            tag.label,
                            tag.iri,
                            " > ".join(tag.paths[0]),
                            f"{tag.probability:.4f}",
                            tag.state,
                            sum(region.tag.label == tag.label for region in image.regions),
                        ]
                    )
                )


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
