"""Photoshop's files: the composite that it stores for other programs, of 1, 8, 16 or 32 bits (PSD, and PSB above 30,000 px).

Source: Adobe Photoshop File Formats Specification, 2019. Pillow reads 8 bits only, and takes any fourth channel of RGB
for transparency, be it a saved selection.
"""

import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from resources.images.levels import to_8_bit
from resources.images.picture import Limits, Opened, Pixels
from resources.images.rejects import Reject

BITMAP, GREY, INDEXED, RGB, CMYK, MULTICHANNEL, DUOTONE, LAB = 0, 1, 2, 3, 4, 7, 8, 9
CHANNELS = {BITMAP: 1, GREY: 1, INDEXED: 1, RGB: 3, CMYK: 4, MULTICHANNEL: 1, DUOTONE: 1, LAB: 3}
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.uint8),
    8: np.dtype(np.uint8),
    16: np.dtype(">u2"),
    32: np.dtype(">f4"),
}
ICC_PROFILE, EXIF = 1039, 1058
RAW, RUNS = 0, 1
MAX_RESOURCES = 10_000


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands before the composite, which starts at `start`; `counts` is the type of a row's length in it."""

    width: int
    height: int
    bits: int
    mode: int
    channels: int
    palette: bytes
    resources: dict[int, bytes]
    has_transparency: bool
    start: int
    counts: np.dtype[Any]


def open_psd(source: BinaryIO, limits: Limits) -> Opened:
    """Read up to the composite. Raises Reject for what is no such file, struct.error for one that ends early."""
    header = _header(source)
    samples = header.width * header.height * _used(header)
    held = max(header.width * header.height, samples * (2 * DTYPES[header.bits].itemsize + 3) // 13)
    return Opened((header.width, header.height), held, partial(_read, source, header))


def _header(source: BinaryIO) -> _Header:
    source.seek(0)
    signature, version, channels, height, width, bits, mode = struct.unpack(">4sH6xHIIHH", source.read(26))
    if signature != b"8BPS" or version not in (1, 2) or mode not in CHANNELS or bits not in DTYPES:
        raise Reject("unsupported", f"Photoshop's mode {mode} with {bits} bits of version {version}.")
    if channels < CHANNELS[mode] or not width or not height:
        raise Reject("damaged", f"It has {channels} channels and {width} x {height} pixels.")
    palette = source.read(_number(source, ">I"))
    resources = _resources(source, _number(source, ">I"))
    wide = ">Q" if version == 2 else ">I"
    end = _number(source, wide) + source.tell()
    count = _number(source, ">h") if _number(source, wide) else 0
    # The count of layers is negative where the first channel beside the colours is the composite's transparency.
    return _Header(
        width=width,
        height=height,
        bits=bits,
        mode=mode,
        channels=channels,
        palette=palette,
        resources=resources,
        has_transparency=count < 0 and channels > CHANNELS[mode] and mode in (GREY, RGB),
        start=end,
        counts=np.dtype(">u4" if version == 2 else ">u2"),
    )


def _number(source: BinaryIO, kind: str) -> int:
    (value,) = struct.unpack(kind, source.read(struct.calcsize(kind)))
    return int(value)


def _resources(source: BinaryIO, length: int) -> dict[int, bytes]:
    """Number -> content of those that are of use; leaves the file behind all of them."""
    end, found = source.tell() + length, {}
    for _ in range(MAX_RESOURCES):
        if source.tell() + 12 > end:
            break
        _, number, letters = struct.unpack(">4sHB", source.read(7))
        source.seek(letters + 1 - letters % 2, 1)
        size = _number(source, ">I")
        if number in (ICC_PROFILE, EXIF) and source.tell() + size <= end:
            found[number] = source.read(size)
            source.seek(size % 2, 1)
        else:
            source.seek(size + size % 2, 1)
    source.seek(end)
    return found


def _used(header: _Header) -> int:
    return CHANNELS[header.mode] + header.has_transparency


def _read(source: BinaryIO, header: _Header) -> Pixels:
    white = {16: 65535.0, 32: 1.0}.get(header.bits, 255.0)
    channels = [
        to_8_bit(channel, white, is_certain=True)[0] if header.bits > 8 else channel
        for channel in _channels(source, header)
    ]
    image = _image(header, channels)
    exif = Image.Exif()
    if EXIF in header.resources:
        with suppress(Exception):  # broken EXIF: the picture is sound
            exif.load(b"Exif\0\0" + header.resources[EXIF])
    info = {"icc_profile": header.resources[ICC_PROFILE]} if ICC_PROFILE in header.resources else {}
    return Pixels(image, image.size, "PSD", image.mode, info=info, exif=exif)


def _channels(source: BinaryIO, header: _Header) -> list[np.ndarray]:
    """The samples of the channels that are shown, each [height, width]."""
    source.seek(header.start)
    row_bytes = -(-header.width * header.bits // 8)
    plane_bytes = row_bytes * header.height
    compression = _number(source, ">H")
    if compression == RAW:
        planes = [source.read(plane_bytes) for _ in range(_used(header))]
    elif compression == RUNS:
        table = source.read(header.counts.itemsize * header.height * header.channels)
        lengths = np.frombuffer(table, header.counts).reshape(header.channels, header.height).sum(axis=1)
        planes = [_unpacked(source.read(int(length)), plane_bytes) for length in lengths[: _used(header)]]
    else:
        raise Reject("unsupported", f"Photoshop's compression {compression}.")
    if any(len(plane) < plane_bytes for plane in planes):
        raise Reject("truncated", "The file ends before its picture does.")
    if header.bits == 1:
        rows = [np.frombuffer(plane, np.uint8).reshape(header.height, row_bytes) for plane in planes]
        return [255 * (1 - np.unpackbits(row, axis=1)[:, : header.width]) for row in rows]
    return [np.frombuffer(p, DTYPES[header.bits]).reshape(header.height, header.width) for p in planes]


def _unpacked(runs: bytes, length: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.packbits_decode(runs, out=length))


def _image(header: _Header, channels: list[np.ndarray]) -> Image.Image:
    if header.mode == INDEXED:
        colours = np.frombuffer(header.palette[:768], np.uint8).reshape(3, -1).T
        return Image.fromarray(colours[channels[0]])
    bands = [Image.fromarray(np.ascontiguousarray(channel)) for channel in channels]
    if header.mode == CMYK:  # it stores light, not ink
        return Image.merge("CMYK", [band.point(lambda value: 255 - value) for band in bands])
    if header.mode == LAB:
        return Image.merge("LAB", bands)
    return bands[0] if len(bands) == 1 else Image.merge({2: "LA", 3: "RGB", 4: "RGBA"}[len(bands)], bands)
