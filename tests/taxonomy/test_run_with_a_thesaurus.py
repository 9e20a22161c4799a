"""Ten images of the demo tagged with vocabularies in the manner of UNESCO's and of STW: tags carry IRI and notation."""

from pathlib import Path

import pytest
from rdflib import Graph
from typer.testing import CliRunner

from demo.corpus import make_corpus
from resources.home import Home
from vistag_assets.cli import app

THINGS = {
    "bowl": "Schüssel", "vase": "Vase", "bottle": "Flasche", "jug": "Krug", "bell": "Glocke", "sword": "Schwert",
    "key": "Schlüssel", "violin": "Geige", "chair": "Stuhl", "clock": "Uhr", "camera": "Fotoapparat", "book": "Buch",
    "fish": "Fisch", "bird": "Vogel", "wheel": "Rad",
}  # fmt: skip
SKOS = "@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n@prefix owl: <http://www.w3.org/2002/07/owl#> .\n"


def unesco_like() -> str:
    lines = [SKOS, "@prefix : <http://vocabularies.example/thesaurus/> ."]
    for number, (english, _) in enumerate(THINGS.items(), start=1):
        lines.append(
            f':concept{number} a skos:Concept ; skos:prefLabel "{english.capitalize()}s"@en, "{english} fr"@fr ; '
            f'skos:notation "{number}.05" ; skos:inScheme <http://vocabularies.example/thesaurus> ; '
            f"skos:broader :concept{number + 40} ."
        )
        lines.append(f":mt{number % 3} a skos:Collection ; skos:member :concept{number} .")
    return "\n".join([*lines, ":mt0 skos:member :concept1, :concept2 ."]) + "\n"


def stw_like() -> str:
    lines = [SKOS, "@prefix : <http://zbw.example/stw/descriptor/> ."]
    for number, (english, german) in enumerate(THINGS.items(), start=10000):
        lines.append(
            f':{number}-{number % 10} a skos:Concept ; skos:prefLabel "{german}"@de, "{english.capitalize()}"@en ; '
            f'skos:altLabel "{german}sammlung"@de ; skos:notation "V.{number}" .'
        )
    lines.append(':9-9 a skos:Concept ; skos:prefLabel "Alt"@de ; owl:deprecated true .')
    return Graph().parse(data="\n".join(lines), format="turtle").serialize(format="xml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "options", "label", "iri", "notation"),
    [
        ("unesco.ttl", unesco_like(), (), "Bowls", "http://vocabularies.example/thesaurus/concept1", "1.05"),
        (
            "stw.rdf",
            stw_like(),
            ("--language", "de"),
            "Schüssel",
            "http://zbw.example/stw/descriptor/10000-0",
            "V.10000",
        ),
    ],
)
def test_tags_carry_label_iri_and_notation_of_the_thesaurus(
    tmp_path: Path, name: str, text: str, options: tuple[str, ...], label: str, iri: str, notation: str
) -> None:
    make_corpus(tmp_path / "corpus", 10)
    vocabulary = tmp_path / name
    vocabulary.write_text(text, encoding="utf-8")
    home = tmp_path / "home"
    arguments = ["run", str(tmp_path / "corpus" / "library"), "--tier", "demo", "--home", str(home)]
    done = CliRunner().invoke(app, [*arguments, "--taxonomy", str(vocabulary), *options])
    assert done.exit_code == 0, done.output
    tags = [row for row in Home(home).lake.read_all("tags").to_pylist() if row["concept_id"]]
    assert {row["id"] for row in tags}
    assert all(row["iri"] and row["notation"] for row in tags)
    known = {row["phrase"]: (row["iri"], row["notation"]) for row in tags}
    assert len(known) >= 5
    assert known.get(label, (iri, notation)) == (iri, notation)
    pages = "".join(page.read_text() for page in (home / "reports" / "gallery").rglob("*.html"))
    assert any(found in pages for found, _ in known.values())
    query = f"select pref_label, iri from vocabulary where notation = '{notation}'"
    shown = CliRunner().invoke(app, ["sql", query, "--home", str(home)])
    assert label in shown.output
