"""For all tests: the closing line of pytest stays the last one, and one small library is tagged once for many."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from vistag_assets.cli.exit import end_quietly

if TYPE_CHECKING:
    from resources.home import Home

end_quietly()
settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tagged_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `home` and `library` of small_library, tagged. For all tests of a process: only to be read."""
    from small_library import tag, tiny_home
    from tiny_checkpoint import save_tiny_siglip

    root = tmp_path_factory.mktemp("tagged_once")
    first = tag(tiny_home(root, save_tiny_siglip(root / "tiny")), root / "library")
    assert (first.images, first.rejects, first.embedded, first.scored) == (10, 1, 10, 10)
    return root


@pytest.fixture
def tagged_home(tagged_once: Path, tmp_path: Path) -> Home:
    """A home of the test's own with all that the home of `tagged_once` has, of the same library."""
    from resources.home import Home

    shutil.copytree(tagged_once / "home", tmp_path / "home")
    return Home(tmp_path / "home")
