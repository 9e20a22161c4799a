"""What a text quotes, against the lines that were read in the picture: reading is the better witness of the two."""

import difflib
import re
from collections.abc import Sequence

_QUOTED = re.compile(r"(?<!\w)['‘“]([^'‘’“”\"]{2,80})['’”](?!\w)")


def requoted(text: str, lines: Sequence[str]) -> str:
    """`text` with every quotation that was not read replaced by the line most like it; as it is without lines."""

    def read(match: re.Match[str]) -> str:
        quoted = match.group(1)
        if not lines or any(_plain(quoted) == _plain(line) for line in lines):
            return match.group(0)
        likest = max(
            lines, key=lambda line: difflib.SequenceMatcher(None, _plain(quoted), _plain(line)).ratio()
        )
        return match.group(0).replace(quoted, likest.replace("'", "’").replace('"', ""))

    return _QUOTED.sub(read, text)


def _plain(text: str) -> str:
    """Letters and digits alone, in capitals."""
    return "".join(c for c in text.upper() if c.isalnum())
