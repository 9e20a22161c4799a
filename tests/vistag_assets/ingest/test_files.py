"""Bringing a folder's tables up to date, in homes that an earlier version made."""

from dataclasses import replace
from pathlib import Path

import image_zoo as zoo

from resources.home import FolderRef, Home, Settings, write_settings
from resources.images import survey_library
from resources.workspace import open_workspace
from vistag_assets.ingest.coverage import what_came_in
from vistag_assets.ingest.files import ingest_files
from vistag_assets.progress import Meter

NEW_COLUMNS = ["pixel_hash", "colour", "notes"]


def test_a_folder_that_is_gone_keeps_its_rows_and_gets_the_columns_of_today(tmp_path: Path) -> None:
    zoo.write(tmp_path / "library", {"a.png": zoo.encoded(zoo.picture(), "PNG")})
    home = Home(tmp_path / "home")
    folder = FolderRef("lib--.", "lib", str(tmp_path / "library"), ".")
    home.register(folder)
    write_settings(home, Settings())
    workspace = open_workspace(home)
    ingest_files(workspace, folder, Meter("images"))
    rows = home.lake.read("images", folder.key)
    home.lake.write("images", rows.drop_columns(NEW_COLUMNS), folder.key)

    gone = replace(folder, gone_since="2020-01-01T00:00:00+00:00")
    assert ingest_files(workspace, gone, Meter("images")).images == 1

    kept = home.lake.read("images", folder.key)
    assert kept.schema == rows.schema
    assert kept.drop_columns(NEW_COLUMNS) == rows.drop_columns(NEW_COLUMNS)
    assert kept.select(NEW_COLUMNS).to_pylist() == [dict.fromkeys(NEW_COLUMNS)]


def test_a_run_says_what_became_of_all_files(tmp_path: Path) -> None:
    library = tmp_path / "library"
    jpeg = zoo.encoded(zoo.picture(), "JPEG")
    zoo.write(
        library, {"a.jpg": jpeg, "a.cr2": b"raw", "b.jpg": jpeg[:-90], "c.xmp": b"", "d.xmp": b"", "e": b""}
    )
    zoo.write(library, {"f.jpg": zoo.encoded(zoo.picture(seed=1), "JPEG")[:-2], "g.jpg": b"text"})
    zoo.write(library / "@eaDir", {"a.jpg": jpeg})
    home = Home(tmp_path / "home")
    folder = FolderRef("lib--.", "lib", str(library), ".")
    home.register(folder)
    write_settings(home, Settings())
    ingest_files(open_workspace(home), folder, Meter("images"))
    assert what_came_in(home.lake, [folder.key], survey_library(library, home.root)) == [
        "Rejected: 1 not_an_image, 1 truncated.",
        "Pairs, each one picture (raw beside JPEG, film beside photograph): 1.",
        "Pictures with a note (docs/ingest.md): 1 no_end_marker.",
        "Files passed over, being no pictures or excluded: 2 .xmp, 1 no suffix.",
        "Folders passed over: 1 @eaDir.",
    ]
