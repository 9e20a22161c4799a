"""The demo corpus: folders of JPEG photographs with EXIF, and their ground truth in the manner of LVIS."""

import errno
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from demo.world.captions import caption
from demo.world.hard.world import HARD, VOCABULARY, hard_taxonomy
from demo.world.render import Instance, render
from demo.world.scene import STANDARD, SceneSampler, SceneSpec, Split, World
from taxonomy import Taxonomy, starter_taxonomy

LONGER_SIDE_PX = 1024
JPEG_QUALITY = 90
FIRST_YEAR = 2019
CHUNK = 10
PARTS = ("images", "annotations", "image_tags", "captions", "texts")
"""of the ground truth"""
ROTATED_FOR_VIEWING = 6
"""EXIF orientation of a camera held upright: the stored pixels lie on their side."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One that `vistag demo` draws."""

    folder: str
    """of the home; the name of its library"""
    split: Split
    images: int
    longer_side_px: int
    vocabulary: str
    """as `vistag run --taxonomy` takes it"""


CORPORA = {
    "standard": Corpus("demo", Split.CORPUS, 300, LONGER_SIDE_PX, "starter"),
    "hard": Corpus("demo-hard", Split.HARD, 2000, 640, str(VOCABULARY)),
}


@dataclass(frozen=True, slots=True)
class CorpusRecipe:
    """Which scenes the corpus shows: numbers `seed` * 1,000,000 onwards of its split."""

    images: int
    folders: int
    seed: int
    split: Split = Split.CORPUS
    longer_side_px: int = LONGER_SIDE_PX

    @property
    def world(self) -> World:
        return HARD if self.split is Split.HARD else STANDARD

    @property
    def taxonomy(self) -> Taxonomy:
        return hard_taxonomy() if self.split is Split.HARD else starter_taxonomy()

    def scene(self, number: int) -> SceneSpec:
        return SceneSampler(self.split, world=self.world).scene(self.seed * 1_000_000 + number)

    def file_name(self, number: int) -> str:
        """Relative to the library, posix."""
        year = FIRST_YEAR + number * self.folders // self.images
        return f"accessions-{year}/{year}-{number:04d}.jpg"


def drawn_images(out_dir: Path) -> int | None:
    """How many images the corpus there has; None where none was finished."""
    truth = out_dir / "ground_truth.json"
    return len(json.loads(truth.read_text())["images"]) if truth.exists() else None


def make_corpus(
    out_dir: Path,
    images: int = 600,
    folders: int = 6,
    seed: int = 0,
    split: Split = Split.CORPUS,
    longer_side_px: int = LONGER_SIDE_PX,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `out_dir`/library/<folders>/*.jpg and, last of all, `out_dir`/ground_truth.json.

    Does nothing if the same corpus is there already. `on_progress` gets (done, total) in images. Raises
    FileExistsError where pictures of another corpus are there.
    """
    recipe = CorpusRecipe(images, folders, seed, split, longer_side_px)
    truth_path = out_dir / "ground_truth.json"
    description = (
        f"vistag demo world, split {split.name.lower()}, seed {seed}, {images} images in {folders} folders"
    )
    if longer_side_px != LONGER_SIDE_PX:
        description += f", {longer_side_px} px"
    if truth_path.exists() and json.loads(truth_path.read_text())["info"]["description"] == description:
        return
    library = out_dir / "library"
    own = {library / recipe.file_name(number) for number in range(images)}
    if not own.issuperset(library.rglob("*.jpg")):
        raise FileExistsError(
            errno.EEXIST, "the corpus there has another number of images: name another home", str(library)
        )
    truth_path.unlink(missing_ok=True)
    columns = {concept: number for number, concept in enumerate(recipe.world.drawable, start=1)}
    truth: dict[str, list[Any]] = {part: [] for part in PARTS}
    with ProcessPoolExecutor(workers or os.cpu_count(), multiprocessing.get_context("spawn")) as executor:
        starts = range(0, images, CHUNK)
        jobs = [
            executor.submit(_draw, library, recipe, range(s, min(s + CHUNK, images)), columns) for s in starts
        ]
        for job in jobs:
            for part, entries in job.result().items():
                truth[part].extend(entries)
            if on_progress:
                on_progress(len(truth["images"]), images)
    for number, annotation in enumerate(truth["annotations"], start=1):
        annotation["id"] = number
    info = {"description": description, "split": split.name, "seed": seed}
    complete = {"info": info, "categories": _categories(truth, columns, recipe.taxonomy), **truth}
    part_path = truth_path.with_suffix(".part")
    part_path.write_text(json.dumps(complete))
    part_path.replace(truth_path)


def _draw(
    library: Path, recipe: CorpusRecipe, numbers: range, columns: dict[str, int]
) -> dict[str, list[Any]]:
    """Render some images to disk and return their part of the ground truth."""
    cv2.setNumThreads(1)
    taxonomy = recipe.taxonomy
    truth: dict[str, list[Any]] = {part: [] for part in PARTS}
    for number in numbers:
        scene, image_id = recipe.scene(number), number + 1
        picture = render(scene, recipe.longer_side_px)
        path = library / recipe.file_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        _save_photograph(picture.pixels, path, number)
        height, width = picture.pixels.shape[:2]
        truth["images"].append(
            {
                "id": image_id,
                "file_name": recipe.file_name(number),
                "width": width,
                "height": height,
                "neg_category_ids": [
                    category for concept, category in columns.items() if concept not in scene.tags
                ],
                "not_exhaustive_category_ids": [],
                "scene": scene.digest,
            }
        )
        for order, thing in enumerate(picture.instances):
            truth["annotations"].extend(_annotations(thing, image_id, image_id * 100 + order, columns))
            if thing.text:
                truth["texts"].append(
                    {"image_id": image_id, "bbox": list(thing.box_xywh), "text": thing.text}
                )
        whole = [c for c in (scene.setting, scene.lighting) if c]
        truth["image_tags"].extend({"image_id": image_id, "category_id": columns[c]} for c in whole)
        truth["captions"].append({"image_id": image_id, "caption": caption(scene, taxonomy)})
    return truth


def _annotations(
    thing: Instance, image_id: int, instance_id: int, columns: dict[str, int]
) -> list[dict[str, Any]]:
    """One annotation a concept of the thing, all with its box and mask; `instance_id` ties them together."""
    encoded = coco_mask.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
    segmentation = {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}
    return [
        {
            "image_id": image_id,
            "category_id": columns[concept],
            "instance_id": instance_id,
            "bbox": list(thing.box_xywh),
            "area": int(thing.mask.sum()),
            "segmentation": segmentation,
            "iscrowd": 0,
        }
        for concept in thing.concepts
    ]


def _save_photograph(pixels: np.ndarray, path: Path, number: int) -> None:
    """JPEG with a camera's EXIF; upright formats are stored on their side with an orientation, as cameras do."""
    upright = pixels.shape[0] > pixels.shape[1]
    image = Image.fromarray(np.rot90(pixels) if upright else pixels)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "vistag", "procedural camera"
    exif[0x0112] = ROTATED_FOR_VIEWING if upright else 1
    exif[0x8298] = "CC0-1.0"
    moment = f"{path.parent.name[-4:]}:{number % 12 + 1:02d}:{number % 28 + 1:02d} {9 + number % 8:02d}:{number % 60:02d}:00"
    exif.get_ifd(0x8769)[0x9003] = moment
    image.save(path, quality=JPEG_QUALITY, exif=exif)


def _categories(truth: dict[str, Any], columns: dict[str, int], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """LVIS categories: r(are) up to 10 images, c(ommon) up to 100, f(requent) above."""
    everything = truth["annotations"] + truth["image_tags"]
    instances = Counter(entry["category_id"] for entry in everything)
    images = Counter(c for _, c in {(entry["image_id"], entry["category_id"]) for entry in everything})
    return [
        {
            "id": category,
            "name": taxonomy.by_id[concept].pref_label,
            "concept_id": concept,
            "facet": taxonomy.by_id[concept].facet,
            "image_count": images[category],
            "instance_count": instances[category],
            "frequency": "r" if images[category] <= 10 else "c" if images[category] <= 100 else "f",
        }
        for concept, category in columns.items()
    ]
