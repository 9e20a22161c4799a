"""Text from outside, to be shown: names, labels, captions, answers and errors that quote them."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text that does nothing to a terminal: control characters, those that turn the direction of writing, and bytes
    that are no UTF-8 are written out.

    Line breaks and tabs stay; a name that is shown in one line goes through `one_line`.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(text: object) -> str:
    """Any text as one line of printable characters; file names may hold line breaks."""
    return printable(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def is_utf_8(text: str) -> bool:
    """Whether it can be written as UTF-8: it holds no half of a letter, and no byte that is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8, as os.fsdecode gives it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
