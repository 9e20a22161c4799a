"""What an evaluation is of: the ground truth and the tags that are compared with it."""

from __future__ import annotations

from resources.home import Home
from resources.object_store import Location

EVALUATED_STATE = "evaluated_state"
"""The metadata of `tag_recall` that say what it was of: the `state` of `evaluated_files`."""


def evaluated_files(home: Home, library: str | None) -> list[Location]:
    """The ground truth, and the tags of each folder of its library (None: of any), in a fixed order.

    Empty where there is no ground truth, or there are no tags to compare with it.
    """
    lake, truth = home.lake, home.ground_truth_path
    if not truth.is_file():
        return []
    tagged = set(lake.folders("tags"))
    if library is not None:
        tagged &= {folder.key for folder in home.folders() if folder.library == library}
    return [truth, *(lake.data_file("tags", key) for key in sorted(tagged))] if tagged else []
