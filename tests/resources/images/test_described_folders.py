"""Descriptions by people in the rows of a folder: of files and sidecars, read when one of them changes and not else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from described_files import DARKTABLE, LIGHTROOM_SIDECAR, describe, needs_exiftool, picture

from resources.images import Ingested, Limits, ingest_folder
from resources.images.describing import COLUMNS
from resources.tables import IMAGES
from vistag_assets.exports.sidecar import Sidecar


def ingest(library: Path, before: Ingested | None = None, *, read_again: bool = False) -> Ingested:
    known = () if before is None else (before.images, before.rejects, before.proxies)
    return ingest_folder(library, library, library.parent / "home", Limits(), *known, read_again=read_again)


def rows(found: Ingested) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in found.images.to_pylist()}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    picture(folder / "a.jpg")
    return folder


def test_a_sidecar_that_comes_changes_and_goes_is_noticed_without_decoding(library: Path) -> None:
    first = ingest(library)
    assert rows(first)["a.jpg"]["keywords"] == []
    sidecar = library / "a.jpg.xmp"
    sidecar.write_text(DARKTABLE)
    second = ingest(library, first)
    row = rows(second)["a.jpg"]
    assert (row["keywords"], row["keyword_paths"]) == (["mushroom", "boletus & co"], [["fungi", "mushroom"]])
    assert (row["file_title"], row["rating"]) == ("Mushroom", -1)
    sidecar.write_text(DARKTABLE.replace("mushroom", "truffle!"))
    third = ingest(library, second)
    assert rows(third)["a.jpg"]["keywords"] == ["truffle!", "boletus & co"]
    sidecar.write_text("<nothing")
    fourth = ingest(library, third)
    assert (rows(fourth)["a.jpg"]["keywords"], rows(fourth)["a.jpg"]["notes"]) == ([], ["sidecar_unreadable"])
    sidecar.unlink()
    fifth = ingest(library, fourth)
    assert fifth.images == first.images
    assert [found.decoded for found in (second, third, fourth, fifth)] == [0, 0, 0, 0]


def test_rows_of_before_are_filled_without_decoding_and_keep_their_fingerprint(library: Path) -> None:
    (library / "a.jpg.xmp").write_text(DARKTABLE)
    now = ingest(library)
    nothing = {name: pa.nulls(1, IMAGES.schema.field(name).type) for name in COLUMNS}
    images = now.images
    for name, column in nothing.items():
        images = images.set_column(images.schema.get_field_index(name), images.schema.field(name), column)
    before = Ingested(images, now.rejects, now.proxies, 1, 0)
    again = ingest(library, before)
    assert again.decoded == 0
    assert again.images == now.images


def test_whose_sidecar_it_is(tmp_path: Path) -> None:
    library = tmp_path / "library"
    for seed, name in enumerate(("a.jpg", "b.jpg", "b.png", "c.jpg")):
        picture(library / name, seed=seed)
    (library / "c.cr2").write_bytes(b"a raw file, beside its JPEG")
    for name in ("A.XMP", "b.xmp", "c.xmp"):
        (library / name).write_text(LIGHTROOM_SIDECAR)
    (library / "c.cr2.xmp").write_text(DARKTABLE)
    found = rows(ingest(library))
    assert found["a.jpg"]["keywords"] == ["owl", "birds"]  # whatever its case
    assert (
        found["b.jpg"]["keywords"] == found["b.png"]["keywords"] == []
    )  # of one of two pictures, nobody knows which
    assert set(found["c.jpg"]["keywords"]) == {"owl", "birds", "mushroom", "boletus & co"}
    assert found["c.jpg"]["rating"] == -1


def test_a_link_and_a_pipe_are_no_sidecars(library: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.xmp"
    outside.write_text(DARKTABLE)
    (library / "a.jpg.xmp").symlink_to(outside)
    os.mkfifo(library / "a.xmp")
    row = rows(ingest(library))["a.jpg"]
    assert (row["keywords"], row["notes"]) == ([], ["sidecar_unreadable"])


@needs_exiftool
def test_what_vistag_wrote_is_not_read_back_as_people_s(library: Path) -> None:
    describe(library / "a.jpg", "-XMP-dc:Subject=of the file", "-XMP-dc:Title=Theirs")
    sidecar = Sidecar()
    sidecar.set_keywords("dc:subject", "Bag", ["machine's"])
    sidecar.set_keywords("lr:hierarchicalSubject", "Bag", ["thing|machine's"])
    sidecar.set_text("dc:title", "A machine's title")
    sidecar.sign("vistag")
    (library / "a.jpg.xmp").write_bytes(sidecar.to_bytes())
    row = rows(ingest(library))["a.jpg"]
    assert (row["keywords"], row["keyword_paths"], row["file_title"]) == (["of the file"], [], "Theirs")
    text = (library / "a.jpg.xmp").read_text().replace("<rdf:Bag>", "<rdf:Bag><rdf:li>a person's</rdf:li>", 1)
    (library / "a.jpg.xmp").write_text(text)
    row = rows(ingest(library))["a.jpg"]
    assert row["keywords"] == ["of the file", "a person's"]  # the sidecar was not begun as a copy
    (library / "a.jpg.xmp").write_text(DARKTABLE)
    assert rows(ingest(library))["a.jpg"]["keywords"] == [
        "mushroom",
        "boletus & co",
    ]  # in place of the file's
