"""Take the screenshots of docs/ui.md and docs/app.md from the home of the last `make demo`. Run by `make screenshots`.

Of a home that has been tagged and evaluated, with a library that is watched, so that the sensor has something to say.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pictures import CHROMIUM, HERE
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from resources.home import Home
from resources.metadata import page_link
from resources.previews import FOLDER as PREVIEWS
from vistag_assets.automation.dev import CODE_LOCATION
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.processes import HOST, port_answers
from vistag_assets.partitions import TAG_FOLDERS

VISTAG = Path(sys.executable).parent / "vistag"
SETTLED_MS = 2_500
"""For what moves into its place: graphs, dialogs, charts."""
COLOURS = 256


@contextmanager
def served(command: str, home: Home) -> Iterator[str]:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([VISTAG, command, "--home", home.root, "--port", str(port)])
    try:
        while not port_answers(port):
            time.sleep(0.5)
        yield f"http://{HOST}:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def last_run(home: Home, job: str) -> str:
    with home_instance(home.root) as instance:
        return next(run.run_id for run in instance.get_runs() if run.job_name == job and run.is_success)


def take(page: Page, name: str) -> None:
    page.wait_for_timeout(SETTLED_MS)
    path = HERE / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def shown_markdown(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_text("[Show Markdown]").first.click()
    page.get_by_role("dialog").locator("table").first.scroll_into_view_if_needed()
    take(page, name)


def take_all(home: Home, url: str) -> None:
    folder = home.folders()[0].key
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=url, viewport={"width": 1360, "height": 800})
        page.set_default_timeout(120_000)
        page.goto("/asset-groups")
        page.locator("foreignObject").first.wait_for(state="attached")
        take(page, "ui-graph")
        page.goto(f"/runs/{last_run(home, TAG_FOLDERS)}")
        page.get_by_text("Success", exact=True).first.wait_for()
        take(page, "ui-run")
        page.goto(page_link(f"{PREVIEWS}/grounded_regions/{folder}.html")["page"].value or "")
        page.locator("img").first.wait_for()
        take(page, "ui-asset")
        page.goto("/assets/images?view=checks")
        page.get_by_text("image files are images or rejects").wait_for()
        take(page, "ui-check")
        shown_markdown(page, "/assets/long_tail_report", "ui-report")
        page.goto(f"/locations/{CODE_LOCATION}/sensors/new_folders")
        page.get_by_text("runs requested").first.wait_for()
        take(page, "ui-sensor")
        browser.close()


def take_app(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=url, viewport={"width": 1360, "height": 860})
        page.set_default_timeout(120_000)
        page.add_init_script("localStorage.setItem('reviewer', 'Ada')")
        page.goto("/")
        take(page, "app-library")
        page.locator(".tile").nth(4).click()
        page.wait_for_selector("body[data-open]")
        for key in ("j", "Enter", "m"):
            page.keyboard.press(key)
        take(page, "app-evidence")
        page.goto("/review")
        decided = ("a", "x", "x", "a")
        for key in decided:
            page.wait_for_selector(".crops li:not([data-state]) button")
            page.keyboard.press(key)
        take(page, "app-review")
        for _ in decided:  # a picture of the docs decides nothing
            page.keyboard.press("u")
        page.goto("/search?text=a+vase+with+cracks")
        take(page, "app-search")
        browser.close()


def main() -> None:
    """Of the pages whose names are given; else of all."""
    home, wanted = Home.resolve(None), sys.argv[1:] or ["ui", "app"]
    if "ui" in wanted:
        with served("dev", home) as url:
            take_all(home, url)
    if "app" in wanted:
        with served("app", home) as url:
            take_app(url)


if __name__ == "__main__":
    main()
