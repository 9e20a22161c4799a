"""Dagster's UI in a real Chromium, over a real web server and daemon: materialise, look, evaluate, fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import services
from services import wait_for
from small_library import tiny_home
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home, read_settings, write_settings
from vistag_assets.automation.dev import CODE_LOCATION
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.processes import HOST
from vistag_assets.partitions import add_folders
from vistag_assets.runs import find_library

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
VISTAG = str(Path(sys.executable).parent / "vistag")
RUN_MS = 240_000
TRUTH = {"a/0.png": "vase", "a/1.png": "vase", "b/0.png": "bronze"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the PATH, or $CHROMIUM"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two folders that are known to Dagster, nothing materialised, and a ground truth for three images."""
    root = tmp_path_factory.mktemp("ui")
    home = tiny_home(root, save_tiny_siglip(root / "tiny"))
    folders = find_library(root / "library", "lib", home)
    home.register(*folders)
    with home_instance(home.root) as instance:
        add_folders(instance, [folder.key for folder in folders])
    concepts = sorted(set(TRUTH.values()))
    truth = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(TRUTH)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(concepts)],
        "annotations": [],
        "image_tags": [
            {"image_id": number, "category_id": concepts.index(tag)}
            for number, tag in enumerate(TRUTH.values())
        ],
    }
    home.ground_truth_path.write_text(json.dumps(truth))
    write_settings(home, read_settings(home).model_copy(update={"ground_truth_library": "lib"}))
    return home


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[str]:
    """The URL of `vistag dev`."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    log = home.root / "dev.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [VISTAG, "dev", "--home", str(home.root), "--port", str(port)],
            env=services.environment(PYTHONUNBUFFERED="1"),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: f"http://{HOST}:{port}" in log.read_text())
        yield f"http://{HOST}:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    assert process.returncode == 130


@pytest.fixture(scope="module")
def page(server: str) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=server, viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(120_000)
        yield page
        browser.close()


def run_all_folders(page: Page, ending: str) -> None:
    """From an opened page of partitioned assets to the page of the run that materialises them, which ends so."""
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("All", exact=True).click()
    dialog.get_by_text("lib--b").first.wait_for()
    dialog.get_by_role("button", name="Launch").click()
    page.get_by_role("link", name="View", exact=True).click()
    page.wait_for_url("**/runs/b/*")
    page.get_by_role("tab", name="Runs").click()
    page.locator("a", has_text=re.compile(r"^[0-9a-f]{8}$")).click(timeout=RUN_MS)
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    page.get_by_text(ending, exact=True).first.wait_for(timeout=RUN_MS)


@pytest.fixture(scope="module")
def tagged(page: Page) -> Page:
    """Both folders, materialised from the page of the job."""
    page.goto(f"/locations/{CODE_LOCATION}/jobs/tag_folders")
    run_all_folders(page, "Success")
    return page


def test_folders_are_materialised_from_the_job_and_the_run_succeeds(tagged: Page, home: Home) -> None:
    tagged.get_by_text("Finished execution of run for").wait_for()
    assert set(home.lake.folders("tags")) == {"lib--a", "lib--b"}
    with home_instance(home.root) as instance:
        assert len(instance.get_runs()) == 1  # two folders are one run


def test_an_asset_shows_its_figures_and_thumbnails(tagged: Page, home: Home) -> None:
    tagged.goto("/assets/tag_scores?view=partitions&partition=lib--a")
    metadata = tagged.locator("table").filter(has_text="images_per_second")
    metadata.wait_for()
    assert re.search(r"partition_row_count\s+15\b", metadata.inner_text())  # five images, three tags each
    assert re.search(r"device\s+cpu", metadata.inner_text())
    assert re.search(r"computed\s+5\b", metadata.inner_text())
    with tagged.context.expect_page() as opened:
        metadata.get_by_role("link").filter(has_text="/vistag/previews/").click()
    pictures = opened.value.locator("img")
    pictures.first.wait_for()
    widths = [picture.evaluate("picture => picture.naturalWidth") for picture in pictures.all()]
    assert widths == [32] * 4  # the images of the library are 32 px wide


def test_the_gallery_is_a_link_that_opens(tagged: Page) -> None:
    tagged.goto("/assets/contact_sheet")
    with tagged.context.expect_page() as opened:
        tagged.get_by_role("link", name="/vistag/gallery/index.html").click()
    gallery = opened.value
    assert gallery.url.endswith("/vistag/gallery/index.html")
    gallery.get_by_text("10 images").first.wait_for()
    pictures = gallery.locator("img").all()
    assert len(pictures) >= 10
    assert all(picture.evaluate("picture => picture.naturalWidth") for picture in pictures[:3])
    # it may ask nothing of Dagster
    asked = "fetch('/graphql', {method: 'POST'}).then(() => 'asked', () => 'refused')"
    assert gallery.evaluate(asked) == "refused"
    gallery.close()


def test_an_asset_says_what_its_columns_mean(tagged: Page) -> None:
    tagged.goto("/assets/global_embeddings")
    tagged.get_by_text("One unit vector an image").first.wait_for()
    tagged.get_by_text("float16[dimension]").first.wait_for()
    tagged.get_by_text("unit length", exact=True).first.wait_for()


def test_a_check_is_green_and_says_why(tagged: Page) -> None:
    tagged.goto("/assets/images?view=checks")
    tagged.get_by_text("All 11 image files are images or rejects.").wait_for()
    tagged.get_by_text("Passed", exact=True).first.wait_for()


def test_the_evaluation_ends_in_a_report_that_the_asset_names(tagged: Page, home: Home) -> None:
    tagged.goto(f"/locations/{CODE_LOCATION}/jobs/evaluate")
    tagged.get_by_role("button", name="Materialize all").click()
    tagged.get_by_role("link", name="View", exact=True).click()
    tagged.get_by_text("Success", exact=True).first.wait_for(timeout=RUN_MS)
    tagged.goto("/assets/long_tail_report")
    report = home.reports_dir / "long_tail.html"
    tagged.get_by_text(str(report)).first.wait_for()
    tagged.get_by_text("recall@10_overall").first.wait_for()
    tagged.get_by_text("[Show Markdown]").first.click()
    dialog = tagged.get_by_role("dialog")
    dialog.get_by_text("Recall@10").first.wait_for()
    assert dialog.locator("table").count() >= 2
    link = tagged.get_by_role("link", name="/vistag/long_tail.html").first
    assert link.get_attribute("href") == "/vistag/long_tail.html"
    tagged.goto("/vistag/long_tail.html")
    tagged.get_by_text("of 3 tags that the ground truth names", exact=False).first.wait_for()


def test_a_run_that_fails_says_what_to_do(tagged: Page, home: Home) -> None:
    damaged = home.root / "decisions.sqlite"
    damaged.write_text("no database " * 1000)
    tagged.goto("/assets/tags")
    run_all_folders(tagged, "Failure")
    tagged.get_by_text("Restore that file from a backup").first.wait_for()
    said = f"Stopped: the decisions in {damaged} cannot be used: file is not a database. Restore"
    tagged.get_by_text(said).first.wait_for()
    assert "Error occurred while executing" not in tagged.content()
    assert "sqlalchemy" not in tagged.content()
