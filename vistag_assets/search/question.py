"""What is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from PIL import Image

from resources.decisions.event import Box

Within = Literal["images", "regions", "both"]
ANY_FLAG = "any"


class SearchError(ValueError):
    """A query that cannot be answered; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: words, a picture or a part of one, something in the lake, or several of these."""

    text: str = ""
    without: tuple[str, ...] = ()
    """words for what is not to be there"""
    image: Image.Image | None = None
    """RGB, upright"""
    box: Box | None = None
    """the part of `image` that is meant; `examples.part_of` makes it of what people write"""
    like: str = ""
    """id of an image or a region in the lake"""
    text_weight: float = 0.5
    """of the words, 0..1, where there is a picture too"""
    within: Within | None = None
    """what is found; None: regions for a part of a picture, images for a picture, both for words"""
    top: int = 20
    folders: tuple[str, ...] = ()
    """keys"""
    tags: tuple[str, ...] = ()
    """concept ids or labels; all of them"""
    not_tags: tuple[str, ...] = ()
    state: Literal["human", "machine", "rejected", "review"] | None = None
    """of the tags `tags`, or of any"""
    flags: tuple[str, ...] = ()
    """names of rules of the policy that flag it, all of them; `ANY_FLAG`: whichever"""
    not_flags: tuple[str, ...] = ()
    since: date | None = None
    """when it was taken, or else when the file was changed"""
    min_score: float | None = None
    """None: the tier's"""
