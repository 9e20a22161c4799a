"""A pool of rendered scenes on disk that training draws its batches from, so that rendering never waits for it."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.world.render import render
from demo.world.scene import LIGHTINGS, SETTINGS, SceneSampler, SceneSpec, Split, drawable_concepts
from taxonomy import Taxonomy

IMAGE_PX = 176
OWNER_PX = 44
MAX_THINGS = 5
RENDER_PX = 288
CHUNK = 250


@dataclass(frozen=True, slots=True)
class PoolRecipe:
    """Which scenes are in a pool: `count` of them; every `closeup_every`-th shows one large object alone.

    Each is kept as a square of `image_px`: squashed, or `padded` with black on the right or below.
    """

    split: Split
    count: int
    flatness: float
    closeup_every: int = 0
    image_px: int = IMAGE_PX
    owner_px: int = OWNER_PX
    padded: bool = False

    def scene(self, index: int) -> SceneSpec:
        sampler = SceneSampler(self.split, self.flatness)
        closeup = self.closeup_every and index % self.closeup_every == 0
        return sampler.scene(index, (1.0, 0.0, 0.0)) if closeup else sampler.scene(index)


@dataclass(frozen=True, slots=True)
class Pool:
    """Rendered scenes, memory-mapped.

    images: uint8 [n, image_px, image_px, 3].
    owners: uint8 [n, owner_px, owner_px]: 0 is background, i is the i-th thing.
    things: bool [n, MAX_THINGS, concepts]: the concepts of each thing.
    tags: bool [n, concepts]: all concepts of the scene, setting and light too.
    """

    recipe: PoolRecipe
    images: NDArray[np.uint8]
    owners: NDArray[np.uint8]
    things: NDArray[np.bool_]
    tags: NDArray[np.bool_]


def build_pools(
    folder: Path, recipe: Any, workers: int, closeup_every: int = 0, **layout: Any
) -> tuple[Pool, Pool]:
    """The scenes that a training learns from, by its recipe, and those that it is checked on, kept by `layout`."""
    learned = PoolRecipe(Split.TRAIN, recipe.train_scenes, recipe.flatness, closeup_every, **layout)
    checked = PoolRecipe(Split.VALIDATE, recipe.validate_scenes, 0.0, **layout)
    return build_pool(folder / "train", learned, workers), build_pool(folder / "validate", checked, workers)


def dense_columns() -> list[int]:
    """The columns of the concepts that a thing can have: of all but settings and lights."""
    return [i for i, c in enumerate(drawable_concepts()) if c not in {*SETTINGS, *LIGHTINGS}]


def all_concepts(taxonomy: Taxonomy) -> list[str]:
    """Those that can be drawn, in the order of a pool's columns, then the others."""
    drawable = list(drawable_concepts())
    return drawable + [c.id for c in taxonomy.concepts if c.id not in set(drawable)]


def _shapes(recipe: PoolRecipe) -> dict[str, tuple[type, tuple[int, ...]]]:
    concepts, count = len(drawable_concepts()), recipe.count
    return {
        "images": (np.uint8, (count, recipe.image_px, recipe.image_px, 3)),
        "owners": (np.uint8, (count, recipe.owner_px, recipe.owner_px)),
        "things": (np.bool_, (count, MAX_THINGS, concepts)),
        "tags": (np.bool_, (count, concepts)),
    }


def padded_square(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[h, w, ...] with zeros on the right or below, so that it is as high as wide."""
    side = max(array.shape[:2])
    square = np.zeros((side, side, *array.shape[2:]), np.uint8)
    square[: array.shape[0], : array.shape[1]] = array
    return square


def _render_chunk(folder: Path, recipe: PoolRecipe, start: int) -> None:
    cv2.setNumThreads(1)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _shapes(recipe)}
    column = {c: i for i, c in enumerate(drawable_concepts())}
    for index in range(start, min(start + CHUNK, recipe.count)):
        scene = recipe.scene(index)
        picture = render(scene, RENDER_PX)
        pixels = padded_square(picture.pixels) if recipe.padded else picture.pixels
        arrays["images"][index] = cv2.resize(
            pixels, (recipe.image_px, recipe.image_px), interpolation=cv2.INTER_AREA
        )
        owner = np.zeros(picture.pixels.shape[:2], np.uint8)
        for number, thing in enumerate(picture.instances):
            owner[thing.mask] = number + 1
            arrays["things"][index, number, [column[c] for c in thing.concepts]] = True
        owner = padded_square(owner) if recipe.padded else owner
        arrays["owners"][index] = cv2.resize(
            owner, (recipe.owner_px, recipe.owner_px), interpolation=cv2.INTER_NEAREST
        )
        arrays["tags"][index, [column[c] for c in scene.tags]] = True


def build_pool(folder: Path, recipe: PoolRecipe, workers: int = 2) -> Pool:
    """Render `recipe` into `folder`, or open what is already there."""
    done = folder / "recipe.json"
    wanted = json.dumps([*astuple(recipe), drawable_concepts()])
    if not (done.exists() and done.read_text() == wanted):
        folder.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        for name, (dtype, shape) in _shapes(recipe).items():
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
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _shapes(recipe)}
    return Pool(recipe, **arrays)
