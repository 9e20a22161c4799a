"""A pool of rendered scenes on disk that training draws its batches from, so that rendering never waits for it."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.world.render import render
from demo.world.scene import SceneSampler, SceneSpec, Split, drawable_concepts

IMAGE_PX = 176
OWNER_PX = 44
MAX_THINGS = 5
RENDER_PX = 288
CHUNK = 250


@dataclass(frozen=True, slots=True)
class PoolRecipe:
    """Which scenes are in a pool: `count` of them; every `closeup_every`-th shows one large object alone."""

    split: Split
    count: int
    flatness: float
    closeup_every: int = 0

    def scene(self, index: int) -> SceneSpec:
        sampler = SceneSampler(self.split, self.flatness)
        closeup = self.closeup_every and index % self.closeup_every == 0
        return sampler.scene(index, (1.0, 0.0, 0.0)) if closeup else sampler.scene(index)


@dataclass(frozen=True, slots=True)
class Pool:
    """Rendered scenes, memory-mapped.

    images: uint8 [n, IMAGE_PX, IMAGE_PX, 3], squashed to a square as the encoder's processor does.
    owners: uint8 [n, OWNER_PX, OWNER_PX]: 0 is background, i is the i-th thing.
    things: bool [n, MAX_THINGS, concepts]: the concepts of each thing.
    tags: bool [n, concepts]: all concepts of the scene, setting and light too.
    """

    recipe: PoolRecipe
    images: NDArray[np.uint8]
    owners: NDArray[np.uint8]
    things: NDArray[np.bool_]
    tags: NDArray[np.bool_]


def _shapes(count: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    concepts = len(drawable_concepts())
    return {
        "images": (np.uint8, (count, IMAGE_PX, IMAGE_PX, 3)),
        "owners": (np.uint8, (count, OWNER_PX, OWNER_PX)),
        "things": (np.bool_, (count, MAX_THINGS, concepts)),
        "tags": (np.bool_, (count, concepts)),
    }


def _render_chunk(folder: Path, recipe: PoolRecipe, start: int) -> None:
    cv2.setNumThreads(1)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _shapes(recipe.count)}
    column = {c: i for i, c in enumerate(drawable_concepts())}
    for index in range(start, min(start + CHUNK, recipe.count)):
        scene = recipe.scene(index)
        picture = render(scene, RENDER_PX)
        arrays["images"][index] = cv2.resize(
            picture.pixels, (IMAGE_PX, IMAGE_PX), interpolation=cv2.INTER_AREA
        )
        owner = np.zeros(picture.pixels.shape[:2], np.uint8)
        for number, thing in enumerate(picture.instances):
            owner[thing.mask] = number + 1
            arrays["things"][index, number, [column[c] for c in thing.concepts]] = True
        arrays["owners"][index] = cv2.resize(owner, (OWNER_PX, OWNER_PX), interpolation=cv2.INTER_NEAREST)
        arrays["tags"][index, [column[c] for c in scene.tags]] = True


def build_pool(folder: Path, recipe: PoolRecipe, workers: int = 2) -> Pool:
    """Render `recipe` into `folder`, or open what is already there."""
    done = folder / "recipe.json"
    wanted = json.dumps(
        [int(recipe.split), recipe.count, recipe.flatness, recipe.closeup_every, drawable_concepts()]
    )
    if not (done.exists() and done.read_text() == wanted):
        folder.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        for name, (dtype, shape) in _shapes(recipe.count).items():
            np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape).flush()
        starts = range(0, recipe.count, CHUNK)
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as executor:
            jobs = [executor.submit(_render_chunk, folder, recipe, start) for start in starts]
            for number, job in enumerate(jobs, start=1):
                job.result()
                print(
                    f"\rrendered {min(number * CHUNK, recipe.count):,} of {recipe.count:,} scenes",
                    end="",
                    flush=True,
                )
        print()
        done.write_text(wanted)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _shapes(recipe.count)}
    return Pool(recipe, **arrays)
