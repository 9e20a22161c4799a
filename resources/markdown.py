"""Words of pictures, models and strangers in Markdown: they stay words."""

import html
import re


def plain_text(text: str) -> str:
    """Text that Markdown and HTML leave alone, on one line; no address in it becomes a link."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"[\\`*_{}\[\]()#+!|~@-]|:(?=//)|(?<=www)\.", r"\\\g<0>", plain)
