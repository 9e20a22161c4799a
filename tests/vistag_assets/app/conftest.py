"""One home of the demo's tier, with its models' own words on a few pictures, for all slow tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_client import Client, listening_app

from demo.corpus import make_corpus
from resources.home import Home, Settings, write_settings
from vistag_assets.runs import find_library, tag_folders


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four pictures in two folders, through the whole graph. Tests may decide about them, and change nothing else."""
    root: Path = tmp_path_factory.mktemp("demo_home")
    make_corpus(root, images=4, folders=2, longer_side_px=640, workers=1)
    home = Home(root / "home")
    home.root.mkdir(mode=0o700)
    write_settings(home, Settings(tier="demo", labels="pref"))
    tag_folders(home, find_library(root / "library", "demo", home), watcher=lambda stage, done, total: None)
    return home


@pytest.fixture(scope="session")
def demo_client(demo_home: Home) -> Iterator[Client]:
    with listening_app(demo_home) as client:
        yield client
