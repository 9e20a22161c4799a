"""Draw the pictures of the README and the docs from the home of the last `make demo`. Run by `make pictures`.

`python docs/pictures.py HOME` draws photographs.jpg alone, of a home of the tier offline with the pictures of scikit-image.
"""

import os
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from resources.home import Home
from resources.images import open_proxy
from resources.workspace import open_workspace
from vistag_assets.search.page import write_page
from vistag_assets.search.query import Query, Searcher
from vistag_assets.search.updating import update_all
from vistag_assets.whole_image.best_tags import Tag, best_tags

HERE = Path(__file__).parent / "images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
TILE_PX, LINE_PX, COLUMNS, ROWS, TAGS = 300, 21, 4, 2, 5
SHOWN_PROBABILITY = 0.05
COLOURS = 192
"""Of a screenshot that shows drawings."""
PAPER, INK, FOUND, MISSED = "#ffffff", "#222222", "#00664d", "#a23b00"


def contact_sheet(home: Home, path: Path) -> None:
    """Images of the demo with their best tags, green where the ground truth names them or a narrower one."""
    workspace = open_workspace(home)
    labels = workspace.taxonomy.pref_labels
    truth = workspace.lake.read("ground_truth").to_pylist()
    true_tags = {
        (row["id"], concept)
        for row in truth
        for concept in (row["concept_id"], *workspace.taxonomy.ancestors(row["concept_id"]))
    }
    shown = []
    for folder in home.folders():
        proxies = workspace.lake.read("proxies", folder.key, ["id", "path"]).slice(0, 2).to_pylist()
        tags = best_tags(workspace.lake, folder.key, [proxy["id"] for proxy in proxies], TAGS, "tags")
        shown += [
            (
                proxy,
                [
                    (tag, labels[tag.concept_id], (proxy["id"], tag.concept_id) in true_tags)
                    for tag in tags[proxy["id"]]
                ],
            )
            for proxy in proxies
        ]
    _tiles(home, shown[: COLUMNS * ROWS], path)


def photographs(home: Home, path: Path) -> None:
    """Photographs with their best tags."""
    workspace = open_workspace(home)
    labels = workspace.taxonomy.pref_labels
    (folder,) = home.folders()
    proxies = workspace.lake.read("proxies", folder.key, ["id", "path"]).to_pylist()
    tags = best_tags(workspace.lake, folder.key, [proxy["id"] for proxy in proxies], TAGS, "tags")
    shown = [
        (
            proxy,
            [
                (tag, labels[tag.concept_id], True)
                for tag in tags[proxy["id"]]
                if tag.probability >= SHOWN_PROBABILITY
            ],
        )
        for proxy in proxies
    ]
    _tiles(home, shown[:COLUMNS], path)


def _tiles(home: Home, shown: list[tuple[dict[str, str], list[tuple[Tag, str, bool]]]], path: Path) -> None:
    """Pictures with lines of tags below: tag, label, whether it is drawn as found."""
    rows = -(-len(shown) // COLUMNS)
    tile_height = TILE_PX + TAGS * LINE_PX + 26
    sheet = Image.new("RGB", (COLUMNS * (TILE_PX + 20) + 20, rows * tile_height + 10), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for number, (proxy, lines) in enumerate(shown):
        x, y = 20 + number % COLUMNS * (TILE_PX + 20), 14 + number // COLUMNS * tile_height
        image = open_proxy(home.root, proxy["path"])
        image.thumbnail((TILE_PX, TILE_PX))
        sheet.paste(image, (x + (TILE_PX - image.width) // 2, y + (TILE_PX - image.height) // 2))
        for line, (tag, label, right) in enumerate(lines):
            text = f"{tag.probability:.2f}  {label}"
            place = (x + 4, y + TILE_PX + 6 + line * LINE_PX)
            draw.text(place, text, font=font, fill=FOUND if right else MISSED)
    sheet.save(path, quality=88)


def report_pictures(home: Home) -> None:
    """The head of the long-tail report, light and dark, from a real browser."""
    page_file = home.reports_dir / "long_tail.html"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme=scheme)
            page.goto(page_file.resolve().as_uri())
            page.wait_for_timeout(1500)
            page.screenshot(path=HERE / f"report-{scheme}.png")
        browser.close()


def gallery_picture(home: Home) -> None:
    """The beginning of a page of the contact sheet, one tag with its boxes and scores open."""
    page_file = sorted((home.reports_dir / "gallery").glob("*-*.html"))[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1150}, color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=HERE / "gallery.png")
        browser.close()


def search_pictures(home: Home) -> None:
    """Pages of three searches: by words, by a picture, by a region that was found."""
    workspace = open_workspace(home)
    update_all(workspace)
    searcher = Searcher(workspace)
    by_words = Query(text="violin", top=10)
    first = searcher.search(by_words)[0]
    region = searcher.search(Query(text="shield", within="regions", top=1))[0]
    searches = {
        "words": by_words,
        "picture": Query(image=open_proxy(home.root, first.proxy), top=10),
        "region": Query(image=open_proxy(home.root, region.proxy), box=region.box, top=10),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 780}, color_scheme="light")
        for name, query in searches.items():
            page.goto(write_page(workspace, query, searcher.search(query)).resolve().as_uri())
            page.screenshot(path=HERE / f"search-{name}.png")
            with Image.open(HERE / f"search-{name}.png") as picture:
                small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(HERE / f"search-{name}.png", optimize=True)
        browser.close()


def main() -> None:
    HERE.mkdir(exist_ok=True)
    if len(sys.argv) > 1:
        photographs(Home.resolve(Path(sys.argv[1])), HERE / "photographs.jpg")
        return
    home = Home.resolve(None)
    contact_sheet(home, HERE / "tags.jpg")
    report_pictures(home)
    gallery_picture(home)
    search_pictures(home)


if __name__ == "__main__":
    main()
