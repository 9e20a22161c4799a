"""XMP packets as properties: read as a stream, so that a packet costs little more memory than what is taken of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.parsers import expat

from resources.images.metadata.described import Path
from resources.images.metadata.namespaces import NAMESPACES, OURS, own_keyword, own_text
from resources.images.metadata.properties import Said, coordinate, texts

MOST_BYTES = 16 * 1024 * 1024
_MOST_DEPTH = 128
_MOST_ITEMS = 100_000
_RDF = NAMESPACES["rdf"]
_LI, _ROOT, _DESCRIPTION, _ABOUT = f"{_RDF} li", f"{_RDF} RDF", f"{_RDF} Description", f"{_RDF} about"
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
HIERARCHIES = {
    "lr:hierarchicalSubject": "|",
    "digiKam:TagsList": "/",
    "MicrosoftPhoto:LastKeywordXMP": "/",
    "mediapro:CatalogSets": "|",
}
"""Property -> what parts the names of a path: Lightroom and darktable, digiKam, Windows, iView and Media Pro."""
_KEYWORD_TREE = f"{NAMESPACES['mwg-kw']} Keywords"
_WANTED = (
    *("dc:subject", "dc:title", "dc:description", "dc:creator", "xmp:Rating", "photoshop:DateCreated"),
    *("exif:GPSLatitude", "exif:GPSLongitude", "vistag:madeBy", OURS, *HIERARCHIES),
)
_NAME_OF = {
    # exiftool ends Microsoft's namespace without the slash that Windows and exiv2 write
    f"{NAMESPACES[prefix].rstrip('/')} {local}": f"{prefix}:{local}"
    for prefix, _, local in (name.partition(":") for name in _WANTED)
}
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?)?)?)?")
_PLACE = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])", re.I)


class UnreadableXmp(ValueError):
    """What should be a packet of XMP is none."""


def read_xmp(*packets: bytes) -> Said:
    """What the packets of one file say together, as people did: vistag's own is left out. Raises UnreadableXmp."""
    told: dict[str, list[tuple[str, str]]] = {}
    paths: list[Path] = []
    for packet in packets:
        reader = _Reader(told, paths)
        reader.read(packet)
    return _said(told, paths)


def _said(told: Mapping[str, Sequence[tuple[str, str]]], tree: Sequence[Path]) -> Said:
    ours = {item for _, item in told.get(OURS, ())}

    def of(name: str) -> list[str]:
        return texts(item for _, item in told.get(name, ()))

    def text(name: str) -> str:
        alternatives = sorted(told.get(name, ()), key=lambda item: item[0] != "x-default")
        found = texts(item for _, item in alternatives)
        return found[0] if found else ""

    flat = of("dc:subject")
    own = frozenset(keyword for keyword in flat if own_keyword("dc:subject", keyword) in ours)
    paths = [
        tuple(texts(path.split(separator)))
        for name, separator in HIERARCHIES.items()
        for path in of(name)
        if own_keyword(name, path) not in ours
    ]
    title, description = text("dc:title"), text("dc:description")
    own_texts = frozenset(
        told
        for name, told in (("dc:title", title), ("dc:description", description))
        if own_text(name, told) in ours
    )
    return Said(
        # a path of one name is a keyword
        keywords=_distinct([k for k in flat if k not in own] + [path[0] for path in paths if len(path) == 1]),
        keyword_paths=_distinct([path for path in (*paths, *tree) if len(path) > 1]),
        title="" if title in own_texts else title,
        description="" if description in own_texts else description,
        creators=_distinct(of("dc:creator")),
        rating=_rating(text("xmp:Rating")),
        latitude=_place(text("exif:GPSLatitude"), 90),
        longitude=_place(text("exif:GPSLongitude"), 180),
        dated=_dated(text("photoshop:DateCreated")),
        own_keywords=own,
        own_texts=own_texts,
        by_vistag="vistag:madeBy" in told,
    )


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _rating(told: str) -> float | None:
    try:
        rating = float(told)
    except ValueError:
        return None
    return rating if -1 <= rating <= 5 else None


def _dated(told: str) -> str | None:
    return told if _DATE.fullmatch(told) else None


def _place(told: str, most: int) -> float | None:
    parts = _PLACE.fullmatch(told)
    return coordinate([float(part) for part in parts.groups()[:3] if part], parts[4], most) if parts else None


class _Reader:
    """Of one packet: property -> (language, text) of each item; and the paths of a tree of keywords."""

    def __init__(self, told: dict[str, list[tuple[str, str]]], paths: list[Path]) -> None:
        self._told, self._paths = told, paths
        self._stack: list[str] = []
        self._property: str | None = None
        self._below = 0
        """how deep the property lies"""
        self._language = ""
        self._text: list[str] = []
        self._has_items = False
        self._items = 0
        self._branches: list[_Branch] = []

    def read(self, packet: bytes) -> None:
        packet = packet.strip(b"\0 \r\n\t")
        if len(packet) > MOST_BYTES:
            raise UnreadableXmp("too large")
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text_of
        try:
            parser.Parse(packet, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise UnreadableXmp(str(error)) from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._stack.append(name)
        if len(self._stack) > _MOST_DEPTH:
            raise UnreadableXmp("nested too deeply")
        if self._property is None:
            if len(self._stack) > 1 and self._stack[-2] == _ROOT:
                for attribute, value in attributes.items():
                    if known := _known(attribute):
                        self._take(known, "", value)
            elif len(self._stack) > 2 and self._stack[-3] == _ROOT:
                self._property = _known(name) or (_KEYWORD_TREE if name == _KEYWORD_TREE else None)
                self._below, self._has_items, self._text = len(self._stack), False, []
                self._branches = [_Branch()]
            return
        if name == _LI:
            self._language, self._text, self._has_items = attributes.get(_LANGUAGE, ""), [], True
            if self._property == _KEYWORD_TREE:
                self._branches.append(_Branch())
        elif self._property == _KEYWORD_TREE:
            self._text = []
        if self._branches and (keyword := attributes.get(f"{NAMESPACES['mwg-kw']} Keyword")):
            self._branches[-1].keyword = keyword

    def _text_of(self, text: str) -> None:
        if self._property is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        depth = len(self._stack)
        self._stack.pop()
        if self._property is None:
            return
        if self._property == _KEYWORD_TREE:
            self._end_in_tree(name)
        elif name == _LI:
            self._take(self._property, self._language, "".join(self._text))
        elif depth == self._below and not self._has_items:
            self._take(self._property, "", "".join(self._text))
        if depth == self._below:
            self._property, self._branches = None, []

    def _end_in_tree(self, name: str) -> None:
        if name == f"{NAMESPACES['mwg-kw']} Keyword":
            self._branches[-1].keyword = "".join(self._text)
        elif name == _LI and len(self._branches) > 1:
            paths = list(self._branches.pop().ended())
            self._branches[-1].below += paths
        elif name == _KEYWORD_TREE:
            self._paths += self._branches[0].below

    def _take(self, name: str, language: str, text: str) -> None:
        self._items += 1
        if self._items > _MOST_ITEMS:
            raise UnreadableXmp("too many items")
        self._told.setdefault(name, []).append((language, text))


class _Branch:
    """A keyword of a tree, and the paths below it."""

    def __init__(self) -> None:
        self.keyword = ""
        self.below: list[Path] = []

    def ended(self) -> Iterator[Path]:
        own = tuple(texts([self.keyword]))
        yield from ((*own, *path) for path in self.below or [()])


def _known(name: str) -> str | None:
    namespace, _, local = name.rpartition(" ")
    return _NAME_OF.get(f"{namespace.rstrip('/')} {local}")


def _refuse_doctype(*_: Any) -> None:
    raise UnreadableXmp("it has a DOCTYPE, which XMP has none of")
