"""Stages that are given a range of a folder's images at a time make the rows that they make of the whole folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from small_library import draw

from demo.world.render import render
from demo.world.scene import SceneSampler, Split
from resources.decisions import Event
from resources.home import Home, Settings, write_settings
from resources.lake import empty_ids, ranges
from resources.tables import PER_FOLDER_TABLES
from resources.workspace import Workspace, open_workspace
from vistag_assets.folder_asset import declared, update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.progress import Meter, watching
from vistag_assets.runs import find_library
from vistag_assets.whole_image.concept_embeddings import embed_concepts

KEY = "library"
IMAGES = 9


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of the demo, one of which lies there twice with other bytes, and one picture that nothing is known of."""
    root = tmp_path_factory.mktemp("ranges") / "library"
    root.mkdir()
    sampler = SceneSampler(Split.CORPUS)
    for number in range(IMAGES - 2):
        picture = Image.fromarray(render(sampler.scene(number), 256).pixels)
        picture.save(root / f"{number}.png")
        if number == 0:
            picture.save(root / "again.bmp")
    draw(root / "noise.png", 7)
    return root


def workspace_of(root: Path, library: Path) -> Workspace:
    home = Home(root)
    write_settings(home, Settings(tier="demo"))
    workspace = open_workspace(home)
    (folder,) = find_library(library, KEY, home)
    home.register(folder)
    ingest_files(workspace, folder, Meter("Reading"))
    embed_concepts(workspace)
    return workspace


def stages(workspace: Workspace) -> list[str]:
    assets = {table: declared(table) for table in PER_FOLDER_TABLES}
    return [table for table, asset in assets.items() if asset and not asset.lacks_model(workspace.tier)]


def told_of(rows: pa.Table) -> object:
    """All of a table by id, as all but `routing` lie; numbers to what a batch of another size may change them by."""
    return rounded(sorted(rows.to_pylist(), key=lambda row: str(row["id"])))


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: rounded(of) for name, of in value.items()}
    if isinstance(value, list):
        return [rounded(of) for of in value]
    return pytest.approx(value, rel=1e-3, abs=1e-4) if isinstance(value, float) else value


@pytest.mark.slow
def test_every_stage_makes_the_same_rows_of_ranges(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = (workspace_of(tmp_path / name, library) for name in ("whole", "parts"))
    first = whole.lake.read("images", KEY).to_pylist()[0]
    for home in (whole.home, parts.home):  # the same pixels have two ids, in two ranges
        home.decisions.append(
            [
                Event(
                    who="ada",
                    verdict="accept",
                    image_id=first["id"],
                    pixel_hash=first["pixel_hash"],
                    phrase="teapot",
                )
            ]
        )
    names = stages(whole)
    assert len(names) > 12
    told: dict[str, list[tuple[int, int]]] = {}
    for table in names:
        expected = update_table(table, whole, KEY)
        with (
            monkeypatch.context() as small,
            watching(lambda stage, *of: told.setdefault(stage, []).append(of)),
        ):
            small.setattr(ranges, "MOST_IMAGES", 2)
            assert update_table(table, parts, KEY) == expected
            assert update_table(table, parts, KEY).computed == 0
        rows, of_whole = parts.lake.read(table, KEY), whole.lake.read(table, KEY)
        assert told_of(rows) == told_of(of_whole), table
        assert empty_ids(rows) == empty_ids(of_whole)
    assert len(parts.ranges_of(KEY)) > 3
    accepted = [row for row in parts.lake.read("tags", KEY).to_pylist() if row["state"] == "human"]
    assert len({row["id"] for row in accepted}) == 2
    # the folder as a whole is counted
    assert {counts[0] for counts in told.values()} == {(0, IMAGES)}
    assert {counts[-1] for counts in told.values()} == {(IMAGES, IMAGES)}
