"""Files that other people made: what the packages of the development environment ship goes in without a wrong reject."""

import shutil
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from resources.images import Limits, ingest_folder, survey_library
from resources.images.scan import EDITOR_SUFFIXES, IMAGE_SUFFIXES

PLACES = (  # Python's own tests have one file of most kinds
    *(Path(sysconfig.get_path("stdlib"), name) for name in ("test", "idlelib")),
    *(
        Path(sysconfig.get_path("purelib"), name)
        for name in ("skimage", "sklearn", "matplotlib", "networkx", "scipy", "sympy", "werkzeug", "mkdocs")
    ),
)
MOST_OF_A_KIND = 50
KINDS = {".jpg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the pictures that installed packages ship, each content once."""
    library = tmp_path_factory.mktemp("shipped")
    count: Counter[str] = Counter()
    seen: set[bytes] = set()
    for file in (path for place in PLACES for path in sorted(place.rglob("*.*"))):
        kind = file.suffix.lower()
        if (
            kind not in IMAGE_SUFFIXES | EDITOR_SUFFIXES
            or count[kind] >= MOST_OF_A_KIND
            or not file.is_file()
        ):
            continue
        content = file.read_bytes()
        if content and content not in seen:
            seen.add(content)
            count[kind] += 1
            shutil.copy(file, library / f"{len(seen):03}{file.suffix}")
    return library


@pytest.mark.slow
def test_what_packages_ship_goes_in(shipped: Path, tmp_path: Path) -> None:
    files = {path.name: path.suffix for path in shipped.iterdir()}
    wanted = sum(kind in IMAGE_SUFFIXES for kind in files.values())
    if wanted < 60 or not set(files.values()) >= KINDS:
        pytest.skip(f"the packages here ship {wanted} pictures of {sorted(set(files.values()))}")
    found = ingest_folder(shipped, shipped, tmp_path, Limits())
    codes = {row["path"]: row["code"] for row in found.rejects.to_pylist()}
    assert codes == {name: "unsupported" for name, kind in files.items() if kind in EDITOR_SUFFIXES}
    assert found.images.num_rows == wanted
    formats = set(found.images["format"].to_pylist())
    assert {"JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"} <= formats
    assert not survey_library(shipped).passed_over
