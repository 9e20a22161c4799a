"""The one policy under which templates become pages: what strangers wrote is escaped, and a name that is not there is told."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_templates(package: str, folder: str = "") -> Environment:
    """The templates of a package, or of a folder in it, for its filters and globals to be added."""
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
