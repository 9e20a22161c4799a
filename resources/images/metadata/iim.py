"""IPTC's Information Interchange Model (IIM 4.2), record 2: what programs wrote before there was XMP, and many still do."""

import re

from resources.images.metadata.properties import Said, texts

_TITLE, _KEYWORD, _DATE, _TIME, _BYLINE, _CAPTION = 5, 25, 55, 60, 80, 120
_UTF8 = b"\x1b%G"
_MOST_DATASETS = 20_000
LIMITS = {"keywords": 64, "title": 64, "description": 2000, "creators": 32}
"""bytes that IIM has for them: a longer text is cut there, and XMP may hold the rest"""


def read_iim(content: bytes) -> Said:
    """Of the bytes of an IIM block; it ends where it is broken."""
    found: dict[int, list[bytes]] = {}
    encoding = None
    for record, number, value in _datasets(content):
        if (record, number) == (1, 90) and value == _UTF8:
            encoding = "utf-8"
        if record == 2:
            found.setdefault(number, []).append(value)
    told = {number: texts(values, encoding) for number, values in found.items()}
    return Said(
        keywords=tuple(told.get(_KEYWORD, ())),
        title=_first(told, _TITLE),
        description=_first(told, _CAPTION),
        creators=tuple(told.get(_BYLINE, ())),
        dated=_dated(_first(told, _DATE), _first(told, _TIME)),
    )


def _datasets(content: bytes) -> list[tuple[int, int, bytes]]:
    found: list[tuple[int, int, bytes]] = []
    at = 0
    while at + 5 <= len(content) and content[at] == 0x1C and len(found) < _MOST_DATASETS:
        record, number = content[at + 1], content[at + 2]
        length = int.from_bytes(content[at + 3 : at + 5], "big")
        at += 5
        if length & 0x8000:  # an extended one says how many bytes tell its length
            width = length & 0x7FFF
            if width > 4:
                break
            length = int.from_bytes(content[at : at + width], "big")
            at += width
        if at + length > len(content):
            break
        found.append((record, number, content[at : at + length]))
        at += length
    return found


def _first(told: dict[int, list[str]], number: int) -> str:
    return next(iter(told.get(number, ())), "")


def _dated(date: str, time: str) -> str | None:
    """CCYYMMDD and HHMMSS±HHMM; zeros stand for a month or a day that nobody knows."""
    parts = re.fullmatch(r"(\d{4})[-:]?(\d\d)[-:]?(\d\d)", date)
    if not parts or not int(parts[1]) or int(parts[2]) > 12 or int(parts[3]) > 31:
        return None
    known = [parts[1]]
    for part in parts.groups()[1:]:
        if not int(part):
            return "-".join(known)
        known.append(part)
    clock = re.fullmatch(r"(\d\d):?(\d\d):?(\d\d)([+-]\d\d):?(\d\d)|(\d\d):?(\d\d):?(\d\d)", time)
    if not clock:
        return "-".join(known)
    hour, minute, second = clock[1] or clock[6], clock[2] or clock[7], clock[3] or clock[8]
    if int(hour) > 23 or int(minute) > 59:
        return "-".join(known)
    return f"{'-'.join(known)}T{hour}:{minute}:{second}{f'{clock[4]}:{clock[5]}' if clock[4] else ''}"
