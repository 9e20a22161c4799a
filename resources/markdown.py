"""Markdown from words of pictures, models and strangers: they stay words, and cannot break a table."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from resources.text import printable


def plain_text(text: str) -> str:
    """Text that Markdown and HTML leave alone, on one line of printable characters; no address in it becomes a link."""
    plain = html.escape(printable(" ".join(text.split())), quote=False)
    return re.sub(r"[\\`*_{}\[\]()#+!|~@-]|:(?=//)|(?<=www)\.", r"\\\g<0>", plain)


def as_words(markdown: str) -> str:
    """What `plain_text` was made of, for where Markdown is not read."""
    return html.unescape(re.sub(r"\\([\\`*_{}\[\]()#+!|~@:.-])", r"\1", markdown))


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already: no bare bar, on one line."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
