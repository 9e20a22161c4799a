"""An XMP packet in a file of its own, edited in place: what is not vistag's stays as it stands.

Which keywords, texts and regions are vistag's is said in a namespace of its own, so that they can be taken back when
the lake says otherwise, and so that what a person took away does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.dom import XMLNS_NAMESPACE, Node, minidom
from xml.dom.minidom import Element, Text
from xml.parsers.expat import ExpatError

from resources.images.metadata.namespaces import NAMESPACES, OURS, own_keyword, own_text
from vistag_assets.exports.records import Region
from vistag_assets.exports.shapes import polygons
from vistag_assets.exports.xml_text import xml_text

REGION = "urn:x-vistag:region/"
"""Begins the rId of vistag's regions."""
_XML = "http://www.w3.org/XML/1998/namespace"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
MAX_BYTES = 64 * 1024 * 1024
_TOO_DEEP = "is nested too deeply: the sidecar is left as it is"
_STAND_INS = {"\n": "\ufdd0", "\r": "\ufdd1", "\t": "\ufdd2"}
"""For what minidom writes as it is, and every reader takes for a space or a line break then."""
Boundary = tuple[Region, list[tuple[float, float]]]
"""A region and the corners of its outline; none where it is its box."""


class MalformedSidecar(ValueError):
    """A sidecar that is no XMP: it stays as it is."""


def boundary(region: Region) -> Boundary:
    """The outline of a region that is one piece, else its box."""
    outlines = polygons(region.mask) if region.mask else []
    return region, outlines[0] if len(outlines) == 1 else []


class Sidecar:
    """A sidecar's document. Raises MalformedSidecar."""

    def __init__(self, content: bytes | None = None) -> None:
        content = _EMPTY if content is None else content
        if len(content) > MAX_BYTES:
            raise MalformedSidecar(f"has more than {MAX_BYTES:,} bytes: the sidecar is left as it is")
        try:
            self._document = minidom.parseString(content)
            roots = self._document.getElementsByTagNameNS(NAMESPACES["rdf"], "RDF")
        except RecursionError:
            raise MalformedSidecar(_TOO_DEEP) from None
        except (ExpatError, ValueError, LookupError) as error:
            raise MalformedSidecar(
                f"is no XML ({error}): the sidecar is left as it is. Repair or remove it, and export again"
            ) from error
        if self._document.doctype is not None:
            raise MalformedSidecar("has a DOCTYPE, which XMP has none of: the sidecar is left as it is")
        assert self._document.documentElement is not None
        self._root = self._document.documentElement
        if not roots:
            raise MalformedSidecar("holds no rdf:RDF: the sidecar is left as it is. Repair or remove it")
        self._descriptions = list(_children(roots[0], "rdf:Description"))
        if not self._descriptions:
            made = self._element("rdf:Description")
            made.setAttributeNS(NAMESPACES["rdf"], f"{_prefix_of_rdf(roots[0])}:about", "")
            roots[0].appendChild(made)
            self._descriptions = [made]
        self._ours_before = set(self._items(OURS))
        self._ours: list[str] = []

    def to_bytes(self) -> bytes:
        """The document as UTF-8. Raises MalformedSidecar where it is nested beyond reason."""
        try:
            _make_writable(self._root, {})
            text = self._document.toxml().removeprefix('<?xml version="1.0" ?>')
        except RecursionError:
            raise MalformedSidecar(_TOO_DEEP) from None
        for character, stand_in in _STAND_INS.items():
            text = text.replace(stand_in, f"&#{ord(character)};")
        return text.encode()

    def set_keywords(self, name: str, kind: str, wanted: Sequence[str]) -> None:
        """Make the keywords that are vistag's in a property be `wanted`; those of people stay, in their order."""
        wanted = list(dict.fromkeys(xml_text(keyword) for keyword in wanted if xml_text(keyword).strip()))
        there = self._items(name)
        mine = {keyword for keyword in there if own_keyword(name, keyword) in self._ours_before}
        theirs = {keyword.casefold() for keyword in there if keyword not in mine}
        # what was written before and is not there any more, a person took away
        taken = {k for k in wanted if own_keyword(name, k) in self._ours_before and k not in there}
        kept = [keyword for keyword in there if keyword not in mine or keyword in wanted]
        new = [k for k in wanted if k not in there and k not in taken and k.casefold() not in theirs]
        self._ours += [own_keyword(name, k) for k in wanted if k in mine or k in taken or k in new]
        if kept + new != there:
            self._set_items(name, kind, kept + new)

    def set_text(self, name: str, text: str, *, languages: bool = True) -> None:
        """Write a text where there is none, or where the one there is vistag's and nobody has changed it."""
        text, there = xml_text(text), self._text(name)
        if there and own_text(name, there) not in self._ours_before:
            return
        if not there and any(own.startswith(f"{name} #") for own in self._ours_before):
            self._ours += sorted(own for own in self._ours_before if own.startswith(f"{name} #"))
            return  # a person took it away
        if text:
            self._ours.append(own_text(name, text))
        if text != there:
            self._remove(name)
            if text:
                element = self._append(name)
                if languages:
                    self._list(element, "Alt", [text])
                else:
                    element.appendChild(self._document.createTextNode(text))

    def set_regions(self, regions: Sequence[Boundary]) -> None:
        """Replace vistag's regions, in relative coordinates of the upright picture; those of others stay."""
        name = "Iptc4xmpExt:ImageRegion"
        element = self._find(name)
        bag = next(_children(element, "rdf:Bag"), None) if element else None
        for item in list(_children(bag, "rdf:li")) if bag else ():
            if _text_of(next(iter(_descendants(item, "Iptc4xmpExt:rId")), None)).startswith(REGION):
                bag.removeChild(item)  # type: ignore[union-attr]
        if regions and bag is None:
            self._remove(name)
            bag = self._append(name).appendChild(self._element("rdf:Bag"))
        for region, corners in regions:
            bag.appendChild(self._region(region, corners))  # type: ignore[union-attr]
        if bag is not None and not any(_children(bag, "rdf:li")):
            self._remove(name)

    def sign(self, made_by: str) -> None:
        """Say by what vistag's own content was made, and which it is. Comes last."""
        for name in ("vistag:madeBy", OURS):
            self._remove(name)
        self._append("vistag:madeBy").appendChild(self._document.createTextNode(xml_text(made_by)))
        if self._ours:
            self._set_items(OURS, "Bag", self._ours)

    # ---- what is whose

    @property
    def has_ours(self) -> bool:
        """Whether any of it is vistag's, or was."""
        return bool(self._ours or self._ours_before)

    def items(self, name: str) -> list[str]:
        return self._items(name)

    def text(self, name: str) -> str:
        return self._text(name)

    def own(self, name: str) -> list[str]:
        """The items of a property that are vistag's, as the packet came."""
        return [item for item in self._items(name) if own_keyword(name, item) in self._ours_before]

    def is_own(self, name: str) -> bool:
        """Whether a text is vistag's, as the packet came or as it is now."""
        return own_text(name, self._text(name)) in {*self._ours_before, *self._ours}

    def add_theirs(self, name: str, kind: str, keywords: Sequence[str]) -> None:
        """Keywords of people that stand elsewhere."""
        there = self._items(name)
        known = {keyword.casefold() for keyword in there}
        if new := [keyword for keyword in map(xml_text, keywords) if keyword.casefold() not in known]:
            self._set_items(name, kind, [*there, *new])

    def add_their_text(self, name: str, text: str) -> None:
        """A text of people that stands elsewhere, in place of none or of vistag's."""
        if self._text(name) and not self.is_own(name):
            return
        self._remove(name)
        self._list(self._append(name), "Alt", [xml_text(text)])

    # ---- regions

    def _region(self, region: Region, corners: Sequence[tuple[float, float]]) -> Element:
        item = self._struct("rdf:li")
        outline = item.appendChild(self._struct("Iptc4xmpExt:RegionBoundary"))
        self._add(outline, "Iptc4xmpExt:rbShape", "polygon" if corners else "rectangle")
        self._add(outline, "Iptc4xmpExt:rbUnit", "relative")
        if corners:
            vertices = outline.appendChild(self._element("Iptc4xmpExt:rbVertices"))
            seq = vertices.appendChild(self._element("rdf:Seq"))
            for x, y in corners:
                point = seq.appendChild(self._struct("rdf:li"))
                self._add(point, "Iptc4xmpExt:rbX", f"{x:.6f}")
                self._add(point, "Iptc4xmpExt:rbY", f"{y:.6f}")
        else:
            for side, value in zip("XYWH", region.box, strict=True):
                self._add(outline, f"Iptc4xmpExt:rb{side}", f"{value:.6f}")
        self._add(item, "Iptc4xmpExt:rId", f"{REGION}{region.region_id}")
        self._list(item.appendChild(self._element("Iptc4xmpExt:Name")), "Alt", [xml_text(region.tag.label)])
        if region.tag.iri:
            kinds = item.appendChild(self._element("Iptc4xmpExt:rCtype")).appendChild(
                self._element("rdf:Bag")
            )
            entity = kinds.appendChild(self._struct("rdf:li"))
            self._list(
                entity.appendChild(self._element("Iptc4xmpExt:Name")), "Alt", [xml_text(region.tag.label)]
            )
            self._list(entity.appendChild(self._element("xmp:Identifier")), "Bag", [xml_text(region.tag.iri)])
        return item

    # ---- properties

    def _find(self, name: str) -> Element | None:
        found = (child for description in self._descriptions for child in _children(description, name))
        return next(found, None)

    def _items(self, name: str) -> list[str]:
        element = self._find(name)
        if element is None:
            return []
        items = [_text_of(item) for item in _descendants(element, "rdf:li")]
        return items or [text for text in [_text_of(element).strip()] if text]

    def _text(self, name: str) -> str:
        """Of a property that is a text, or alternatives of one: in the default language, else the first."""
        prefix, _, local = name.partition(":")
        for description in self._descriptions:
            if description.hasAttributeNS(NAMESPACES[prefix], local):
                return str(description.getAttributeNS(NAMESPACES[prefix], local))
        items = self._items(name)
        return items[0] if items else ""

    def _set_items(self, name: str, kind: str, items: Sequence[str]) -> None:
        element = self._find(name)
        if element is None:
            if items:
                self._list(self._append(name), kind, items)
            return
        if not items:
            self._remove(name)
            return
        container = next((c for c in element.childNodes if c.nodeType == Node.ELEMENT_NODE), None)
        kind = (
            container.localName
            if container is not None and container.localName in ("Bag", "Seq", "Alt")
            else kind
        )
        while element.firstChild:
            element.removeChild(element.firstChild)
        self._list(element, kind, items)

    def _list(self, parent: Element, kind: str, items: Sequence[str]) -> None:
        container = parent.appendChild(self._element(f"rdf:{kind}"))
        for text in items:
            item = self._add(container, "rdf:li", text)
            if kind == "Alt":
                item.setAttributeNS(_XML, "xml:lang", "x-default")

    def _add(self, parent: Element, name: str, text: str) -> Element:
        element = self._element(name)
        element.appendChild(self._document.createTextNode(text))
        parent.appendChild(element)
        return element

    def _append(self, name: str) -> Element:
        element = self._element(name)
        self._descriptions[0].appendChild(element)
        return element

    def _remove(self, name: str) -> None:
        prefix, _, local = name.partition(":")
        for description in self._descriptions:
            for child in list(_children(description, name)):
                description.removeChild(child)
            if description.hasAttributeNS(NAMESPACES[prefix], local):
                description.removeAttributeNS(NAMESPACES[prefix], local)

    def _struct(self, name: str) -> Element:
        element = self._element(name)
        element.setAttributeNS(NAMESPACES["rdf"], "rdf:parseType", "Resource")
        return element

    def _element(self, name: str) -> Element:
        return self._document.createElementNS(NAMESPACES[name.partition(":")[0]], name)


def _make_writable(element: Element, scope: Mapping[str, str]) -> None:
    """Declare the prefixes that are not, since a foreign file may have others, and let no white space be lost."""
    attributes = list(element.attributes.values()) if element.hasAttributes() else []
    if declared := {a.localName: a.value for a in attributes if a.prefix == "xmlns"}:
        scope = {**scope, **declared}
    for node in (element, *attributes):
        prefix, uri = node.prefix, node.namespaceURI or ""
        if prefix and prefix not in ("xml", "xmlns") and scope.get(prefix) != uri:
            element.setAttributeNS(XMLNS_NAMESPACE, f"xmlns:{prefix}", uri)
            scope = {**scope, prefix: uri}
    for attribute in attributes:
        if not attribute.value.isprintable():
            for character, stand_in in _STAND_INS.items():
                attribute.value = attribute.value.replace(character, stand_in)
    for child in element.childNodes:
        if isinstance(child, Element):
            _make_writable(child, scope)
        elif isinstance(child, Text) and "\r" in child.data:
            child.data = child.data.replace("\r", _STAND_INS["\r"])


def _prefix_of_rdf(root: Element) -> str:
    return root.prefix or "rdf"


def _children(parent: Element | None, name: str) -> Iterator[Element]:
    prefix, _, local = name.partition(":")
    # exiftool ends Microsoft's namespace without the slash that Windows and exiv2 write
    wanted = (NAMESPACES[prefix].rstrip("/"), local)
    for child in parent.childNodes if parent else ():
        if isinstance(child, Element) and ((child.namespaceURI or "").rstrip("/"), child.localName) == wanted:
            yield child


def _descendants(parent: Element, name: str) -> Sequence[Element]:
    prefix, _, local = name.partition(":")
    return parent.getElementsByTagNameNS(NAMESPACES[prefix], local)


def _text_of(element: Element | None) -> str:
    """CDATA too, which is a kind of text."""
    return "".join(c.data for c in element.childNodes if isinstance(c, Text)) if element else ""
