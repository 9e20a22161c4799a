"""A report on disk: the page, the same as Markdown, and the figures as JSON, side by side."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.lake.files import replace_file


def write_report(page: Path, html: str, markdown: str, figures: Mapping[str, Any]) -> None:
    """Replace `page` and its neighbours .md and .json, each in one instant."""
    for path, text in (
        (page, html),
        (page.with_suffix(".md"), markdown),
        (page.with_suffix(".json"), json.dumps(figures, indent=2) + "\n"),
    ):
        with replace_file(path) as file:
            file.write(text.encode())
