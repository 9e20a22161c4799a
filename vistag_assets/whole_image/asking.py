"""What the assets that ask a vision-language model have in common: failures, figures of an answer, what Dagster shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.lake import Lake
from resources.models.vlms import Answer, Unanswered
from resources.models.vlms.tasks import Task
from resources.previews import Preview, preview
from vistag_assets.folder_asset import Folder
from vistag_assets.partitions import PREVIEWED_IMAGES

IMAGES_AT_ONCE = 64
Failed = dict[str, str]
"""Image id -> why the model did not answer."""
_UNASKED: Mapping[Task, str] = {
    "tags": "keywords are left out",
    "region": "regions have no captions",
    "description": "descriptions are made of the captions alone",
}
"""By a task that a model may not be able to do: what follows."""


def failed_of(ids: Sequence[str], answers: Sequence[Answer | Unanswered | None]) -> Failed:
    return {
        id_: answer.reason for id_, answer in zip(ids, answers, strict=True) if isinstance(answer, Unanswered)
    }


def figures_of(answer: Answer) -> dict[str, float | None]:
    """How sure the model was: columns of the tables of texts."""
    return {"mean_logprob": mean(answer.logprobs), "entropy": mean(answer.entropies)}


def mean(values: NDArray[np.float32]) -> float | None:
    return float(values.mean()) if len(values) else None


def about_vlm(task: Task) -> Callable[[Folder], dict[str, Any]]:
    """Metadata of a run that asks the VLM of the fast lane for a task, and, where it cannot do that, what follows."""

    def about(folder: Folder) -> dict[str, Any]:
        spec = folder.workspace.vlm.spec
        served = {"server": spec.server.url} if spec.engine == "openai" else {}
        known = {"engine": spec.engine, "beams": spec.beams, **served}
        if spec.question(task):
            return known
        return known | {
            "skipped": f"{spec.name} (family {spec.family}) has no way to ask for {task}: {_UNASKED[task]}. "
            "See docs/vlms.md"
        }

    return about


def preview_texts(table: str, *columns: str) -> Callable[[Folder], Preview]:
    """A preview of the first rows of a table of texts beside their images."""

    def shown(folder: Folder) -> Preview:
        first = folder.workspace.ranges_of(folder.key)[0]
        found = folder.lake.read(table, folder.key, ["id", *columns], first)
        rows = found.slice(0, PREVIEWED_IMAGES).to_pylist()
        pictures = folder.thumbnails({row["id"]: None for row in rows})
        return preview(
            ["image", *columns], [(pictures[row["id"]], *(row[c] for c in columns)) for row in rows]
        )

    return shown


def rows_of_all(lake: Lake, table: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of all folders; none where a tier without such a model left no table."""
    if lake.folders(table):
        yield from lake.read_all(table, columns, skip_damaged=True).to_pylist()
