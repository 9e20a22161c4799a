"""Words as strangers may write them, where they are shown, and what they must not do there."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

from markdown_it import MarkdownIt

REMOTE = "http://127.0.0.1:1/picture.png"
WORDS = (
    "bowl [/] blue",
    "[folding] chair :smile:",
    "[link=http://127.0.0.1:1]x[/link]",
    "a\x1b[2J\x1b[31mred",
    "a\x1b]0;title\x07b\x1b]8;;http://127.0.0.1:1\x1b\\c",
    "a\x9b31mb\x9d0;t\x9c\x7f\x08",
    "first\nsecond\rthird\ttab",
    "gpj.\u202eexe\u2066\u200f",
    f"<script>alert(1)</script><img src={REMOTE} onerror=alert(1)>",
    f"![x]({REMOTE}) [y](javascript:alert(1)) <{REMOTE}> `z` | {REMOTE}",
    "{{ 7 * 7 }} {% raw %} %s %(name)s {0}",
    "'; drop table images; --",
    "x" * 20_000,
)
"""As text of UTF-8."""
BYTES = ("caf\udce9", "\udcff\udcfe[/]\x1b[2J")
"""Names of files, which need be no UTF-8, as os.fsdecode gives them."""
SURROGATES = ("a \ud800 b", "\udfff")
"""What JSON can say, and no encoding."""
ALL = " ".join(WORDS[:-1])


def file_name(words: str) -> str:
    """The words as a name of a file can have them."""
    return words.replace("/", "\u2215")[:80]


def controls(text: str) -> set[str]:
    """The characters that do something to a terminal, other than line breaks and tabs."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"}


class _Loaded(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "data", "action"):
                self.addresses.append(value or "")


def elements(page: str) -> list[str]:
    """The elements of a page, none of which may load, lead to, or run anything of a stranger's."""
    parser = _Loaded()
    parser.feed(page)
    assert not [found for found in parser.addresses if "127.0.0.1" in found or found.startswith("javascript")]
    return parser.elements


def harmless_markdown(text: str) -> None:
    """Markdown that loads nothing, leads nowhere and holds no HTML; pictures of its own carry their data."""
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        for token in (block, *(block.children or ())):
            assert token.type not in ("link_open", "html_inline", "html_block", "code_inline"), token.content[
                :200
            ]
            source = str(token.attrGet("src") or "data:image/")
            assert source.startswith("data:image/"), source
