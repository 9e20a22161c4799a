"""Pictures beside their annotations: the upright working copies, which every program opens, whatever the original is."""

from __future__ import annotations

from pathlib import PurePosixPath

from resources.images import read_proxy
from vistag_assets.exports.job import Job
from vistag_assets.exports.records import ImageRecord, file_name


def picture_name(image: ImageRecord) -> str:
    """Library and path; with the suffix of the working copy behind it, where the original has another."""
    name = f"{image.library}/{file_name(image.path)}"
    suffix = PurePosixPath(image.proxy.path).suffix if image.proxy else ".jpg"
    return name if PurePosixPath(name).suffix == suffix else f"{name}{suffix}"


def beside(picture: str, suffix: str) -> str:
    """The name of what belongs to a picture."""
    return str(PurePosixPath(picture).with_suffix(suffix))


def put_picture(job: Job, image: ImageRecord, folder: str = "") -> bool:
    """Write the working copy below `folder`, which is empty or ends in a slash; whether there is one, as `picture_of`."""
    picture = picture_of(job, image)
    if picture is None:
        return False
    job.put(f"{folder}{picture_name(image)}", picture)
    return True


def picture_of(job: Job, image: ImageRecord) -> bytes | None:
    """The bytes of the working copy; where there is none the image is told as left out."""
    try:
        if image.proxy is None:
            raise FileNotFoundError
        return read_proxy(job.home, image.proxy.path)
    except FileNotFoundError:
        job.skip(image.name, "it has no working copy: run vistag on its folder again")
        return None
