"""An exported manifest in Mirador 4, in a real browser, from a local server: its picture is shown and its tags are listed."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from exporting import export
from hand_made_lake import FOLDER, make_home
from services import free_port

CHROMIUM = shutil.which("chromium")
MIRADOR = "mirador@4.0.0"
PAGE = """<!doctype html><meta charset="utf-8"><div id="viewer" style="position:absolute;inset:0"></div>
<script src="mirador.min.js"></script>
<script>
Mirador.viewer({id: "viewer", annotations: {displayAll: true},
  window: {defaultSideBarPanel: "annotations", sideBarOpenByDefault: true},
  windows: [{manifestId: "MANIFEST"}]});
</script>"""
pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(
        CHROMIUM is None or shutil.which("npm") is None, reason="needs chromium and npm on the PATH"
    ),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """An exported folder with Mirador beside it, and the address that it is served at."""
    packed = subprocess.run(
        ["npm", "pack", MIRADOR, "--silent"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"{MIRADOR} cannot be had from the npm registry: {packed.stderr.strip()[:200]}")
    port = free_port()
    base, out = f"http://127.0.0.1:{port}", tmp_path / "out"
    export(make_home(tmp_path / "home"), "iiif", out, base=base)
    with tarfile.open(tmp_path / packed.stdout.strip()) as package:
        script = package.extractfile("package/dist/mirador.min.js")
        assert script is not None
        (out / "mirador.min.js").write_bytes(script.read())
    (out / "viewer.html").write_text(PAGE.replace("MANIFEST", f"{base}/{FOLDER}/manifest.json"))
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(out)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield out, base
    server.shutdown()
    thread.join()
    server.server_close()


def test_mirador_shows_the_pictures_and_lists_the_tags(site: tuple[Path, str]) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    _, base = site
    loaded: dict[str, int] = {}
    problems: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("response", lambda answer: loaded.update({answer.url: answer.status}))
        page.on("pageerror", lambda error: problems.append(str(error)))
        # Mirador asks for the picture some time after its canvas stands.
        with page.expect_response(f"{base}/images/lib/a/1.jpg", timeout=120_000) as picture:
            page.goto(f"{base}/viewer.html")
        assert picture.value.status == 200
        panel = page.locator(".mirador-companion-area-left, aside")
        for tag in ("bowl", "vase", "spotlight"):
            panel.get_by_text(tag, exact=True).first.wait_for(timeout=120_000)
        assert page.get_by_text("lib/a", exact=True).first.is_visible()  # the label of the manifest
        page.wait_for_function("document.querySelectorAll('canvas').length > 0", timeout=120_000)
        browser.close()
    assert {status for url, status in loaded.items() if url.startswith(base) and "favicon" not in url} == {
        200
    }
    assert problems == []
