"""Keywords of files: what they mean in a vocabulary, and a report that stands on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small_library import draw_library, use_tier
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home import Home
from taxonomy import Taxonomy
from taxonomy.keywords import Keywords
from taxonomy.loading import load_taxonomy
from vistag_assets.cli import app
from vistag_assets.ingest.keywords import keywords_in_files

VOCABULARY = """id,pref_label,alt_labels,facet,broader,notation,exact_match
animal,animal,,object,,,
bird,bird,Vogel,object,animal,,
crane-bird,crane,,object,bird,25F36,http://www.wikidata.org/entity/Q25365
machine,machine,,object,,,
crane-machine,crane,hoist,object,machine,,
vase,vase,flower vase,object,,,
bowl,bowl,,object,,,
"""


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory: pytest.TempPathFactory) -> Taxonomy:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.csv"
    path.write_text(VOCABULARY)
    return load_taxonomy(path)


@pytest.mark.parametrize(
    ("keywords", "paths", "concepts", "unknown", "ambiguous"),
    [
        (["Vases", "flower vase"], [], {"vase"}, [], []),  # number, alternative label
        (["crane"], [], set(), [], ["crane"]),  # nothing says which
        (["crane"], [["birds", "crane"]], {"crane-bird"}, [], []),
        (["crane", "animals"], [["animals", "birds", "Crane"]], {"crane-bird"}, [], []),
        ([], [["Machines", "hoist"]], {"crane-machine"}, [], []),
        ([], [["vases", "crane"]], set(), [], ["vases|crane"]),  # it lies below no vase
        ([], [["Places", "bowl"]], {"bowl"}, [], []),  # what stands above says nothing
        ([], [["birds", "grey heron"]], {"bird"}, ["birds|grey heron"], []),
        (["bird", "animal"], [], {"bird"}, [], []),  # the narrower one alone
        (["25F36"], [], {"crane-bird"}, [], []),
        (["http://www.wikidata.org/entity/Q25365"], [], {"crane-bird"}, [], []),
        (["crane-machine"], [], {"crane-machine"}, [], []),  # an id
        (["Aunt Mary", ""], [], set(), ["Aunt Mary", ""], []),
    ],
)
def test_what_keywords_mean(
    taxonomy: Taxonomy,
    keywords: list[str],
    paths: list[list[str]],
    concepts: set[str],
    unknown: list[str],
    ambiguous: list[str],
) -> None:
    meant = Keywords(taxonomy).meant(keywords, paths)
    assert meant.concepts == concepts
    assert list(meant.unknown) == unknown
    assert [name for name, _ in meant.ambiguous] == ambiguous


def sidecar(picture: Path, *keywords: str) -> None:
    items = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords)
    picture.with_name(f"{picture.name}.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag>{items}</rdf:Bag>'
        "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def say(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.slow
def test_librarians_keywords_give_a_report_on_day_one(tmp_path: Path) -> None:
    home, library = Home(tmp_path / "home"), draw_library(tmp_path)
    home.root.mkdir(mode=0o700)
    (tmp_path / "vocabulary.csv").write_text(VOCABULARY)
    use_tier(home, tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    for number in range(5):
        sidecar(library / "a" / f"{number}.png", "flower vase", "Grandma")
    sidecar(library / "b" / "0.png", "bowl", "crane", "vasse")
    text = say("run", library, "--keywords-as-truth", "--home", home.root)
    assert "6 of 10 pictures have keywords: 2 concepts of the vocabulary, 2 keywords that are none" in text
    assert "Unknown: Grandma 5, vasse (nearest: vase) 1." in text
    assert "Ambiguous: crane (crane-bird or crane-machine) 1." in text
    report = home.reports_dir / "long_tail.html"
    figures = json.loads(report.with_suffix(".json").read_text())
    assert figures["absent_is_unknown"] is True
    assert figures["tag_recall"]["overall"]["10"]["support"] == 6
    assert not {"tag_map", "tag_f1", "calibration"} & figures.keys()
    page, words = report.read_text(), report.with_suffix(".md").read_text()
    for view in (page, words):
        assert "stand on the keywords that people left in 6 files" in view
        assert "F1@10" not in view
    assert "Average precision</th>" not in page

    table = tmp_path / "keywords.csv"
    say("keywords", "--to", table, "--accept", "--home", home.root)
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["keyword"]: row for row in csv.DictReader(file)}
    assert rows["vase"] | {"pictures": "5", "meaning": "known", "concept_id": "vase"} == rows["vase"]
    assert rows["vasse"]["nearest_label"] == "vase"
    assert rows["crane"]["concept_id"] == "crane-bird crane-machine"
    say("keywords", "--accept", "--home", home.root)
    events = home.decisions.since()
    assert [event.source for event in events] == ["file"] * 6  # once each
    say("decide", library / "b" / "0.png", "bowl", "reject", "--home", home.root)
    say("run", library, "--home", home.root)
    states = say(
        "sql",
        "select concept_id, state, count(*) from tags where state <> 'machine' group by all",
        "--home",
        home.root,
    )
    assert "vase" in states
    assert "rejected" in states  # what a file says never overrules a person


def test_a_folder_is_read_without_a_home(tmp_path: Path, taxonomy: Taxonomy) -> None:
    library = draw_library(tmp_path)
    sidecar(library / "a" / "1.png", "Vogel")
    found = {path.relative_to(library): meant for path, meant in keywords_in_files(library, taxonomy)}
    assert len(found) == 11
    assert {path: meant.concepts for path, meant in found.items() if meant.concepts} == {
        Path("a/1.png"): {"bird"}
    }
