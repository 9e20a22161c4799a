"""Working copies as JPEG files for pages: whole, smaller, or a part."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from resources.decisions.event import Box
from resources.images import open_proxy
from resources.workspace import Workspace
from vistag_assets.app.catalogue import stored_rows
from vistag_assets.regions.crops import square_crop

_QUALITY = 85


def picture_file(workspace: Workspace, folder: str, image_id: str, side: int | None) -> bytes | None:
    """None where the home has no such picture. `side`: the longest one, in pixels."""
    image = _opened(workspace, folder, image_id)
    return None if image is None else _small(image, side or max(image.size))


def crop_file(workspace: Workspace, folder: str, image_id: str, box: Box, side: int) -> bytes | None:
    """The square around a relative box, as the encoder sees it."""
    image = _opened(workspace, folder, image_id)
    return None if image is None else _small(square_crop(image, np.array(box)), side)


def _opened(workspace: Workspace, folder: str, image_id: str) -> Image.Image | None:
    rows = stored_rows(workspace, "proxies", folder, [image_id])
    if not rows:
        return None
    try:
        return open_proxy(workspace.home.root, rows[0]["path"])
    except (FileNotFoundError, ValueError):
        return None


def _small(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
