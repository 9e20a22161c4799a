"""Words of pictures, models and names on pages and in the UI: they stay words."""

import json
import shutil
from pathlib import Path

import pytest
from hand_made_lake import make_home, tables, write

from resources.previews import Picture, preview
from resources.workspace import open_workspace
from vistag_assets.gallery.pages import gallery_page, make_contact_sheet
from vistag_assets.progress import Meter

CHROMIUM = shutil.which("chromium")
HOSTILE_WORDS = (
    """"'><script>document.title = 'ran'</script><img src=x onerror="document.title='ran'">"""
    """<a href="javascript:document.title='ran'" onfocus="document.title='ran'" autofocus>x</a>"""
    """</style></title></svg>{{ 7 * 7 }}<base href="http://127.0.0.1:1/">"""
)
FREE_TEXT = {
    *(
        "path",
        "phrase",
        "caption",
        "text",
        "title",
        "description",
        "concept_id",
        "keywords",
        "problems",
        "reasons",
    ),
    *("flags", "aspect"),
}


def hostile(value: object, field: str = "") -> object:
    """Rows of the lake with the hostile words behind every text that comes out of a picture, a model or a name."""
    if isinstance(value, dict):
        return {name: hostile(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner, field) for inner in value]
    return f"{value} {HOSTILE_WORDS}" if isinstance(value, str) and field in FREE_TEXT else value


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the PATH")
def test_no_word_of_a_picture_a_model_or_a_name_runs_in_the_gallery(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    homes = [make_home(tmp_path / name) for name in ("plain", "hostile")]
    for table, rows in tables().items():
        if table != "proxies":
            write(homes[1], table, hostile(rows))  # type: ignore[arg-type]
    (file,) = (homes[1].root / "folders").glob("*.json")
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"relative": HOSTILE_WORDS, "library": HOSTILE_WORDS})
    )
    for home in homes:
        make_contact_sheet(open_workspace(home), Meter("Contact sheet"))
    said: list[str] = []
    built: list[dict[str, int]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for home in homes:
            tab = browser.new_page()
            tab.set_default_timeout(120_000)
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("dialog", lambda dialog: said.append(dialog.message))
            tab.on(
                "request", lambda request: said.append(request.url) if "file:" not in request.url else None
            )
            tab.goto(gallery_page(home).as_uri())
            tab.wait_for_load_state()
            for tag in tab.locator(".tag").all():
                tag.hover()
            built.append(tab.evaluate(ELEMENTS))
            assert tab.title() != "ran"
        browser.close()
    assert said == []
    assert built[0].pop("words") == 0
    assert built[1].pop("words") > 10, "the words are on the page, as words"
    assert built[0] == built[1], "they made no element"


ELEMENTS = """() => {
  const counts = {words: document.body.innerText.split("document.title").length - 1};
  for (const element of document.querySelectorAll("script, img, a, base, style, svg, iframe, form, title"))
    counts[element.localName] = (counts[element.localName] || 0) + 1;
  return counts;
}"""


def test_cells_of_tables_in_the_ui_stay_text() -> None:
    cell = "![x](http://evil/p.png) <img src=x onerror=alert(1)> | www.evil.com\nme@evil.com `a`"
    table = preview(["a", "b"], [(cell, Picture("data:image/jpeg;base64,"))]).in_metadata()["preview"].value
    assert table is not None
    assert table.splitlines()[-1] == (
        r"| \!\[x\]\(http\://evil/p.png\) &lt;img src=x onerror=alert\(1\)&gt; \| www\.evil.com me\@evil.com \`a\` "
        "| ![](data:image/jpeg;base64,) |"
    )
