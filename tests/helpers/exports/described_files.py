"""Pictures as the programs of other people describe them, made with exiftool in the layout that each program writes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")

LIGHTROOM = (
    *("-XMP-dc:Subject=animals", "-XMP-dc:Subject=birds", "-XMP-dc:Subject=grey heron"),
    *(
        "-XMP-lr:HierarchicalSubject=animals|birds|grey heron",
        "-IPTC:Keywords=animals",
        "-IPTC:Keywords=birds",
    ),
    *(
        "-IPTC:Keywords=grey heron",
        "-codedcharacterset=utf8",
        "-XMP-dc:Title=At the weir",
        "-XMP-xmp:Rating=4",
    ),
    *(
        "-IPTC:ObjectName=At the weir",
        "-EXIF:ImageDescription=A heron waits.",
        "-XMP-dc:Description=A heron waits.",
    ),
    *(
        "-IPTC:Caption-Abstract=A heron waits.",
        "-EXIF:Artist=Ann Ö",
        "-XMP-dc:Creator=Ann Ö",
        "-IPTC:By-line=Ann Ö",
    ),
    *("-EXIF:DateTimeOriginal=2019:05:04 07:08:09", "-XMP-photoshop:DateCreated=2019:05:04 07:08:09"),
    "-IPTCDigest=new",
)
DIGIKAM = (
    *(
        "-XMP-digiKam:TagsList=People/Ann",
        "-XMP-digiKam:TagsList=crane",
        "-XMP-microsoft:LastKeywordXMP=People/Ann",
    ),
    *(
        "-XMP-microsoft:LastKeywordXMP=crane",
        "-XMP-lr:HierarchicalSubject=People|Ann",
        "-XMP-mediapro:CatalogSets=crane",
    ),
    *(
        "-XMP-mediapro:CatalogSets=People|Ann",
        "-XMP-dc:Subject=Ann",
        "-XMP-dc:Subject=crane",
        "-IPTC:Keywords=Ann",
    ),
    *(
        "-IPTC:Keywords=crane",
        "-IPTC:CodedCharacterSet=UTF8",
        "-XMP-xmp:Rating=2",
        "-EXIF:GPSLatitude=48.85837",
    ),
    *("-EXIF:GPSLatitudeRef=N", "-EXIF:GPSLongitude=2.294481", "-EXIF:GPSLongitudeRef=E"),
)
PHOTO_MECHANIC = (  # changed IIM after Photoshop had written both: the digest is of what was there before
    *("-XMP-dc:Subject=old keyword", "-IPTC:Keywords=old keyword", "-IPTCDigest=new"),
    *("-XMP-photomech:Rating=3", "-XMP-xmp:Rating=3"),
)
PHOTO_MECHANIC_LATER = (
    *("-IPTC:Keywords=stadium", "-IPTC:Keywords=night match", "-IPTC:Caption-Abstract=The roof is open."),
    *("-IPTC:By-line=J. Doe", "-IPTC:DateCreated=20080102", "-IPTC:TimeCreated=101112+0200"),
)
IVIEW = (
    *(
        "-XMP-mediapro:CatalogSets=Travel|Norway|Bergen",
        "-XMP-mediapro:People=Kari",
        "-IPTC:Keywords=harbour",
    ),
    *("-IPTC:Keywords=fjord", "-IPTC:Headline=Bergen", "-IPTC:ObjectName=Bryggen"),
)
WINDOWS = (
    *("-XMP-dc:Subject=Urlaub", "-XMP-dc:Subject=Küste/Strand", "-XMP-microsoft:LastKeywordXMP=Urlaub"),
    *("-XMP-microsoft:LastKeywordXMP=Küste/Strand", "-XMP-xmp:Rating=5", "-XMP-microsoft:RatingPercent=99"),
    *("-EXIF:XPKeywords=Urlaub;Küste/Strand", "-XMP-dc:Title=Sylt", "-EXIF:ImageDescription=Sylt"),
)
OLD_PHOTOSHOP = (
    "-charset",
    "iptc=Latin",
    "-IPTC:Keywords=Schloß",
    "-IPTC:Keywords=Gärten",
    "-IPTC:By-line=Müller",
)
ARCHIVE = (
    "-XMP-mwg-kw:KeywordInfo={Hierarchy=[{Keyword=Animals,Children=[{Keyword=Birds,Children=[{Keyword=Heron},"
    "{Keyword=Crane}]}]},{Keyword=Paris}]}",
    *("-XMP-dc:Creator=A; Studio", "-XMP-dc:Creator=B", '-EXIF:Artist="A; Studio"; B'),
    *("-XMP-photoshop:DateCreated=1935", "-XMP-exif:GPSLatitude=-33.5", "-XMP-exif:GPSLongitude=-70.25"),
)
EMBEDDED = {
    "lightroom.jpg": (LIGHTROOM,),
    "digikam.jpg": (DIGIKAM,),
    "photo_mechanic.jpg": (PHOTO_MECHANIC, PHOTO_MECHANIC_LATER),
    "iview.jpg": (IVIEW,),
    "windows.jpg": (WINDOWS,),
    "old_photoshop.jpg": (OLD_PHOTOSHOP,),
    "archive.tif": (ARCHIVE,),
}
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:darktable="http://darktable.sf.net/"
   xmp:Rating="-1" darktable:xmp_version="5" darktable:history_end="1">
   <darktable:history><rdf:Seq><rdf:li darktable:num="0" darktable:operation="crop"/></rdf:Seq></darktable:history>
   <dc:subject><rdf:Seq><rdf:li>mushroom</rdf:li><rdf:li>boletus &amp; co</rdf:li></rdf:Seq></dc:subject>
   <lr:hierarchicalSubject><rdf:Seq><rdf:li>fungi|mushroom</rdf:li></rdf:Seq></lr:hierarchicalSubject>
   <dc:title><rdf:Alt><rdf:li xml:lang="de">Pilz</rdf:li><rdf:li xml:lang="x-default">Mushroom</rdf:li></rdf:Alt></dc:title>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
PHOTOPRISM = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 5.4.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
    photoshop:DateCreated="2017-11-09T17:26:38+01:00" exif:GPSLatitude="52,27.5N" exif:GPSLongitude="13,19.25E">
   <dc:subject><rdf:Seq><rdf:li>desk</rdf:li><rdf:li>coffee</rdf:li></rdf:Seq></dc:subject>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Example</rdf:li></rdf:Alt></dc:description>
   <dc:creator><rdf:Seq><rdf:li>Michael M</rdf:li></rdf:Seq></dc:creator>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
LIGHTROOM_SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmp:Rating="3" crs:Version="15.0">
   <dc:subject><rdf:Bag><rdf:li>owl</rdf:li><rdf:li>birds</rdf:li></rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag><rdf:li>birds|owl</rdf:li></rdf:Bag></lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
SIDECARS = {
    "darktable.jpg.xmp": DARKTABLE,
    "photoprism.jpg.xmp": PHOTOPRISM,
    "lightroom_raw.xmp": LIGHTROOM_SIDECAR,
}


def picture(path: Path, *describing: Sequence[str], seed: int = 1) -> Path:
    """A small picture of noise in the format of its name, described by one call of exiftool after another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "TIFF" if path.suffix == ".dng" else None)
    for arguments in describing:
        describe(path, *arguments)
    return path


def describe(path: Path, *arguments: str) -> None:
    command = ["exiftool", "-q", "-q", "-m", "-overwrite_original", *arguments, str(path)]
    subprocess.run(command, check=True, timeout=120)


def by_mwg(*paths: Path) -> list[dict[str, Any]]:
    """What exiftool reads by the rules of the Metadata Working Group, name -> value."""
    command = ["exiftool", "-q", "-q", "-m", "-j", "-n", "-use", "MWG", "-MWG:all", *map(str, paths)]
    read: list[dict[str, Any]] = json.loads(
        subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
    )
    return read
