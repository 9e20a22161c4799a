"""Texts of strangers in XML: what the format cannot hold at all is left out."""

from __future__ import annotations

import re

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def xml_text(text: str) -> str:
    """Text without the characters that XML 1.0 does not allow, even escaped."""
    return _NO_XML.sub("", text)
