"""A home with a tiny tier, and a library of two folders with a file that is no image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from resources.home import Home, Settings, write_settings
from vistag_assets.runs import TagOutcome, find_library, tag_folders

VOCABULARY = """id,pref_label,alt_labels,facet,broader,definition
vessel,vessel,,object,,
vase,vase,flower vase,object,vessel,
bowl,bowl,,object,vessel,
bronze,bronze,,material,,
"""


def tiny_home(root: Path, checkpoint: Path) -> Home:
    """`root/home`, `root/library` with the folders a and b of five images each; nothing is tagged yet."""
    home = Home(root / "home")
    home.root.mkdir(mode=0o700)
    (root / "vocabulary.csv").write_text(VOCABULARY)
    use_tier(home, root, checkpoint)
    draw_library(root)
    return home


def draw_library(root: Path) -> Path:
    library = root / "library"
    for number in range(5):
        draw(library / "a" / f"{number}.png", seed=number)
        draw(library / "b" / f"{number}.png", seed=100 + number)
    (library / "b" / "broken.jpg").write_text("no image")
    return library


def use_tier(home: Home, folder: Path, checkpoint: Path, **changes: object) -> None:
    encoder = {"family": "siglip", "model": str(checkpoint), "batch_size": 64, "licence": "own"}
    tier = {"description": "tiny", "device": "cpu", "encoder": encoder, "keep_top": 3} | changes
    (folder / "tiny.yaml").write_text(json.dumps(tier))  # JSON is YAML
    write_settings(home, Settings(tier=str(folder / "tiny.yaml"), taxonomy=str(folder / "vocabulary.csv")))


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def tag(home: Home, library: Path) -> TagOutcome:
    return tag_folders(home, find_library(library, "lib", home), watcher=lambda stage, done, total: None)
