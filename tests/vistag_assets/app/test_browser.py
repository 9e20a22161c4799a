"""The application in a real browser, by keys alone: evidence, decisions, the review queue, two reviewers at once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from app_client import Client, listening_app
from hand_made_lake import FOLDER, IDS, make_home

from resources.home import Home
from resources.workspace import open_workspace
from vistag_assets.review.queue import update_queue

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the PATH, or $CHROMIUM"),
]
PATIENCE_MS = 90_000
Opened = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path / "home")
    update_queue(open_workspace(home))
    return home


@pytest.fixture
def client(home: Home) -> Iterator[Client]:
    with listening_app(home) as client:
        yield client


@pytest.fixture
def opened(browser: Browser, client: Client) -> Iterator[Opened]:
    """Opens a path as a person of that name, in a browser of their own; no error may come up in its console."""
    errors: list[str] = []
    contexts = []

    def open_page(path: str, who: str = "Ada", **context: Any) -> Page:
        contexts.append(browser.new_context(base_url=client.url, **context))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.add_init_script(f"localStorage.setItem('reviewer', {who!r})")
        page.goto(path)
        if path.startswith("/image"):
            page.wait_for_selector("body[data-open]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def until(page: Page, condition: str) -> None:
    """Until a JavaScript condition holds; the page's policy forbids what Playwright has for this."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(30)


def saved(page: Page) -> None:
    """Until all that was decided is on the server's disk."""
    until(page, "!Object.keys(localStorage).some((key) => key.startsWith('vistag-outbox'))")


def lines(client: Client) -> list[dict[str, Any]]:
    """What was decided on the pages; the log also has what stood in the lake before."""
    return [line for line in client.get("/api/decisions").json if line["reviewer"] != "unknown"]


def log(client: Client) -> list[tuple[str, str, str | None]]:
    return [(line["verdict"], line["reviewer"], line["concept_id"]) for line in lines(client)]


def lit(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "#shapes .lit", "found => found.map((g) => g.dataset.region)"
    )
    return found


EVIDENCE = f"/image/{FOLDER}/{IDS[0]}"
BOWL, VASE = f"{IDS[0][:12]}-r1", f"{IDS[0][:12]}-r2"


def test_a_phrase_a_tag_and_a_region_light_each_other(opened: Opened) -> None:
    page = opened(EVIDENCE)
    claim = page.locator(".description .claim").first
    claim.hover()
    assert lit(page) == [BOWL]
    page.mouse.move(2, 2)
    assert lit(page) == []
    claim.focus()  # as the keyboard does it
    assert lit(page) == [BOWL]
    page.locator("li.tag", has_text="vase").locator(".open").focus()
    assert lit(page) == [VASE]
    frame = page.locator("#viewer canvas").first.bounding_box()
    shape = page.locator(f"#shapes [data-region='{VASE}'] .line").bounding_box()
    assert frame
    assert shape
    page.mouse.move(shape["x"] + shape["width"] / 2, shape["y"] + shape["height"] / 2)
    assert lit(page) == [VASE]
    assert "vase" in page.inner_text("#pointed")
    assert page.locator("li.tag.lit .word").all_inner_texts() == ["vase"]


def test_boxes_and_masks_are_put_on_and_off_and_stay_so(opened: Opened) -> None:
    page = opened(EVIDENCE)
    mask = page.locator("#shapes .mask").first
    opacity = (
        "element => [getComputedStyle(element.parentElement).opacity, getComputedStyle(element).fillOpacity]"
    )
    until(page, "getComputedStyle(document.querySelector('#shapes g')).opacity === '0'")
    page.keyboard.press("b")
    until(page, "getComputedStyle(document.querySelector('#shapes g')).opacity === '0.9'")
    page.keyboard.press("m")
    until(page, "getComputedStyle(document.querySelector('#shapes .mask')).fillOpacity === '0.45'")
    page.locator("#opacity").fill("0.8")
    assert mask.evaluate(opacity)[1] == "0.8"
    page.reload()
    assert page.is_checked("#boxes")
    page.keyboard.press("b")
    assert not page.is_checked("#boxes")


def test_a_tag_is_opened_decided_and_taken_back_by_keys(opened: Opened, client: Client) -> None:
    page = opened(EVIDENCE)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    scores = page.locator("li.tag:has(.open:focus) .scores")
    assert "detector" in scores.inner_text()
    assert page.locator("li.tag:has(.open:focus) .word").inner_text() == "vase"
    page.keyboard.press("x")
    saved(page)
    assert log(client) == [("reject", "Ada", "vase")]
    (line,) = lines(client)
    assert (line["region_id"], line["shown"]) == (VASE, "0" * 16)
    page.reload()
    row = page.locator("li.tag", has=page.locator(".word", has_text="vase"))
    assert row.get_attribute("data-state") == "rejected"
    assert "Ada" in page.inner_text(".history")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("u")
    saved(page)
    assert [verdict for verdict, _, _ in log(client)] == ["reject", "accept", "undo"]
    told = lines(client)
    assert told[2]["undoes"] == told[1]["seq"]


def test_a_box_is_drawn(opened: Opened, client: Client) -> None:
    page = opened(EVIDENCE)
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.wait_for_selector("dialog[open] .a9s-annotationlayer")
    picture = page.locator("#redraw-picture").bounding_box()
    assert picture
    across = [(0.6, 0.5), (0.7, 0.6), (0.8, 0.75)]
    places = [(picture["x"] + x * picture["width"], picture["y"] + y * picture["height"]) for x, y in across]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places:
        page.mouse.move(*place)
    page.mouse.up()
    page.wait_for_selector("#redraw-keep:not([disabled])")
    page.keyboard.press("Enter")
    saved(page)
    (line,) = lines(client)
    assert (line["verdict"], line["concept_id"]) == ("redraw", "bowl")
    assert line["box"] == pytest.approx([0.6, 0.5, 0.2, 0.25], abs=0.02)
    page.reload()
    assert page.locator(f"#shapes [data-region='drawn-{line['seq']}']").count() == 1
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert len(lines(client)) == 1


def test_pictures_are_gone_through_by_keys_within_what_was_asked_for(opened: Opened) -> None:
    page = opened("/?tag=vase")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-open]")
    assert IDS[0] in page.url
    with page.expect_navigation():
        page.keyboard.press("ArrowRight")
    assert IDS[1] in page.url
    assert page.locator("#after").count() == 0
    with page.expect_navigation():
        page.keyboard.press("ArrowLeft")
    assert IDS[0] in page.url
    page.wait_for_selector("body[data-open]")
    with page.expect_navigation():
        page.keyboard.press("Escape")
    assert page.url.endswith("/?tag=vase")
    page.locator("#tag").fill("bo")
    page.wait_for_selector("#concepts li")
    page.locator("#tag").fill("bowl")
    until(page, "document.querySelector('#concepts li')?.textContent.startsWith('bowl ')")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.split("?")[1].startswith("words=&tag=bowl")


def test_light_and_dark(opened: Opened) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page = opened("/", color_scheme="dark")
    dark = page.evaluate(paper)
    page.locator("#theme").click()
    light = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == light
    assert opened("/", color_scheme="light").evaluate(paper) == light


def test_nothing_is_lost_while_the_server_does_not_answer(opened: Opened, client: Client) -> None:
    page = opened(EVIDENCE)
    page.evaluate("() => { window.fetch = () => Promise.reject(new Error('no network')); }")
    page.keyboard.press("j")
    page.keyboard.press("a")
    until(page, "document.getElementById('waiting').textContent.startsWith('1 ')")
    assert log(client) == []
    page.reload()  # as if the browser had been closed
    saved(page)
    assert log(client) == [("accept", "Ada", "bowl")]


def test_who_has_no_name_is_asked_for_it(opened: Opened, client: Client) -> None:
    page = opened(EVIDENCE, who="")
    page.keyboard.press("j")
    page.keyboard.press("a")
    assert page.evaluate("document.activeElement.id") == "reviewer"
    assert log(client) == []


# ---- the review queue


def asked(page: Page) -> str:
    page.wait_for_selector(".crops li:not([data-state]) button")
    return page.inner_text("#concept")


def test_the_queue_is_worked_through_with_single_keys(opened: Opened, client: Client) -> None:
    page = opened("/review")
    first = asked(page)
    tiles = page.locator(".crops li").count()
    page.keyboard.press("a")
    states = page.eval_on_selector_all(".crops li", "items => items.map((item) => item.dataset.state)")
    if tiles > 1:
        assert states[0] == "accepted"
    page.keyboard.press("u")
    saved(page)
    assert [verdict for verdict, _, _ in log(client)][:2] in (["accept", "undo"], ["accept"])
    assert page.inner_text("#speed").split()[1] == "decisions,"
    assert first


def test_a_batch_is_corrected_skipped_and_accepted_as_a_whole(opened: Opened, client: Client) -> None:
    page = opened("/review")
    asked(page)
    page.keyboard.press("c")
    page.wait_for_selector("dialog#correct[open]")
    page.keyboard.type("bottle")
    until(page, "document.querySelector('#concepts li')?.textContent.startsWith('bottle ')")
    page.keyboard.press("Enter")
    saved(page)
    (line,) = lines(client)
    assert (line["verdict"], line["corrected_to"]) == ("correct", "bottle")
    asked(page)
    page.keyboard.press("s")
    saved(page)
    assert log(client)[-1][0] == "skip"
    asked(page)
    left = page.locator(".crops li:not([data-state])").count()
    page.keyboard.press("Shift+A")
    saved(page)
    verdicts = [verdict for verdict, _, _ in log(client)]
    assert verdicts.count("accept") >= left > 0


def test_the_filter_hides_what_is_less_likely(opened: Opened) -> None:
    page = opened("/review")
    asked(page)
    page.locator("#least").fill("1")
    assert page.locator(".crops li:visible").count() == 0
    page.locator("#least").fill("0")
    assert page.locator(".crops li:visible").count() == page.locator(".crops li").count()


def test_two_reviewers_at_once_never_look_at_the_same(opened: Opened, client: Client) -> None:
    pages = [opened("/review", who=who) for who in ("Ada", "Grace")]
    concepts = [asked(page) for page in pages]
    pairs: list[set[str]] = []
    for page in pages:
        sources = page.eval_on_selector_all(".crops img", "images => images.map((image) => image.src)")
        pairs.append(set(sources))
    assert concepts[0] != concepts[1] or pairs[0].isdisjoint(pairs[1])
    for page in pages:
        page.keyboard.press("a")
    for page in pages:
        saved(page)
    told = lines(client)
    assert {line["reviewer"] for line in told} == {"Ada", "Grace"}
    said = [(line["image_id"], line["concept_id"]) for line in told]
    assert len(said) == len(set(said)) == 2


@pytest.mark.extras
def test_axe_finds_no_serious_fault(opened: Opened) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text()
    for path in ("/", EVIDENCE, "/review", "/search?text=bowl"):
        for scheme in ("light", "dark"):
            page = opened(path, color_scheme=scheme)
            if path == EVIDENCE:
                for button in page.locator(".open").all():
                    button.click()
            if path == "/review":
                asked(page)
                page.keyboard.press("a")
            page.evaluate(script)
            found = page.evaluate("axe.run()")["violations"]
            serious = [
                (fault["id"], fault["nodes"][0]["html"])
                for fault in found
                if fault["impact"] in ("serious", "critical")
            ]
            assert serious == [], (path, scheme)


def test_words_that_no_concept_is_called_are_kept_and_taken_back_with_what_was_rejected(
    opened: Opened, client: Client
) -> None:
    page = opened("/review")
    asked(page)
    page.keyboard.press("c")
    page.wait_for_selector("dialog#correct[open]")
    page.keyboard.type("zzyzx gadget")
    until(page, "document.querySelector('#concepts li')?.textContent.startsWith('Keep “zzyzx gadget”')")
    page.keyboard.press("Enter")
    assert page.locator("dialog#correct[open]").count() == 1, "words are kept on purpose alone"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    saved(page)
    rejected, kept = lines(client)
    assert (rejected["verdict"], rejected["concept_id"] is None) == ("reject", False)
    assert (kept["verdict"], kept["concept_id"], kept["phrase"]) == ("accept", None, "zzyzx gadget")
    assert kept["client_id"] == f"{rejected['client_id']}~words"
    if page.locator(".crops li[data-state]").count():  # the batch had more than one picture
        page.keyboard.press("u")
        saved(page)
        assert [line["undoes"] for line in lines(client)[2:]] == [kept["seq"], rejected["seq"]]


def test_words_that_were_looked_for_in_vain_stand_beside_the_concept_that_was_chosen(
    opened: Opened, client: Client
) -> None:
    page = opened("/review")
    asked(page)
    page.keyboard.press("c")
    page.wait_for_selector("dialog#correct[open]")
    page.keyboard.type("zzyzx gadget")
    until(page, "document.querySelector('#concepts li')?.textContent.startsWith('Keep')")
    page.locator("#instead").fill("bottle")
    until(page, "document.querySelector('#concepts li')?.textContent.startsWith('bottle ')")
    page.keyboard.press("Enter")
    saved(page)
    corrected, sought = lines(client)
    assert (corrected["verdict"], corrected["corrected_to"]) == ("correct", "bottle")
    assert (sought["verdict"], sought["phrase"], sought["corrected_to"]) == ("skip", "zzyzx gadget", "bottle")
