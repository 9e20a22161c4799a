"""Changes to files, with their structure in mind: what the fuzzing feeds to decoders and parsers."""

import re
import struct
import zlib
from collections.abc import Sequence
from random import Random

import image_zoo as zoo

INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
TEXT_PIECES = (
    *(
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"|",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"null",
    ),
    *(
        b"true",
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 400,
        b"0.5",
        b'"\\ud800"',
        b"*a",
        b"&a ",
        b"!!python/object:os.system ",
    ),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"(" * 3000,
        b"- " * 3000,
        b"<x> ",
        b"@prefix : <x#> .",
        b"a" * 5000,
        b"../",
        b"~",
    ),
)

MAX_BYTES = 2**17
"""Of a mutated input."""


def mutate_bytes(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One to four changes to a file: bits, numbers, cuts, copies, parts of other files, whole chunks."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        kind = random.choice((_flip, _number, _cut, _copy, _splice, _chunks, _chunks))
        data = bytearray(kind(random, data, others)[:MAX_BYTES])  # each: copies of copies fill a memory
    return _with_sums(bytes(data)) if random.random() < 0.8 else bytes(data)


def mutate_text(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """As `mutate_bytes`, and with pieces of syntax put in."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        kind = random.choice((_flip, _cut, _copy, _splice, _piece, _piece, _piece))
        data = bytearray(kind(random, data, others)[:MAX_BYTES])
    return bytes(data)


def _place(random: Random, data: bytes | bytearray) -> int:
    """Anywhere, in its first 200 bytes as often as in all others: there are the headers."""
    return random.randrange(max(1, min(len(data), 200) if random.random() < 0.5 else len(data)))


def _flip(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    for _ in range(random.choice((1, 1, 2, 8)) if data else 0):
        data[_place(random, data)] ^= 1 << random.randrange(8)
    return data


def _number(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    form = random.choice((">B", ">H", "<H", ">I", "<I"))
    size = struct.calcsize(form)
    at = _place(random, data)
    data[at : at + size] = struct.pack(form, random.choice(INTERESTING) % 256**size)
    return data


def _cut(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    at = _place(random, data)
    del data[at : at + random.choice((1, 4, 64, len(data)))]
    return data


def _copy(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    at, length = _place(random, data), random.choice((1, 4, 12, 64, 1024))
    piece = bytes(data[at : at + length]) * random.choice((1, 1, 2, 100))
    to = _place(random, data)
    data[to:to] = piece
    return data


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    other = random.choice(others)
    at, start = _place(random, data), _place(random, other)
    data[at : at + random.choice((0, 64, len(data)))] = other[
        start : start + random.choice((16, 256, len(other)))
    ]
    return data


def _piece(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    at = random.randrange(len(data) + 1)
    data[at : at + random.choice((0, 0, 1, 8))] = random.choice(TEXT_PIECES)
    return data


def _chunks(random: Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    """Repeat, drop or exchange the parts that a format is made of."""
    parts = split(bytes(data))
    if len(parts) < 3:
        return _number(random, data, others)
    at, to = random.randrange(1, len(parts)), random.randrange(1, len(parts))
    match random.randrange(4):
        case 0:
            parts[at:at] = [parts[at]] * random.choice((1, 2, 50, 400))
        case 1:
            del parts[at]
        case 2:
            parts[at], parts[to] = parts[to], parts[at]
        case _:
            part = bytearray(parts[at])
            parts[at] = bytes(_number(random, part, others))
    return bytearray(b"".join(parts))


def split(data: bytes) -> list[bytes]:
    """The signature and chunks of a PNG, the segments of a JPEG, the chunks of RIFF, the boxes of ISO files."""
    if data.startswith(zoo.PNG_SIGNATURE):
        return [data[:8], *_sized(data[8:], ">I", 0, 12)]
    if data.startswith(b"\xff\xd8"):
        return re.split(rb"(?=\xff[\x01-\xfe])", data)
    if data.startswith(b"RIFF"):
        return [data[:12], *_sized(data[12:], "<I", 4, 8)]
    if data[4:8] in (b"ftyp", b"jP  "):
        return _sized(data, ">I", 0, 0)
    return []


def _sized(data: bytes, form: str, offset: int, overhead: int) -> list[bytes]:
    parts = []
    while len(data) >= 8:
        (length,) = struct.unpack_from(form, data, offset)
        size = max(8, length + overhead + (length % 2 if form == "<I" else 0))
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


def _with_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold now, so that decoders look inside."""
    if not data.startswith(zoo.PNG_SIGNATURE):
        return data
    head, *chunks = split(data)
    return head + b"".join(
        chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4])) if len(chunk) >= 12 else chunk
        for chunk in chunks
    )
