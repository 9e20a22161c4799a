"""Names of XMP, and how vistag says in a packet which of its content is vistag's."""

import hashlib

NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "x": "adobe:ns:meta/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "mwg-kw": "http://www.metadataworkinggroup.com/schemas/keywords/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "vistag": "urn:x-vistag:xmp/1.0/",
}
OURS = "vistag:ours"
"""The list of what is vistag's: `dc:subject bowl` of a keyword, `dc:title #<digest>` of a text."""
_DIGITS = 16


def own_keyword(name: str, keyword: str) -> str:
    """What `OURS` says where that keyword of that property is vistag's."""
    return f"{name} {keyword}"


def own_text(name: str, text: str) -> str:
    """What `OURS` says where that text is vistag's, and nobody has changed it."""
    return f"{name} #{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGITS]}"
