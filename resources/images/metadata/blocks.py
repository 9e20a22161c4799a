"""Where files keep Exif, IIM and XMP: each format's own places, read without decoding a pixel."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO

from resources.images.boxes import Box, body, boxes, inside, whole
from resources.images.metadata import tiff
from resources.images.metadata.described import Described
from resources.images.metadata.exif import read_exif
from resources.images.metadata.iim import read_iim
from resources.images.metadata.properties import Said
from resources.images.metadata.reconciling import reconciled
from resources.images.metadata.xmp import MOST_BYTES, read_xmp

UNREADABLE = {"exif": "exif_unreadable", "iim": "iim_unreadable", "xmp": "xmp_unreadable"}
_MOST_PARTS = 4096
_XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP_MARK = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP_MARK = b"Photoshop 3.0\0"
_EXIF_MARK = b"Exif\0\0"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IIM_UUID = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_EXIF_UUID = b"JpgTiffExif->JP2"
_IIM_RESOURCE, _DIGEST_RESOURCE, _XMP_RESOURCE, _EXIF_RESOURCE = 0x0404, 0x0425, 0x0424, 0x0422
_RAW_PROFILE = re.compile(rb"\n[\w ]{1,40}\n {0,20}\d{1,9}\n")
_GIF_XMP = b"\x21\xff\x0bXMP DataXMP"


@dataclass(slots=True)
class Blocks:
    """What was found in a file, as it stands there. `exif` is where a block begins, in a file of it."""

    exif: tuple[BinaryIO, int] | None = None
    iim: bytes | None = None
    digest: bytes | None = None
    """of IIM, by the program that last made XMP say the same"""
    xmp: list[bytes] = field(default_factory=list)
    left: int = 4 * MOST_BYTES
    """bytes that may still be read: a file of a stranger may name the same place any number of times"""

    def read(self, source: BinaryIO, length: int) -> bytes:
        """Raises ValueError where it is too much."""
        self.left -= min(length, MOST_BYTES)
        if length > MOST_BYTES or self.left < 0:
            raise ValueError("more than any description has")
        return source.read(length)

    def unpack(self, content: bytes) -> bytes:
        """What zlib packed. Raises ValueError where it is too much, zlib.error where it is broken."""
        text = zlib.decompressobj().decompress(content, MOST_BYTES)
        self.left -= len(text)
        if len(text) == MOST_BYTES or self.left < 0:
            raise ValueError("more than any description has")
        return text


def read_embedded(source: BinaryIO) -> Described:
    """What a picture's file says of it. Never raises: what does not read is passed over, and a note says so."""
    blocks, notes = Blocks(), list[str]()
    try:
        source.seek(0)
        head = source.read(16)
        for is_one, find in _FORMATS:
            if is_one(head):
                find(source, blocks)
                break
    except Exception:  # of a broken file; whether it is one is for its decoders to say
        notes.append("metadata_unread")
    said: dict[str, Said | None] = {}
    readers: dict[str, Callable[[], Said | None]] = {
        "exif": lambda: read_exif(*blocks.exif) if blocks.exif else None,
        "iim": lambda: read_iim(_within(blocks.iim)) if blocks.iim else None,
        "xmp": lambda: read_xmp(*blocks.xmp) if blocks.xmp else None,
    }
    for name, read in readers.items():
        try:
            said[name] = read()
        except Exception:
            said[name] = None
            notes.append(UNREADABLE[name])
    is_newer = bool(
        blocks.iim
        and blocks.digest
        and hashlib.md5(blocks.iim, usedforsecurity=False).digest() != blocks.digest
    )
    found = reconciled(said["exif"], said["iim"], said["xmp"], is_newer).bounded()
    return replace(found, notes=(*notes, *found.notes))


def _within(block: bytes) -> bytes:
    if not block.startswith(b"\x1c"):
        raise ValueError("no IIM")
    return block


# ---- formats


def _of_jpeg(source: BinaryIO, blocks: Blocks, start: int = 0) -> None:
    photoshop, more = bytearray(), dict[bytes, dict[int, bytes]]()
    for marker, content, at in _segments(source, start):
        if marker == 0xE1 and content.startswith(_EXIF_MARK) and not blocks.exif:
            blocks.exif = source, at + len(_EXIF_MARK)
        elif marker == 0xE1 and content.startswith(_XMP_MARK):
            blocks.xmp.append(content[len(_XMP_MARK) :])
        elif marker == 0xE1 and content.startswith(_MORE_XMP_MARK):
            rest = content[len(_MORE_XMP_MARK) :]
            more.setdefault(rest[:32], {})[int.from_bytes(rest[36:40], "big")] = rest[40:]
        elif marker == 0xED and content.startswith(_PHOTOSHOP_MARK):
            photoshop += content[len(_PHOTOSHOP_MARK) :]
    # what is named in the packet itself belongs to it, in the order of its places
    blocks.xmp += [
        b"".join(parts[place] for place in sorted(parts))
        for name, parts in more.items()
        if any(name in packet for packet in blocks.xmp)
    ]
    _resources(bytes(photoshop), blocks)


def _segments(source: BinaryIO, start: int) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and its place, of the application segments before the picture."""
    at = start + 2
    for _ in range(_MOST_PARTS):
        source.seek(at)
        head = source.read(4)
        while head[:2] == b"\xff\xff":
            at += 1
            head = head[1:] + source.read(1)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            return
        length = struct.unpack(">H", head[2:])[0]
        if head[1] in (0xE1, 0xED):
            yield head[1], source.read(length - 2), at + 4
        at += 2 + length


def _resources(content: bytes, blocks: Blocks) -> None:
    """Photoshop's image resources: IIM, its digest, and in its own files XMP and Exif."""
    at = 0
    for _ in range(_MOST_PARTS):
        if content[at : at + 4] not in (b"8BIM", b"PHUT", b"DCSR", b"AgHg", b"MeSa"):
            return
        (number,) = struct.unpack(">H", content[at + 4 : at + 6])
        at += 6 + (content[at + 6] // 2 + 1) * 2
        (length,) = struct.unpack(">I", content[at : at + 4])
        value = content[at + 4 : at + 4 + length]
        if number == _IIM_RESOURCE:
            blocks.iim = blocks.iim or value
        elif number == _DIGEST_RESOURCE:
            blocks.digest = value
        elif number == _XMP_RESOURCE:
            blocks.xmp.append(value)
        elif number == _EXIF_RESOURCE:
            blocks.exif = blocks.exif or (BytesIO(value), 0)
        at += 4 + length + length % 2


def _of_tiff(source: BinaryIO, blocks: Blocks) -> None:
    of = tiff.Directories(source)
    tags = of.tags(of.first, tiff.BLOCKS)
    blocks.exif = source, 0
    if tiff.XMP in tags:
        blocks.xmp.append(tags[tiff.XMP].content)
    if tiff.IIM in tags:
        value = tags[tiff.IIM]
        blocks.iim = value.content
        if value.kind == 4 and not value.content.startswith(b"\x1c"):  # of longs, which were turned round
            blocks.iim = b"".join(
                value.content[place : place + 4][::-1] for place in range(0, len(value.content), 4)
            )
    if tiff.PHOTOSHOP in tags:
        _resources(tags[tiff.PHOTOSHOP].content, blocks)


def _of_png(source: BinaryIO, blocks: Blocks) -> None:
    at = 8
    for _ in range(_MOST_PARTS):
        source.seek(at)
        head = source.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf" and not blocks.exif:
            blocks.exif = source, at + 8
        elif kind in (b"iTXt", b"tEXt", b"zTXt") and length <= MOST_BYTES:
            _png_text(kind, blocks.read(source, length), blocks)
        at += 12 + length


def _png_text(kind: bytes, content: bytes, blocks: Blocks) -> None:
    name, _, rest = content.partition(b"\0")
    if kind == b"iTXt" and name == b"XML:com.adobe.xmp":
        is_packed = rest[:1] == b"\1"
        text = rest[2:].split(b"\0", 2)[2]
        blocks.xmp.append(blocks.unpack(text) if is_packed else text)
    elif kind in (b"tEXt", b"zTXt") and name.lower().startswith(b"raw profile type "):
        # as ImageMagick and exiftool write what PNG has no place for
        text = blocks.unpack(rest[1:]) if kind == b"zTXt" else rest
        stated = _RAW_PROFILE.match(text)
        if not stated:
            return
        value = bytes.fromhex(text[stated.end() :].decode("ascii"))
        what = name.lower()[len(b"raw profile type ") :]
        if what == b"iptc":
            if value.startswith(b"\x1c"):
                blocks.iim = value
            else:
                _resources(value.removeprefix(_PHOTOSHOP_MARK), blocks)
        elif what in (b"exif", b"app1") and value.startswith(_EXIF_MARK):
            blocks.exif = blocks.exif or (BytesIO(value), len(_EXIF_MARK))
        elif what in (b"xmp", b"app1"):
            blocks.xmp.append(value.removeprefix(_XMP_MARK))


def _of_webp(source: BinaryIO, blocks: Blocks) -> None:
    at = 12
    for _ in range(_MOST_PARTS):
        source.seek(at)
        head = source.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        if kind == b"XMP ":
            blocks.xmp.append(blocks.read(source, length))
        elif kind == b"EXIF":
            begins = source.read(6) == _EXIF_MARK  # some writers keep JPEG's mark
            blocks.exif = source, at + 8 + 6 * begins
        at += 8 + length + length % 2


def _of_boxes(source: BinaryIO, blocks: Blocks) -> None:
    """HEIF, AVIF, JPEG XL, JPEG 2000, and Canon's CR3."""
    top = list(boxes(source, 0, whole(source).end))
    for box in top:
        if box.kind == b"meta":
            _of_items(source, box, blocks)
        elif box.kind == b"xml ":
            source.seek(box.start)
            blocks.xmp.append(blocks.read(source, box.end - box.start))
        elif box.kind == b"Exif":
            source.seek(box.start)
            blocks.exif = source, box.start + 4 + int.from_bytes(source.read(4), "big")
        elif box.kind == b"uuid":
            source.seek(box.start)
            name, length = source.read(16), box.end - box.start - 16
            if name == _XMP_UUID:
                blocks.xmp.append(blocks.read(source, length))
            elif name == _IIM_UUID:
                blocks.iim = blocks.read(source, length)
            elif name == _EXIF_UUID:
                blocks.exif = source, box.start + 16


def _of_items(source: BinaryIO, meta: Box, blocks: Blocks) -> None:
    """Items of a HEIF file that are Exif or XMP (ISO/IEC 14496-12, 8.11)."""
    information, places = inside(source, meta, b"iinf", skip=4), inside(source, meta, b"iloc", skip=4)
    data = inside(source, meta, b"idat", skip=4)
    if information is None or places is None:
        return
    version = body(source, information)[0]
    kinds: dict[int, str] = {}
    for entry in boxes(source, information.start + (6 if version == 0 else 8), information.end):
        content = body(source, entry)
        if entry.kind != b"infe" or content[0] < 2:
            continue
        width = 2 if content[0] == 2 else 4
        item, kind = int.from_bytes(content[4 : 4 + width], "big"), content[6 + width : 10 + width]
        if kind == b"Exif":
            kinds[item] = "exif"
        elif kind == b"mime" and b"application/rdf+xml" in content[10 + width :]:
            kinds[item] = "xmp"
    for item, extents in _extents(body(source, places), data.start if data else 0):
        if item not in kinds:
            continue
        content = b""
        for at, length in extents:
            source.seek(at)
            content += blocks.read(source, length)
        if kinds[item] == "xmp":
            blocks.xmp.append(content)
        elif not blocks.exif:
            blocks.exif = BytesIO(content), 4 + int.from_bytes(content[:4], "big")


def _extents(iloc: bytes, idat: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Item -> (place in the file, length) of its parts."""
    version = iloc[0]
    offset_size, length_size = iloc[4] >> 4, iloc[4] & 15
    base_size, index_size = iloc[5] >> 4, iloc[5] & 15 if version else 0
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(iloc[at - size : at], "big")

    for _ in range(min(number(2 if version < 2 else 4), _MOST_PARTS)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size) + (idat if method == 1 else 0)
        extents = []
        for _ in range(min(number(2), _MOST_PARTS)):
            number(index_size)
            offset = number(offset_size)
            extents.append((base + offset, number(length_size)))
        if at > len(iloc):
            return
        yield item, extents


def _of_psd(source: BinaryIO, blocks: Blocks) -> None:
    source.seek(26)
    source.seek(30 + int.from_bytes(source.read(4), "big"))
    length = int.from_bytes(source.read(4), "big")
    _resources(source.read(min(length, 2 * MOST_BYTES)), blocks)


def _of_raf(source: BinaryIO, blocks: Blocks) -> None:
    """Fujifilm's raw files keep theirs in the preview."""
    source.seek(84)
    _of_jpeg(source, blocks, int.from_bytes(source.read(4), "big"))


def _of_gif(source: BinaryIO, blocks: Blocks) -> None:
    source.seek(0)
    content = source.read(MOST_BYTES)
    start = content.find(_GIF_XMP)
    end = content.find(b"<?xpacket end=", start)
    if start >= 0 and end >= 0:
        close = content.find(b">", end)
        blocks.xmp.append(content[start + len(_GIF_XMP) : close + 1])


def _begins(*marks: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head[at:].startswith(marks)


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, Blocks], None]], ...] = (
    (_begins(b"\xff\xd8"), _of_jpeg),
    (_begins(b"\x89PNG"), _of_png),
    (_begins(b"WEBP", at=8), _of_webp),
    (_begins(b"ftyp", b"JXL ", b"jP  ", at=4), _of_boxes),
    (_begins(b"8BPS"), _of_psd),
    (_begins(b"GIF8"), _of_gif),
    (_begins(b"FUJIFILM"), _of_raf),
    (_begins(b"II", b"MM"), _of_tiff),
)
