"""Copies of images are grouped, within folders and across them, and the best of each group is the one to keep."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.copies import COPIES
from demo.world.render import render
from demo.world.scene import SceneSampler, Split
from resources.home import Home, Settings, write_settings
from resources.lake import UpdateStats
from resources.models.tiers import DuplicateThresholds
from resources.workspace import open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.progress import Meter
from vistag_assets.runs import find_library
from vistag_assets.search.duplicates import Picture, are_copies, groups, hash_bits
from vistag_assets.search.near_duplicates import find_near_duplicates, forget
from vistag_assets.search.updating import update

THRESHOLDS = DuplicateThresholds()


def test_groups_are_joined_over_any_number_of_pairs() -> None:
    assert groups([("d", "c"), ("a", "b"), ("b", "e"), ("f", "f")]) == [["a", "b", "e"], ["c", "d"], ["f"]]


def test_the_further_hashes_are_apart_the_closer_vectors_have_to_be() -> None:
    bits = np.array([0, 4, 5, 10, 10, 26, 27])
    cosines = np.array([-1, 0, 0.5, 0.74, 0.76, 0.995, 1], np.float32)
    assert are_copies(cosines, bits, THRESHOLDS).tolist() == [True, True, False, False, True, True, False]


def test_a_hash_of_one_colour_says_nothing() -> None:
    flat, half, near = 0, int("01" * 32, 2), int("01" * 31 + "00", 2)
    found = hash_bits(np.array([flat, half, half], np.uint64), np.array([flat, near, flat], np.uint64))
    assert found.tolist() == [24, 1, 32]


def test_most_pixels_then_most_bytes_then_the_earliest_are_kept() -> None:
    best = Picture(100, 50, 10.0, "a")
    others = [
        Picture(90, 99, 1.0, "a"),
        Picture(100, 40, 1.0, "a"),
        Picture(100, 50, 11.0, "a"),
        Picture(100, 50, 10.0, "b"),
    ]
    assert min([*others, best], key=lambda picture: picture.worth) == best


# ---- on drawings of the demo


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Six drawings in the folder a, copies of the first four of each kind in b, and of one file a second name's copy in c."""
    root = tmp_path_factory.mktemp("copies")
    library = root / "library"
    for number in range(6):
        picture = render(SceneSampler(Split.CORPUS).scene(number), 512).pixels
        original = Image.fromarray(picture)
        for folder in "abc":
            (library / folder).mkdir(parents=True, exist_ok=True)
        original.save(library / "a" / f"{number}.jpg", quality=97)
        for kind, copy in COPIES.items() if number < 4 else ():
            copy(original).save(library / "b" / f"{number} {kind}.jpg", quality=85)
    shutil.copy(library / "a" / "5.jpg", library / "c" / "again.jpg")
    home = Home(root / "home")
    write_settings(home, Settings(tier="demo"))
    follow(home, library)
    return home


def follow(home: Home, library: Path) -> UpdateStats:
    """What a run does up to the near-duplicates, without the stages that they do not need."""
    folders = find_library(library, "lib", home)
    home.register(*folders)
    workspace = open_workspace(home)
    for folder in folders:
        ingest_files(workspace, folder, Meter("reading"))
        update_table("global_embeddings", workspace, folder.key)
    update(workspace, "image_index")
    return find_near_duplicates(workspace, Meter("comparing"))


def found(home: Home) -> dict[str, list[dict[str, Any]]]:
    """Path of what is to be kept -> the rows of its group."""
    rows = home.lake.read("near_duplicates").to_pylist()
    kept = {row["group_id"]: row["path"] for row in rows if row["keep"]}
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_group.setdefault(kept[row["group_id"]], []).append(row)
    return by_group


@pytest.mark.slow
def test_made_copies_are_found_and_originals_kept(home: Home) -> None:
    groups_found = found(home)
    for number in range(4):
        copies = {row["path"] for row in groups_found[f"a/{number}.jpg"]}
        kinds = {kind for kind in COPIES if f"b/{number} {kind}.jpg" in copies}
        assert {"resized to half", "recompressed, JPEG quality 30", "grey"} <= kinds
        assert {path.split("/")[1][0] for path in copies} == {str(number)}  # and nothing else
    assert [row["path"] for row in groups_found["a/5.jpg"]] == ["a/5.jpg", "c/again.jpg"]
    assert "a/4.jpg" not in groups_found
    assert all(sum(row["keep"] for row in rows) == 1 for rows in groups_found.values())


@pytest.mark.slow
def test_only_what_is_new_is_compared_and_what_is_gone_leaves_its_group(home: Home) -> None:
    library = home.folders()[0].directory.parent
    assert follow(home, library).computed == 0
    shutil.copy(library / "b" / "1 grey.jpg", library / "c" / "grey.jpg")
    Image.open(library / "a" / "4.jpg").save(library / "c" / "four.webp", lossless=True)
    (library / "b" / "0 grey.jpg").unlink()
    stats = follow(home, library)
    assert 1 < stats.computed < 8  # the new content, and what was in the group of what is gone
    groups_found = found(home)
    assert "b/0 grey.jpg" not in {row["path"] for row in groups_found["a/0.jpg"]}
    assert {row["path"] for row in groups_found["a/1.jpg"]} >= {"b/1 grey.jpg", "c/grey.jpg"}
    assert {row["path"] for rows in groups_found.values() for row in rows} >= {"a/4.jpg", "c/four.webp"}

    forget(home.lake, [folder.key for folder in home.folders() if folder.relative == "c"])
    assert "c" not in {row["path"][0] for rows in found(home).values() for row in rows}
    follow(home, library)
    assert {row["path"] for row in found(home)["a/5.jpg"]} == {"a/5.jpg", "c/again.jpg"}
