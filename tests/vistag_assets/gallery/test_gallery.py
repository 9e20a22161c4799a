"""The contact sheet, from a hand-made lake to a real browser."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hand_made_lake import FOLDER, HOSTILE, IDS, make_home, tables, write
from PIL import Image

from resources.home import FolderRef, Home
from resources.workspace import open_workspace
from vistag_assets.gallery import Card, cards_of, one_page, paginate, render_index, render_page
from vistag_assets.gallery.html import CARDS_A_PAGE
from vistag_assets.gallery.pages import Sheet, gallery_page, make_contact_sheet
from vistag_assets.gallery.pictures import outline
from vistag_assets.progress import Meter

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

CHROMIUM = shutil.which("chromium")
NOW = datetime(2025, 1, 2, 3, 4, tzinfo=UTC)


def sheet(home: Home) -> Sheet:
    return make_contact_sheet(open_workspace(home), Meter("Contact sheet"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_home(tmp_path_factory.mktemp("gallery") / "home")
    assert sheet(home) == Sheet(pages=1, written=1, images=3, drawn=3)
    return home


@pytest.fixture(scope="module")
def cards(home: Home) -> list[Card]:
    rows = {name: found for name, found in tables().items() if name != "rejects"}
    return cards_of(rows, open_workspace(home).taxonomy)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("src", "href")]


def test_every_picture_that_the_page_names_lies_beside_it(home: Home) -> None:
    page = gallery_page(home)
    links = _Links()
    links.feed(page.read_text())
    assert len(links.targets) == 6  # a thumbnail and a larger picture a card
    for target in links.targets:
        assert not target.startswith(("http", "/", "data:"))
        with Image.open(page.parent / target) as picture:
            picture.load()


def test_hostile_words_stay_words(home: Home) -> None:
    text = gallery_page(home).read_text()
    links = _Links()
    links.feed(text)
    assert links.elements.count("script") == 1
    assert HOSTILE not in text
    assert "&lt;script&gt;alert" in text


def test_a_tag_tells_what_stands_behind_it(cards: list[Card]) -> None:
    bowl, vase, spotlight = cards[0].tags
    assert (bowl.label, bowl.facet.name, bowl.state, bowl.region_ids) == (
        "bowl",
        "object",
        "human",
        (f"{IDS[0][:12]}-r1",),
    )
    assert [(e.source, round(e.value, 2)) for e in bowl.evidence] == [
        ("whole picture", 0.9),
        ("detector", 0.9),
        ("language model", 0.9),  # exp(-0.1)
    ]
    assert [facet.name for facet in cards[0].tags_by_facet] == ["object", "lighting"]
    assert vase.region_ids
    assert not spotlight.region_ids
    assert cards[1].tags[0].ungrounded
    assert cards[2].tags[0].label == HOSTILE
    assert [card.to_review for card in cards] == [0, 0, 1]


def test_claims_are_found_in_the_description_and_the_others_listed(cards: list[Card]) -> None:
    card = cards[0]
    assert [(text, claim is not None) for text, claim in card.description_parts] == [
        ("A bowl", True),
        (" & a vase. The light is soft.", False),
    ]
    assert [claim.text for claim in card.claims_apart] == ["a warm light"]


def test_a_citation_that_was_put_right_is_no_doubt_about_a_claim(cards: list[Card]) -> None:
    assert [claim.flags for _, claim in cards[0].description_parts if claim] == [()]
    assert [claim.flags for claim in cards[0].claims_apart] == [("ungrounded",)]


def test_without_final_tags_the_best_scores_stand_in(home: Home) -> None:
    rows = {name: found for name, found in tables().items() if name in ("images", "proxies", "tag_scores")}
    first = cards_of(rows, open_workspace(home).taxonomy)[0]
    assert [tag.label for tag in first.tags] == ["spotlight", "bowl", "vase"]
    assert not any(tag.needs_review or tag.ungrounded for tag in first.tags)
    assert (first.caption, first.description, first.lane, first.regions) == ("", "", "", ())


def test_a_second_time_nothing_is_drawn_and_changed_regions_are_drawn_again(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    assert sheet(home).drawn == 3
    stray = gallery_page(home).parent / "overlays" / "stray.jpg"
    stray.touch()
    assert sheet(home).drawn == 0
    assert not stray.exists()
    rows = tables()["grounded_regions"]
    write(home, "grounded_regions", [dict(rows[0], score=0.5), *rows[1:]])
    assert sheet(home).drawn == 1
    assert len(list((gallery_page(home).parent / "overlays").iterdir())) == 1


def test_many_images_get_a_page_a_folder_and_an_index(cards: list[Card]) -> None:
    one, two = paginate("one", "lib/one", CARDS_A_PAGE + 1), paginate("two", "lib/two", 2)
    assert [(page.file, page.title, page.images) for page in [*one, *two]] == [
        ("one-1.html", "lib/one, 1 of 2", CARDS_A_PAGE),
        ("one-2.html", "lib/one, 2 of 2", 1),
        ("two.html", "lib/two", 2),
    ]
    assert paginate("none", "lib/none", 0) == []
    told = two[0].told_of(cards[:2])
    index = render_index([*one, told], "tier demo", NOW)
    assert re.findall(r'class="folder" href="([^"]+)"', index) == ["one-1.html", "one-2.html", "two.html"]
    assert re.findall(r'img src="([^"]+)"', index) == [f"thumbnails/{card.id}.jpg" for card in cards[:2]]
    assert f"{CARDS_A_PAGE + 3} images" in index
    middle = render_page(one[1], cards[:1], "tier demo", NOW, (one[0], two[0]))
    assert 'rel="prev" href="one-1.html"' in middle
    assert 'rel="next" href="two.html"' in middle


def many(home: Home, name: str, caption: str = "") -> None:
    """A folder of forty images; three are too many for one page."""
    key = f"lib--{name}"
    home.register(FolderRef(key, "lib", str(home.root / "library"), name))
    ids = [f"{name}{number:031d}" for number in range(40)]
    rows = {
        "images": [{"id": id_, "path": f"{name}/{id_}.jpg"} for id_ in ids],
        "proxies": [{"id": id_, "path": "proxies/1.jpg", "width": 40, "height": 30} for id_ in ids],
        "captions": [{"id": ids[0], "caption": caption, "problems": ["unfinished"]}],
    }
    for table, found in rows.items():
        home.lake.write(table, pa.Table.from_pylist(found), key)


def test_pages_of_unchanged_folders_stay(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (home.root / "proxies").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(home.root / "proxies" / "1.jpg")
    for name in ("a", "b", "d"):
        many(home, name)
    directory = gallery_page(home).parent

    def written() -> set[str]:
        """The pages that are other files afterwards, but for the index, which is written each time."""
        before = {page.name: page.stat().st_ino for page in directory.glob("lib*.html")}
        made = sheet(home)
        new = {
            page.name for page in directory.glob("lib*.html") if page.stat().st_ino != before.get(page.name)
        }
        assert made.written == len(new) + 1
        assert made.pages == len(list(directory.glob("*.html")))
        assert made.images == gallery_page(home).read_text().count("loading") // 6 * 40
        return new

    assert written() == {"lib--a.html", "lib--b.html", "lib--d.html"}
    assert written() == set()
    many(home, "b", "A caption.")
    assert written() == {"lib--b.html"}
    assert "A caption." in (directory / "lib--b.html").read_text()
    many(home, "c")  # its neighbours lead to it
    assert written() == {"lib--b.html", "lib--c.html", "lib--d.html"}
    assert 'rel="prev" href="lib--c.html"' in (directory / "lib--d.html").read_text()
    (directory / "lib--a.html").unlink()
    next((directory / "thumbnails").glob("b*.jpg")).unlink()
    (directory / ".made" / "lib--d.json").write_text("{}")
    assert written() == {"lib--a.html", "lib--b.html", "lib--d.html"}
    for table in home.lake.tables():
        home.lake.delete(table, "lib--a")
    assert written() == {"lib--b.html"}
    assert len(list((directory / "thumbnails").iterdir())) == 120
    home.lake.delete("images", "lib--b")
    home.lake.delete("images", "lib--c")
    assert sheet(home) == Sheet(pages=1, written=1, images=40, drawn=0)
    assert not list(directory.glob("lib*.html"))


def test_few_images_get_one_page(cards: list[Card]) -> None:
    assert one_page([("one", "lib/one", CARDS_A_PAGE), ("two", "lib/two", 1)]) is None
    few = one_page([("one", "lib/one", 1), ("none", "lib/none", 0), ("two", "lib/two", 2)])
    assert few is not None
    assert (few.file, few.title, few.images) == ("index.html", "lib/one, lib/two", 3)
    assert 'rel="next"' not in render_page(few, cards, "tier demo", NOW)
    none = one_page([])
    assert none is not None
    assert "no images yet" in render_page(none, [], "tier demo", NOW)


def test_the_outline_of_a_mask_runs_around_it() -> None:
    mask = tables()["region_masks"][0]
    path = outline(mask["height"], mask["width"], mask["counts"])
    numbers = [float(text) for text in re.findall(r"[\d.]+", path)]
    assert (min(numbers[::2]), max(numbers[::2])) == pytest.approx((0.1, 0.2), abs=0.005)
    assert (min(numbers[1::2]), max(numbers[1::2])) == pytest.approx((0.2, 0.4), abs=0.005)


@pytest.fixture(scope="module")
def tab(home: Home) -> Iterator["Tab"]:
    if CHROMIUM is None:
        pytest.skip("needs a chromium on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        tab.set_default_timeout(120_000)
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: said.append(request.url) if "file:" not in request.url else None)
        tab.goto(gallery_page(home).as_uri())
        yield tab
        browser.close()
    assert said == []


@pytest.mark.slow
def test_pointing_at_a_tag_lights_its_box_on_the_picture(tab: "Tab") -> None:
    card = tab.locator(".card").first
    card.locator(".tag", has_text="bowl").hover()
    assert card.locator("g.lit").count() == 1
    assert card.locator(".tip.lit").inner_text() == "bowl 0.90"
    box, picture = (card.locator(name).bounding_box() for name in ("g.lit rect.line", ".picture"))
    assert box is not None
    assert picture is not None
    assert (box["x"] - picture["x"]) / picture["width"] == pytest.approx(0.1, abs=0.02)
    assert box["height"] / picture["height"] == pytest.approx(0.2, abs=0.03)
    card.locator(".caption").hover()
    assert card.locator(".lit").count() == 0
    card.locator(".claim", has_text="A bowl").hover()
    assert card.locator(".tip.lit").inner_text() == "bowl 0.90"
    card.locator(".read .claim").hover()
    assert card.locator("g.lit").get_attribute("data-region") == "text-1-1"


@pytest.mark.slow
def test_the_keyboard_reaches_a_tag_and_opens_its_scores(tab: "Tab") -> None:
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("k")
    card = tab.locator(".card").first
    assert card.evaluate("card => card === document.activeElement")
    tab.keyboard.press("Tab")  # the picture
    tab.keyboard.press("Tab")
    assert card.locator("g.lit").count() == 1
    tab.keyboard.press("Enter")
    evidence = card.locator(".evidence:visible")
    assert "set by a person" in evidence.inner_text()
    assert "crop confirmed" in evidence.inner_text()
    tab.keyboard.press("Enter")
    assert evidence.count() == 0


@pytest.mark.slow
def test_a_box_under_the_pointer_lights_the_tags_that_cite_it(tab: "Tab") -> None:
    card = tab.locator(".card").first
    picture = card.locator(".picture")
    place = picture.bounding_box()
    assert place is not None
    picture.hover(position={"x": place["width"] * 0.6, "y": place["height"] * 0.3})
    assert card.locator(".tag.lit .word").all_inner_texts() == ["vase"]


@pytest.mark.slow
def test_pictures_load_and_cards_can_be_filtered(tab: "Tab") -> None:
    tab.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    tab.check("#review")
    assert tab.locator(".card:visible").count() == 1
    assert tab.locator("#count").inner_text() == "1 of 3"
    tab.uncheck("#review")
    tab.fill("#find", "SPOTLIGHT bowl")
    assert tab.locator(".card:visible").count() == 1
    tab.fill("#find", "")
    tab.check("#heavy")
    assert tab.locator(".card:visible").get_attribute("aria-label") == "a/2.jpg"
    tab.uncheck("#heavy")
    assert tab.locator(".card:visible").count() == 3


def test_the_folder_of_the_lake_is_the_title(home: Home) -> None:
    assert FOLDER in home.lake.folders("images")
    assert "<h1>lib/a " in gallery_page(home).read_text()
