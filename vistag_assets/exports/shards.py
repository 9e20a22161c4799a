"""WebDataset: tar files of pictures and what is known of them, a shard at a time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import PurePosixPath

from vistag_assets.exports.formats import WebdatasetOptions
from vistag_assets.exports.imagefolder import row_of
from vistag_assets.exports.job import Job
from vistag_assets.exports.pictures import picture_name, picture_of

_KEY_DIGITS = 24


def write(job: Job) -> None:
    options: WebdatasetOptions = job.options  # type: ignore[assignment]
    most, images, shard = options.shard_mb * 1_000_000, job.images(), 0
    image = next(images, None)
    while image is not None:
        with job.stream(f"shard-{shard:06}.tar") as file:
            shard += 1
            with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                written = 0
                while image is not None and written < most:
                    if (picture := picture_of(job, image)) is not None:
                        # a dot in a key would end it, and paths are of any length and script: a digest stands for them
                        key = hashlib.sha256(image.name.encode()).hexdigest()[:_KEY_DIGITS]
                        suffix = PurePosixPath(picture_name(image)).suffix.lstrip(".")
                        told = json.dumps(row_of(image), ensure_ascii=False).encode()
                        for name, content in (
                            (suffix, picture),
                            ("json", told),
                            ("txt", image.caption.encode()),
                        ):
                            _add(tar, f"{key}.{name}", content)
                            written += len(content)
                    image = next(images, None)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member without time and owner: the same rows make the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
