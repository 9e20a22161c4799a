"""Which files are read again: by size, times and inode; and which names are two."""

from __future__ import annotations

import os
from pathlib import Path

import image_zoo as zoo
import pyarrow as pa
import pytest

from resources.images import Ingested, Limits, ingest_folder, scan_folder
from resources.images.scan import shown


@pytest.fixture
def library(tmp_path: Path) -> Path:
    zoo.write(
        tmp_path / "library",
        {name: zoo.encoded(zoo.picture(seed=seed), "BMP") for seed, name in enumerate(("a.bmp", "b.bmp"))},
    )
    return tmp_path / "library"


def ingest(library: Path, before: Ingested | None = None, *, read_again: bool = False) -> Ingested:
    known = () if before is None else (before.images, before.rejects, before.proxies)
    return ingest_folder(library, library, library.parent / "home", Limits(), *known, read_again=read_again)


def with_column(found: Ingested, column: str, values: list[object]) -> Ingested:
    """As a run of another time, or on another disk, would have left it."""
    place = found.images.schema.get_field_index(column)
    images = found.images.set_column(place, column, pa.array(values, found.images.schema.field(place).type))
    return Ingested(images, found.rejects, found.proxies, found.decoded, found.kept)


def put_in_place(file: Path, content: bytes) -> None:
    """As exiftool -P does it: another file with the time of the first takes its name."""
    status = file.stat()
    other = file.with_suffix(".tmp")
    other.write_bytes(content)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("way", ["put in place", "written in place"])
def test_other_content_of_the_same_size_and_time_is_noticed(library: Path, way: str) -> None:
    first = ingest(library)
    file, content = library / "a.bmp", zoo.encoded(zoo.picture(seed=7), "BMP")
    status = file.stat()
    if way == "put in place":
        put_in_place(file, content)
    else:
        file.write_bytes(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    again = ingest(library, first)
    assert again.decoded == 1
    assert again.images["id"][0] != first.images["id"][0]
    assert again.images["id"][1] == first.images["id"][1]


def test_a_reject_of_the_far_future_that_was_mended_is_noticed(library: Path) -> None:
    file, content = library / "a.bmp", (library / "a.bmp").read_bytes()
    file.write_bytes(bytes(len(content)))
    os.utime(file, (4e9, 4e9))
    first = ingest(library)
    assert first.rejects["path"].to_pylist() == ["a.bmp"]
    put_in_place(file, content)
    assert ingest(library, first).images.num_rows == 2


def opened(library: Path, before: Ingested, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Ingested]:
    """The names of the files that a run after `before` opens."""
    names: list[str] = []
    really = os.open

    def watched(path: str | Path, *arguments: int, **more: int) -> int:
        if Path(path).parent == library:
            names.append(Path(path).name)
        return really(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", watched)
        again = ingest(library, before)
    return sorted(names), again


def test_files_as_they_were_are_not_opened_unless_told_to(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingest(library)
    assert opened(library, first, monkeypatch)[0] == []
    again = ingest(library, first, read_again=True)
    assert (again.decoded, again.images) == (0, first.images)


def test_a_library_that_was_copied_is_read_once(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ingest(library)
    elsewhere = with_column(with_column(first, "inode", [1, 2]), "changed_at", [1, 2])
    names, again = opened(library, elsewhere, monkeypatch)
    assert names == ["a.bmp", "b.bmp"]
    assert (again.decoded, again.images) == (0, first.images)
    assert opened(library, again, monkeypatch)[0] == []


def test_inodes_tell_only_where_they_stay(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ingest(library)
    # numbered anew by a mount, all times as they were: nothing is to be read
    assert opened(library, with_column(first, "inode", [1, 2]), monkeypatch)[0] == []
    assert opened(library, with_column(first, "inode", [None, None]), monkeypatch)[0] == []
    # one of them is another file
    kept = first.images["inode"].to_pylist()[1]
    assert opened(library, with_column(first, "inode", [1, kept]), monkeypatch)[0] == ["a.bmp"]


NAMES = [
    b"n\xe9.bmp",
    b"n\\xe9.bmp",
    b"n\\x5cxe9.bmp",
    b"n\\\xe9.bmp",
    b"n\\xE9.bmp",
    "né.bmp".encode(),
    b"n\\.bmp",
]


def test_no_two_names_are_shown_alike() -> None:
    texts = [shown(Path(os.fsdecode(name))) for name in NAMES]
    assert len(set(texts)) == len(NAMES)
    assert texts[:2] == ["n\\xe9.bmp", "n\\x5cxe9.bmp"]
    assert texts[4:] == ["n\\xE9.bmp", "né.bmp", "n\\.bmp"]  # nothing to mistake: as they are


@pytest.mark.parametrize("suffix", [b".bmp", b".txt.bmp"])
def test_names_that_differ_by_undecodable_bytes_are_two_files(tmp_path: Path, suffix: bytes) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for seed, name in enumerate((b"n\xe9", b"n\xe8", b"n\\xe9")):
        file = Path(os.fsdecode(os.fsencode(library) + b"/" + name + suffix))
        try:
            file.write_bytes(zoo.encoded(zoo.picture(seed=seed), "BMP"))
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
        os.utime(file, (1.7e9, 1.7e9))
    (Path(os.fsdecode(os.fsencode(library) + b"/bad\xe9" + suffix))).write_bytes(b"no image")
    (Path(os.fsdecode(os.fsencode(library) + b"/bad\\xe9" + suffix))).write_bytes(b"no image")
    found = ingest(library)
    for _ in range(2):
        assert found.images.num_rows == len(set(found.images["path"].to_pylist())) == 3
        assert found.rejects.num_rows == len(set(found.rejects["path"].to_pylist())) == 2
        found = ingest(library, found)
    assert {entry.path for entry in scan_folder(library, library)} == {
        *found.images["path"].to_pylist(),
        *found.rejects["path"].to_pylist(),
    }
