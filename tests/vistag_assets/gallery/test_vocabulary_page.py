"""The page of the vocabulary: each concept below its broader ones, with the images that the lake has of it."""

from html.parser import HTMLParser
from pathlib import Path

from hand_made_lake import make_home

from resources.home import Settings, write_settings
from resources.workspace import open_workspace
from taxonomy import Concept, Taxonomy
from vistag_assets.gallery.vocabulary_page import Counted, counts, tree, write_vocabulary_page


def test_a_concept_with_two_broader_ones_has_its_narrower_ones_below_the_first_alone() -> None:
    concepts = (
        Concept("a", "a"), Concept("b", "b"), Concept("c", "c", broader=("a", "b")), Concept("d", "d", broader=("c",)),
    )  # fmt: skip
    lines = list(tree(Taxonomy(concepts), {"c": Counted(7, ())}))
    assert [(line.concept.id, line.opens, line.closes) for line in lines] == [
        ("a", True, 0), ("c", True, 0), ("d", False, 2), ("b", True, 0), ("c", False, 1),
    ]  # fmt: skip
    assert [line.counted.images for line in lines] == [0, 7, 0, 0, 7]


class _Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        elif tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_counts_images_and_shows_some(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    vocabulary = tmp_path / "v.csv"
    vocabulary.write_text(
        "id,pref_label,broader,definition\nvessel,vessel,,\nbowl,bowl,vessel,A <b>bowl</b>.\nvase,vase,vessel,\n"
    )
    write_settings(home, Settings(taxonomy=str(vocabulary)))
    workspace = open_workspace(home)
    found = counts(workspace)
    assert found["bowl"].images >= 1
    page = write_vocabulary_page(workspace).read_text()
    read = _Balanced()
    read.feed(page)
    assert read.open == []
    assert f"gallery/thumbnails/{found['bowl'].examples[0]}.jpg" in read.pictures
    assert "A &lt;b&gt;bowl" in page
