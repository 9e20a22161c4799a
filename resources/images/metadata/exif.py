"""What Exif says of a picture, of that which the Metadata Working Group's guidelines call descriptive."""

import csv
import re
from typing import BinaryIO

from resources.images.metadata import tiff
from resources.images.metadata.properties import Said, coordinate, texts

_DATE = re.compile(r"(\d{4})[:/.-](\d\d?)[:/.-](\d\d?)(?:[T\s]+(\d\d?):(\d\d)(?::(\d\d))?)?")


def read_exif(file: BinaryIO, start: int = 0) -> Said:
    """Of an Exif block or a TIFF. Raises ValueError and struct.error for one that is none."""
    of = tiff.Directories(file, start)
    first = of.tags(of.first, (tiff.DESCRIPTION, tiff.ARTIST, tiff.EXIF, tiff.GPS))
    said = Said()
    if tiff.DESCRIPTION in first:
        said.description = _text(first[tiff.DESCRIPTION])
    if tiff.ARTIST in first:
        said.creators = _names(_text(first[tiff.ARTIST]))
    if tiff.EXIF in first:
        camera = of.tags(first[tiff.EXIF].number, (tiff.DATE_TIME_ORIGINAL, tiff.OFFSET_TIME_ORIGINAL))
        if tiff.DATE_TIME_ORIGINAL in camera:
            zone = _text(camera[tiff.OFFSET_TIME_ORIGINAL]) if tiff.OFFSET_TIME_ORIGINAL in camera else ""
            said.dated = iso_date(_text(camera[tiff.DATE_TIME_ORIGINAL]), zone)
    if tiff.GPS in first:
        place = of.tags(
            first[tiff.GPS].number, (tiff.LATITUDE_REF, tiff.LATITUDE, tiff.LONGITUDE_REF, tiff.LONGITUDE)
        )
        said.latitude = _degrees(place, tiff.LATITUDE, 90)
        said.longitude = _degrees(place, tiff.LONGITUDE, 180)
    return said


def iso_date(told: str, zone: str = "") -> str | None:
    """Exif's 2021:03:04 05:06:07, and the like of other writers, as ISO 8601; None where it is no date."""
    parts = _DATE.match(told.strip())
    if not parts or not int(parts[1]):
        return None
    year, month, day, hour, minute, second = parts.groups()
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    date = f"{year}-{int(month):02}-{int(day):02}"
    if hour is None or int(hour) > 23 or int(minute) > 59:
        return date
    is_zone = re.fullmatch(r"[+-]\d\d:\d\d|Z", zone.strip())
    return f"{date}T{int(hour):02}:{minute}:{second or '00'}{zone.strip() if is_zone else ''}"


def _text(value: tiff.Value) -> str:
    return next(iter(texts([value.content.split(b"\0")[0]])), "")


def _names(told: str) -> tuple[str, ...]:
    """Several creators in one text, as the Metadata Working Group writes them: parted by semicolons, quoted where they
    hold one."""
    try:
        found = next(csv.reader([told], delimiter=";", skipinitialspace=True), [])
    except csv.Error:
        return (told,)
    return tuple(name.strip() for name in found if name.strip())


def _degrees(place: dict[int, tiff.Value], tag: int, most: int) -> float | None:
    if tag not in place:
        return None
    reference = place[tag - 1].content[:1].decode("ascii", "replace") if tag - 1 in place else ""
    return coordinate(place[tag].rationals, reference, most)
