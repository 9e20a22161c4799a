"""XMP sidecars, as exiftool reads them: what is carried, and that what people wrote stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from exporting import content, exiftool, export, needs_exiftool
from hand_made_lake import HOSTILE, make_home, tables, write
from PIL import Image, ImageOps

from resources.home import Home
from vistag_assets.exports.records import Selection
from vistag_assets.exports.sidecar import MalformedSidecar, Sidecar

THEIRS = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- a remark -->
 <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="urn:another"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Instructions="one&#xA;two" lr:odd="kept">
   <dc:subject><r:Bag><r:li>Family</r:li><r:li>BOWL</r:li></r:Bag></dc:subject>
   <dc:title><r:Alt><r:li xml:lang="x-default">My title</r:li></r:Alt></dc:title>
  </r:Description>
 </r:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@needs_exiftool
def test_exiftool_reads_keywords_texts_and_regions(home: Home, tmp_path: Path) -> None:
    outcome = export(home, "xmp", tmp_path / "out")
    assert outcome.written == ["lib/a/1.jpg.xmp", "lib/a/2.jpg.xmp", "lib/a/3.jpg.xmp"]
    first, second, third = exiftool(*(tmp_path / "out" / name for name in outcome.written))
    assert set(first["XMP-dc:Subject"]) == {"bowl", "vase", "spotlight"}
    hierarchical = first["XMP-lr:HierarchicalSubject"]
    assert {path.split("|")[-1] for path in hierarchical} == {"bowl", "vase", "spotlight"}
    assert [path.replace("|", "/") for path in hierarchical] == first["XMP-digiKam:TagsList"]
    assert first["XMP-digiKam:TagsList"] == first["XMP-microsoft:LastKeywordXMP"]
    assert first["XMP-dc:Title"] == first["XMP-photoshop:Headline"] == "A bowl"
    assert first["XMP-dc:Description"] == "A bowl & a vase. The light is soft."
    assert first["XMP-iptcCore:ExtDescrAccessibility"] == "A bowl & a vase. The light is soft."
    assert first["XMP-iptcCore:AltTextAccessibility"] == "a bowl, two vases and a sword"
    bowl, vase = first["XMP-iptcExt:ImageRegion"]
    assert (bowl["Name"], vase["Name"]) == ("bowl", "vase")
    assert bowl["RCtype"][0]["Identifier"] == ["urn:x-vistag:concept/bowl"]
    assert bowl["RegionBoundary"]["RbShape"] == "polygon"
    corners = np.array([[p["RbX"], p["RbY"]] for p in bowl["RegionBoundary"]["RbVertices"]])
    np.testing.assert_allclose(corners.min(0), [0.1, 0.2], atol=0.01)
    np.testing.assert_allclose(corners.max(0), [0.2, 0.4], atol=0.01)
    sides = [vase["RegionBoundary"][f"Rb{side}"] for side in "XYWH"]
    np.testing.assert_allclose(sides, [0.5, 0.2, 0.2, 0.3], atol=1e-6)
    assert second["XMP-dc:Subject"] == ["vase"]  # a person rejected the bowl
    assert third["XMP-iptcCore:AltTextAccessibility"] == HOSTILE
    assert "XMP-dc:Subject" not in third


@pytest.mark.extras
def test_exiv2_reads_the_same(home: Home, tmp_path: Path) -> None:
    exiv2 = pytest.importorskip("pyexiv2", reason="pyexiv2 is not installed")
    export(home, "xmp", tmp_path / "out")
    with exiv2.Image(str(tmp_path / "out/lib/a/1.jpg.xmp")) as sidecar:
        read = sidecar.read_xmp()
    assert set(read["Xmp.dc.subject"]) == {"bowl", "vase", "spotlight"}
    assert len(read["Xmp.digiKam.TagsList"]) == len(read["Xmp.lr.hierarchicalSubject"]) >= 3


def test_a_second_export_writes_nothing_and_a_forced_one_the_same_bytes(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(home, "xmp", out)
    before = content(out)
    again = export(home, "xmp", out)
    assert (again.written, again.unchanged) == ([], 3)
    for path in (home.root / "exports").rglob("*.json"):
        path.unlink()  # nothing is remembered
    assert export(home, "xmp", out).written == []
    assert content(out) == before


@needs_exiftool
def test_what_people_wrote_stays_and_is_not_doubled(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "lib/a").mkdir(parents=True)
    (out / "lib/a/1.xmp").write_text(THEIRS)  # the other naming: merged where it stands
    export(home, "xmp", out)
    assert not (out / "lib/a/1.jpg.xmp").exists()
    [read] = exiftool(out / "lib/a/1.xmp")
    assert read["XMP-dc:Subject"][:2] == ["Family", "BOWL"]
    assert sorted(read["XMP-dc:Subject"][2:]) == ["spotlight", "vase"]
    assert read["XMP-dc:Title"] == "My title"
    assert read["XMP-photoshop:Headline"] == "A bowl"
    assert read["XMP-photoshop:Instructions"] == "one\ntwo"
    text = (out / "lib/a/1.xmp").read_text()
    assert "<!-- a remark -->" in text
    assert 'lr:odd="kept"' in text


@needs_exiftool
def test_ours_go_when_the_lake_says_otherwise_theirs_never(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "lib/a").mkdir(parents=True)
    (out / "lib/a/1.jpg.xmp").write_text(THEIRS)
    export(home, "xmp", out)
    export(home, "xmp", out, selection=Selection(states=frozenset(["human"])))
    [read] = exiftool(out / "lib/a/1.jpg.xmp")
    assert read["XMP-dc:Subject"] == ["Family", "BOWL"]
    assert read["XMP-lr:HierarchicalSubject"] == ["container|vessel|bowl"]
    assert [region["Name"] for region in read["XMP-iptcExt:ImageRegion"]] == ["bowl"]


@needs_exiftool
def test_what_a_person_takes_away_or_changes_in_another_program_stays_so(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(home, "xmp", out)
    edit = ["-XMP-dc:Subject-=vase", "-XMP-dc:Subject+=mine", "-XMP-dc:Title=", "-XMP-dc:Description=by me"]
    file = out / "lib/a/1.jpg.xmp"
    subprocess.run(["exiftool", "-q", "-overwrite_original", *edit, str(file)], check=True)
    write(home, "captions", [row | {"caption": "new"} for row in tables()["captions"]])
    export(home, "xmp", out)
    [read] = exiftool(file)
    assert set(read["XMP-dc:Subject"]) == {"bowl", "spotlight", "mine"}
    assert "XMP-dc:Title" not in read
    assert read["XMP-dc:Description"] == "by me"
    assert read["XMP-iptcCore:AltTextAccessibility"] == "new"


@pytest.mark.parametrize(
    "broken",
    [
        b"<x:xmpmeta",
        b"",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY e "e">]><a>&e;</a>',
        "<!DOCTYPE a []><a/>".encode("utf-16"),
        b"\xff\xfe\x00",
    ],
)
def test_a_malformed_sidecar_is_kept_and_told_and_the_others_go_on(
    home: Home, tmp_path: Path, broken: bytes
) -> None:
    file = tmp_path / "out/lib/a/2.jpg.xmp"
    file.parent.mkdir(parents=True)
    file.write_bytes(broken)
    outcome = export(home, "xmp", tmp_path / "out")
    assert [name for name, _ in outcome.failed] == ["lib/a/2.jpg"]
    assert "left as it is" in outcome.failed[0][1]
    assert file.read_bytes() == broken
    assert outcome.written == ["lib/a/1.jpg.xmp", "lib/a/3.jpg.xmp"]


def test_a_sidecar_nested_beyond_reason_is_malformed() -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    deep = (
        f'<r:RDF xmlns:r="{rdf}"><r:Description>' + "<a>" * 5000 + "</a>" * 5000 + "</r:Description></r:RDF>"
    )
    with pytest.raises(MalformedSidecar, match="deep"):
        Sidecar(deep.encode()).to_bytes()


@needs_exiftool
def test_names_and_words_of_any_script(home: Home, tmp_path: Path) -> None:
    names = ["a/花瓶 ünï.jpg", "a/б.jpg", "a/x\\xe9.jpg"]  # the last is no UTF-8 on the disk
    images = tables()["images"]
    write(home, "images", [row | {"path": name} for row, name in zip(images, names, strict=True)])
    words = "\x00\x08\ud7ff]]>&<b> 'quoted' \u202e|/ 花\ufffe"
    write(home, "captions", [row | {"caption": words} for row in tables()["captions"]])
    outcome = export(home, "xmp", tmp_path / "out")
    assert set(outcome.written) == {f"lib/{name}.xmp" for name in names[:2]}
    assert [name for name, _ in outcome.skipped] == [f"lib/{names[2]}"]
    for read in exiftool(*(tmp_path / "out" / name for name in outcome.written)):
        assert read["XMP-iptcCore:AltTextAccessibility"] == words.replace("\x00\x08", "").replace(
            "\ufffe", ""
        )


@needs_exiftool
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_of_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    """A file that is to be turned: what its regions mark is painted red, once it is upright."""
    home = make_home(tmp_path / "home")
    width, height = (300, 400) if orientation >= 5 else (400, 300)
    pixels = np.zeros((height, width, 3), np.uint8)
    x, y, w, h = 0.25, 0.5, 0.25, 0.1
    pixels[int(y * height) : int((y + h) * height), int(x * width) : int((x + w) * width)] = (255, 0, 0)
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = Image.fromarray(pixels)
    if turned is not None:
        stored = stored.transpose(Image.Transpose(turned))
    exif = Image.Exif()
    exif[0x0112] = orientation
    original = tmp_path / "home/library/a/1.png"
    original.parent.mkdir(parents=True)
    stored.save(original, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(original))
    assert upright is not None
    np.testing.assert_array_equal(np.asarray(upright), pixels)

    sides = {"width": width, "height": height}
    write(
        home, "images", [row | sides | {"path": f"a/{n}.png"} for n, row in enumerate(tables()["images"], 1)]
    )
    write(home, "grounded_regions", [tables()["grounded_regions"][1] | {"bbox": [x, y, w, h]}])
    export(home, "xmp", tmp_path / "out")
    [read] = exiftool(tmp_path / "out/lib/a/1.png.xmp")
    boundary = read["XMP-iptcExt:ImageRegion"][0]["RegionBoundary"]
    left, top, wide, high = (boundary[f"Rb{side}"] for side in "XYWH")
    marked = upright.crop(
        (round(left * width), round(top * height), round((left + wide) * width), round((top + high) * height))
    )
    assert np.asarray(marked)[..., 0].min() == 255


def test_beside_the_pictures_nothing_but_sidecars_is_written(home: Home, tmp_path: Path) -> None:
    library = home.root / "library"
    (library / "a").mkdir(parents=True)
    for n in (1, 2, 3):
        (library / f"a/{n}.jpg").write_bytes(b"original")
    (library / "a/2.xmp").write_text(THEIRS)
    outcome = export(home, "xmp", library, beside=True)
    assert outcome.written == ["a/1.jpg.xmp", "a/2.xmp", "a/3.jpg.xmp"]
    assert {(library / f"a/{n}.jpg").read_bytes() for n in (1, 2, 3)} == {b"original"}


def test_a_mirror_begins_from_the_sidecars_of_the_library(home: Home, tmp_path: Path) -> None:
    library = home.root / "library"
    (library / "a").mkdir(parents=True)
    (library / "a/1.xmp").write_text(THEIRS)
    export(home, "xmp", tmp_path / "out")
    assert "Family" in (tmp_path / "out/lib/a/1.xmp").read_text()
    assert (library / "a/1.xmp").read_text() == THEIRS


def test_one_sidecar_is_not_shared_by_two_pictures(home: Home, tmp_path: Path) -> None:
    names = ["a/x.jpg", "a/x.png", "a/y.jpg"]
    write(home, "images", [row | {"path": n} for row, n in zip(tables()["images"], names, strict=True)])
    outcome = export(home, "xmp", tmp_path / "out", naming="stem")
    assert outcome.written == ["lib/a/x.jpg.xmp", "lib/a/x.png.xmp", "lib/a/y.xmp"]


def test_all_places_of_one_content_get_a_sidecar(home: Home, tmp_path: Path) -> None:
    images = tables()["images"]
    images[0]["also_at"] = ["a/copy.jpg"]
    write(home, "images", images)
    assert "lib/a/copy.jpg.xmp" in export(home, "xmp", tmp_path / "out").written
