"""Photoshop's files of kinds that no library here writes, drawn by program."""

import struct

import imagecodecs
import numpy as np

RGB, CMYK = 3, 4


def psd_of(
    samples: np.ndarray,
    mode: int = RGB,
    version: int = 1,
    runs: bool = False,
    layers: int = 0,
    profile: bytes = b"",
) -> bytes:
    """A composite of [height, width, channels] samples, uint8, uint16 or float32. `layers` is what the file says of their
    number: below 0, the first channel beside the colours is transparency. `runs`: compressed by PackBits."""
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    head = struct.pack(">4sH6xHIIHH", b"8BPS", version, channels, height, width, bits, mode)
    resource = struct.pack(">4sHHI", b"8BIM", 1039, 0, len(profile)) + profile + b"\0" * (len(profile) % 2)
    resources = resource if profile else b""
    size = ">Q" if version == 2 else ">I"
    info = struct.pack(">h", layers) if layers else b""
    section = struct.pack(size, len(info)) + info
    planes = np.moveaxis(samples, -1, 0).astype(samples.dtype.newbyteorder(">"))
    if runs:
        rows = [bytes(imagecodecs.packbits_encode(row.tobytes())) for plane in planes for row in plane]
        counts = struct.pack(f">{len(rows)}{'I' if version == 2 else 'H'}", *map(len, rows))
        body = struct.pack(">H", 1) + counts + b"".join(rows)
    else:
        body = struct.pack(">H", 0) + planes.tobytes()
    lengths = struct.pack(">II", 0, len(resources)) + resources + struct.pack(size, len(section)) + section
    return head + lengths + body
