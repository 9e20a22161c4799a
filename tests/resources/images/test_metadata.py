"""What people wrote about pictures, read as exiftool reads it by the rules of the Metadata Working Group."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from described_files import EMBEDDED, SIDECARS, by_mwg, describe, needs_exiftool, picture

from resources.images import Limits, decode_isolated
from resources.images.metadata import Described, read_embedded, read_sidecar

pytestmark = needs_exiftool
pillow_heif.register_heif_opener()


def embedded(path: Path) -> Described:
    with path.open("rb") as file:
        return read_embedded(file)


def listed(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [] if value is None else [value])]


def as_exiftool_has_it(found: Described, read: dict[str, Any]) -> None:
    """The properties that the guidelines rule; keywords that have no place but in a path come last with us."""
    keywords = listed(read.get("Keywords"))
    assert list(found.keywords[: len(keywords)]) == keywords
    assert (found.description or "") == str(read.get("Description", ""))
    assert list(found.creators) == listed(read.get("Creator"))
    assert found.rating == read.get("Rating")
    told = (found.dated or "").replace("-", ":", 2).replace("T", " ")
    assert told == str(read.get("DateTimeOriginal", ""))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("described")
    for name, calls in EMBEDDED.items():
        picture(folder / name, *calls)
    for name, text in SIDECARS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_ten_kinds_of_other_people_read_as_exiftool_reads_them(files: Path) -> None:
    names = [*EMBEDDED, *SIDECARS]
    for name, read in zip(names, by_mwg(*(files / name for name in names)), strict=True):
        path = files / name
        found = read_sidecar(path.read_bytes()) if path.suffix == ".xmp" else embedded(path)
        as_exiftool_has_it(found, read)
        assert {*found.notes} <= {"sidecar_by_vistag"}, name


def test_what_the_guidelines_do_not_rule_is_read_too(files: Path) -> None:
    lightroom, digikam, archive = (
        embedded(files / n) for n in ("lightroom.jpg", "digikam.jpg", "archive.tif")
    )
    assert lightroom.keyword_paths == (("animals", "birds", "grey heron"),)
    assert lightroom.title == "At the weir"
    assert digikam.keyword_paths == (("People", "Ann"),)
    assert digikam.keywords == ("Ann", "crane")
    assert (digikam.latitude, digikam.longitude) == pytest.approx((48.85837, 2.294481))
    assert archive.keyword_paths == (("Animals", "Birds", "Heron"), ("Animals", "Birds", "Crane"))
    assert archive.creators == ("A; Studio", "B")
    assert (archive.latitude, archive.longitude) == pytest.approx((-33.5, -70.25))
    assert embedded(files / "photo_mechanic.jpg").dated == "2008-01-02T10:11:12+02:00"
    assert embedded(files / "iview.jpg").keyword_paths == (("Travel", "Norway", "Bergen"),)
    assert embedded(files / "iview.jpg").title == "Bryggen"
    assert embedded(files / "old_photoshop.jpg").keywords == ("Schloß", "Gärten")
    darktable = read_sidecar((files / "darktable.jpg.xmp").read_bytes())
    assert (darktable.title, darktable.rating) == ("Mushroom", -1)
    assert darktable.keyword_paths == (("fungi", "mushroom"),)


def test_the_digest_decides_between_iim_and_xmp(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", ("-XMP-dc:Subject=new", "-IPTC:Keywords=old"))
    assert embedded(path).keywords == ("new",)  # no digest: XMP
    long = "a_caption_beyond_what_IIM_holds_" * 80
    describe(path, "-IPTCDigest=new", f"-XMP-dc:Description={long}")
    describe(path, "-m", f"-IPTC:Caption-Abstract={long[:2000]}")
    found = embedded(path)
    assert found.keywords == ("old",)  # IIM was changed by a program that knows no XMP
    assert found.description == long  # IIM's is XMP's, cut
    as_exiftool_has_it(found, by_mwg(path)[0])


WRITABLE = (
    *("a.jpg", "a.heic"),
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("a.tif", "a.png", "a.webp", "a.avif", "a.dng", "a.jp2", "a.gif", "a.psd")
    ),
)


@pytest.mark.parametrize("name", WRITABLE)
def test_every_format_that_keeps_it_is_read_where_it_keeps_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.psd":
        path.write_bytes(SMALL_PSD)
    else:
        picture(path)
    describe(
        path,
        "-XMP-dc:Subject=heron",
        "-XMP-dc:Subject=鷺",
        "-XMP-dc:Title=t",
        "-XMP-lr:HierarchicalSubject=a|b",
    )
    has_exif = name not in ("a.gif",)
    if has_exif:
        describe(path, "-EXIF:ImageDescription=By Exif", "-EXIF:DateTimeOriginal=2001:02:03 04:05:06")
    found = embedded(path)
    assert found.keywords == ("heron", "鷺")
    assert found.keyword_paths == (("a", "b"),)
    assert found.title == "t"
    assert found.description == ("By Exif" if has_exif else None)
    assert found.notes == ()
    if name in ("a.jpg", "a.tif", "a.dng", "a.png", "a.psd", "a.jp2"):
        describe(path, "-IPTC:Keywords=of IIM", "-XMP-dc:Subject=")
        assert embedded(path).keywords == ("of IIM",)


SMALL_PSD = (
    b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\2\0\0\0\2\0\x08\0\3"
    + bytes(4)
    + bytes(4)
    + bytes(4)
    + b"\0\0"
    + bytes(12)
)


def test_a_packet_of_several_segments_is_read(tmp_path: Path) -> None:
    long = [f"keyword {number}" for number in range(3000)]
    path = picture(tmp_path / "a.jpg", [f"-XMP-dc:Subject={keyword}" for keyword in long])
    assert embedded(path).keywords == tuple(long)  # more than one segment: extended XMP


def test_it_is_read_in_the_process_that_decodes(files: Path) -> None:
    for source in ((files / "digikam.jpg").open("rb"), io.BytesIO((files / "digikam.jpg").read_bytes())):
        assert decode_isolated(source, Limits()).described == embedded(files / "digikam.jpg")


MALFORMED = {
    "no XML": b"<x:xmpmeta",
    "a DOCTYPE": b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "an entity of a file": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "no end of depth": b"<a>" * 5000,
    "an encoding that is none": b'<?xml version="1.0" encoding="nonsense"?><a/>',
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_packet_is_a_note_and_the_picture_comes_in(kind: str, tmp_path: Path) -> None:
    assert read_sidecar(MALFORMED[kind]) == Described(notes=("sidecar_unreadable",))
    path = picture(tmp_path / "a.webp", ("-XMP-dc:Subject=heron", "-EXIF:ImageDescription=By Exif"))
    content = path.read_bytes()
    start = content.index(b"XMP ") + 8
    length = int.from_bytes(content[start - 4 : start], "little")
    spoilt = MALFORMED[kind][:length].ljust(length, b"<")
    decoded = decode_isolated(io.BytesIO(content[:start] + spoilt + content[start + length :]), Limits())
    assert decoded.described == Described(description="By Exif", notes=("xmp_unreadable",))


def test_bounds_hold(tmp_path: Path) -> None:
    many = "".join(f"<rdf:li>{number:0>900}</rdf:li>" for number in range(1000))
    text = SIDECARS["darktable.jpg.xmp"].replace("<rdf:li>mushroom</rdf:li>", many)
    found = read_sidecar(text.encode())
    assert sum(map(len, found.keywords)) <= 60_000
    assert "metadata_cut" in found.notes
    deep = SIDECARS["darktable.jpg.xmp"].replace(
        "mushroom</rdf:li>", f"{'<a>' * 200}{'</a>' * 200}</rdf:li>", 1
    )
    assert read_sidecar(deep.encode()).notes == ("sidecar_unreadable",)


def test_mutated_files_never_break_the_reader(files: Path) -> None:
    rng = np.random.default_rng(5)
    for name in (*EMBEDDED, *SIDECARS):
        content = np.frombuffer((files / name).read_bytes(), np.uint8)
        head = min(len(content), 6000)
        for _ in range(40):
            spoilt = content.copy()
            at = rng.integers(0, head, 12)
            spoilt[at] = rng.integers(0, 256, 12)
            read_embedded(io.BytesIO(spoilt.tobytes()[: int(rng.integers(10, len(spoilt)))]))
            read_sidecar(spoilt.tobytes())


@pytest.mark.extras
def test_what_exiv2_writes_is_read(tmp_path: Path) -> None:
    exiv2 = pytest.importorskip("pyexiv2", reason="pyexiv2 is not installed")
    path = picture(tmp_path / "a.jpg")
    with exiv2.Image(str(path)) as file:
        file.modify_xmp(
            {
                "Xmp.dc.subject": ["heron", "鷺"],
                "Xmp.digiKam.TagsList": ["birds/heron"],
                "Xmp.xmp.Rating": "4",
            }
        )
        file.modify_iptc({"Iptc.Application2.Caption": "By exiv2"})
        file.modify_exif({"Exif.GPSInfo.GPSLatitude": "51/1 30/1 0/1", "Exif.GPSInfo.GPSLatitudeRef": "S"})
    found = embedded(path)
    assert (found.keywords, found.keyword_paths) == (("heron", "鷺"), (("birds", "heron"),))
    assert (found.description, found.rating, found.latitude) == ("By exiv2", 4, -51.5)
