"""Captions for training LoRAs: a .txt beside each picture, and kohya's metadata."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from vistag_assets.exports.formats import LoraOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.json_stream import BETWEEN, JsonElements
from vistag_assets.exports.pictures import beside, picture_name, put_picture
from vistag_assets.exports.records import ImageRecord

CONTENTS = ("tags", "caption", "mixed")
ORDERS = ("ranked", "shuffled")
METADATA = "metadata_cap.json"


def write(job: Job) -> None:
    options: LoraOptions = job.options  # type: ignore[assignment]
    for name, value, known in (("content", options.content, CONTENTS), ("order", options.order, ORDERS)):
        if value not in known:
            raise ExportError(f"{name} is {value!r}: give one of {', '.join(known)}")
    for folder in job.changed_folders():
        with job.section("captions") as file:
            captions = JsonElements(file)
            for image in job.images_of(folder):
                name = picture_name(image)
                if options.pictures and not put_picture(job, image):
                    continue
                text, tags = _text(image, options), ", ".join(_tags(image, options))
                job.put(beside(name, ".txt"), f"{text}\n".encode())
                captions.add_named(name, {"caption": _caption(image, options), "tags": tags})
    with job.stream(METADATA) as file:
        file.write(b"{\n")
        job.join("captions", file, BETWEEN)
        file.write(b"\n}\n")


def _text(image: ImageRecord, options: LoraOptions) -> str:
    parts = [options.trigger] if options.trigger else []
    if options.content != "tags":
        parts.append(_caption(image, options))
    if options.content != "caption":
        parts += _tags(image, options)
    return ", ".join(part for part in parts if part)


def _tags(image: ImageRecord, options: LoraOptions) -> list[str]:
    """Labels without the comma that parts them; shuffled by the picture's id, so that it is the same each time."""
    labels = [_one_line(tag.label).replace(",", " ") for tag in image.tags]
    if options.order == "shuffled":
        random.Random(image.id).shuffle(labels)
    return labels[: options.most_tags] if options.most_tags else labels


def _caption(image: ImageRecord, options: LoraOptions) -> str:
    return _one_line(
        without_opener(image.caption, [o for o in options.banned_openers.split("|") if o.strip()])
    )


def without_opener(caption: str, openers: Sequence[str]) -> str:
    """A caption without the first of these words that it begins with, which say nothing of the picture."""
    for opener in sorted(openers, key=len, reverse=True):
        begins = re.match(re.escape(opener.strip()) + r"\b[\s,:]*", caption.lstrip(), re.IGNORECASE)
        if begins:
            return caption.lstrip()[begins.end() :]
    return caption


def _one_line(text: str) -> str:
    return " ".join(text.split())
