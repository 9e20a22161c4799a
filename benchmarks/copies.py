"""How many made copies of a home's images are found to be near-duplicates, and how many distinct images are taken for them.

python -m benchmarks.copies --home .vistag
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from resources.home import Home
from resources.images import open_proxy, perceptual_hash
from resources.lake import embedding_matrix
from resources.workspace import open_workspace
from vistag_assets.lineage import column_by_id
from vistag_assets.search.duplicates import are_copies, hash_bits

Copy = Callable[[Image.Image], Image.Image]


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    """A tenth less wide and high."""
    x, y = image.width // 20, image.height // 20
    return image.crop((x, y, image.width - x, image.height - y))


def grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def watermarked(image: Image.Image) -> Image.Image:
    """A light plate with a line of text over a twentieth of it."""
    copy, (width, height) = image.copy(), image.size
    draw = ImageDraw.Draw(copy, "RGBA")
    draw.rectangle((0.55 * width, 0.85 * height, 0.98 * width, 0.96 * height), fill=(255, 255, 255, 150))
    text_px = max(12, height // 22)
    draw.text((0.6 * width, 0.88 * height), "© ARCHIVE SAMPLE", fill=(0, 0, 0, 220), font_size=text_px)
    return copy


COPIES: Mapping[str, Copy] = {
    "resized to half": resized,
    "recompressed, JPEG quality 30": recompressed,
    "cropped by 10 %": cropped,
    "grey": grey,
    "watermarked": watermarked,
}


def measured(home: Home, every: int) -> tuple[dict[str, float], int, int]:
    """Kind of copy -> share that is found, of one image in `every`; of all pairs of distinct images those that are taken
    for copies, and how many pairs there are.
    """
    workspace = open_workspace(home)
    lake, thresholds = workspace.lake, workspace.tier.search.duplicates
    stored = lake.read_all("global_embeddings", ["id", "embedding"])
    ids, vectors = stored["id"].to_pylist(), embedding_matrix(stored["embedding"])
    hash_of = column_by_id(lake.read_all("images", ["id", "phash"]), "phash")
    path_of = column_by_id(lake.read_all("proxies", ["id", "path"]), "path")
    hashes = np.array([hash_of[id_] for id_ in ids], np.uint64)
    originals = [open_proxy(home.root, path_of[id_]) for id_ in ids[::every]]
    shares = {}
    for kind, copy in COPIES.items():
        copies = [copy(image) for image in originals]
        cosines = (workspace.encoder.embed_images(copies) * vectors[::every]).sum(axis=1)
        bits = hash_bits(np.array([perceptual_hash(image) for image in copies], np.uint64), hashes[::every])
        shares[kind] = float(are_copies(cosines, bits, thresholds).mean())
    one, other = np.triu_indices(len(ids), 1)
    false = are_copies((vectors @ vectors.T)[one, other], hash_bits(hashes[one], hashes[other]), thresholds)
    return shares, int(false.sum()), len(one)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="else $VISTAG_HOME, else ./.vistag")
    parser.add_argument("--every", type=int, default=10, help="copies are made of one image in so many")
    given = parser.parse_args()
    shares, false, pairs = measured(Home.resolve(given.home), given.every)
    print("| copy | found |\n|---|---|")
    for kind, share in shares.items():
        print(f"| {kind} | {share:.2f} |")
    print(f"\n{false:,} of {pairs:,} pairs of distinct images are taken for copies.")


if __name__ == "__main__":
    main()
