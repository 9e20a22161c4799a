"""A table of made vectors as what an index is made of. Run as a script, this file is a writer that is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vistag_assets.search import segment
from vistag_assets.search.index import IDENTITY, Batch, MadeBy, Updated, update_index

DIMENSION = 32


class VectorsTable:
    """A source of made vectors: folder -> name of each image -> seed of its vector."""

    def __init__(self, folders: dict[str, dict[str, int]], encoder: str = "first") -> None:
        self.folders, self.made_by, self.was_read = folders, MadeBy(encoder, encoder, DIMENSION), list[str]()

    def states(self) -> dict[str, str]:
        return {key: repr(sorted(images.items())) for key, images in self.folders.items()}

    def read(self, folder: str) -> Batch:
        self.was_read.append(folder)
        images = self.folders[folder]
        rows = [(folder, id_, None, "image", str(seed)) for id_, seed in images.items()]
        schema = pa.schema([(name, pa.string()) for name in IDENTITY])
        columns = list(zip(*rows, strict=True)) or [()] * len(IDENTITY)
        return pa.table([pa.array(c, pa.string()) for c in columns], schema=schema), vectors(images.values())


def vectors(seeds: Iterable[int]) -> NDArray[np.float16]:
    made = [np.random.default_rng(seed).standard_normal(DIMENSION) for seed in seeds]
    matrix = np.array(made).reshape(-1, DIMENSION)
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float16)


def folder(start: int, count: int) -> dict[str, int]:
    return {f"{number:032x}": number for number in range(start, start + count)}


def update(root: Path, table: VectorsTable) -> Updated:
    return update_index(root / "index", table, root / "quarantine")


def die_at(moment: int, root: Path) -> None:
    """Kill this process at its so manieth call about a file below `root`."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event.startswith(("open", "os.", "shutil.")) and any(str(root) in str(each) for each in arguments):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


if __name__ == "__main__":
    segment.EXACT_BELOW = 300
    place = Path(sys.argv[1])
    die_at(int(sys.argv[2]), place)
    update(place, VectorsTable({"a": folder(0, 30), "b": folder(300, 400)}))
