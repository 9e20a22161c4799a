"""Working with a vocabulary: figures, what changed, a proposal of facets, and the commands for it."""

from pathlib import Path

import pytest
from thesauri import thesaurus
from typer.testing import CliRunner

from taxonomy import load_facets, load_taxonomy, stats
from taxonomy.differences import differences
from taxonomy.facet_proposal import propose_facets
from vistag_assets.cli import app

HEADER = "id,pref_label,alt_labels,facet,broader,definition\n"


def saved(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def output(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_differences_are_told_concept_by_concept(tmp_path: Path) -> None:
    old = saved(
        tmp_path / "a.csv",
        HEADER + "a,axe,,object,,\nb,bowl,,object,,\nc,cup,mug,object,,\nd,dish,,object,,\n",
    )
    new = saved(
        tmp_path / "b.csv",
        HEADER + "a,axe,,object,,Cuts.\nb,basin,,object,,\nc,cup,,object,a,\ne,ewer,,object,,\n",
    )
    found = differences(load_taxonomy(old), load_taxonomy(new))
    assert (found.added, found.removed, found.described) == (("e",), ("d",), ("a",))
    assert found.relabelled == {"b": ("bowl", "basin"), "c": ("cup", "cup")}
    assert found.moved == {"c": ("object: top", "object: a")}
    assert found.phrases == 6
    assert found.rescored
    told = output("taxonomy", "diff", old, new)
    assert "relabelled b: bowl -> basin" in told
    assert "6 phrases are new to the encoder" in told
    assert "no tag is computed again" in output("taxonomy", "diff", old, old)


def test_a_proposal_of_facets_is_read_as_facets(tmp_path: Path) -> None:
    rows = (
        "things,things,,,,\nx1,bowl,,,things,\nx2,vase,,,things,\nmatter,matter,,,,\ny1,bronze,,,matter,\n"
        "y2,oak,,,matter,\nunheard,unheard of,,,,\n"
    )
    path = saved(tmp_path / "v.csv", HEADER + rows)
    saved(tmp_path / "v.facets.yaml", propose_facets(path, ("en",), {}))
    members = {name: facet.members for name, facet in load_facets(tmp_path / "v.facets.yaml").items()}
    assert members == {"object": ("things", "unheard"), "material": ("matter",)}
    assert load_taxonomy(path).by_id["y2"].facet == "material"
    assert load_taxonomy(path).flaws == ()


def test_collections_are_proposed_by_their_label(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.ttl", thesaurus())
    text = output("taxonomy", "facets", path)
    assert '"http://thesaurus.example/group/mt0"  # Group 0: ' in text
    saved(tmp_path / "v.facets.yaml", text)
    assert not any(flaw.kind == "no-facet" for flaw in load_taxonomy(path).flaws)


def test_figures_tell_languages_and_what_is_asked_in_english(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.ttl", thesaurus())
    found = stats(load_taxonomy(path, languages=("fr",)))
    assert found.languages == {"fr": 55, "ru": 55, "en": 50}
    assert (found.asked_in_english, found.deprecated) == (50, 5)
    assert "fr 55, ru 55, en 50" in output("taxonomy", "stats", path, "--language", "fr")


def test_a_file_is_checked_converted_and_checked_again(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.csv", "Objekt;Auch\nKran;Hebekran\n")
    columns = ("--column", "Objekt=pref_label@de", "--column", "Auch=alt_labels@de", "--language", "de")
    assert "can be used" in output("taxonomy", "check", path, *columns).replace("\n", " ")
    assert "has no facet" in output("taxonomy", "check", path, *columns, "--strict", code=1).replace(
        "\n", " "
    )
    told = output("taxonomy", "convert", path, tmp_path / "v.rdf", *columns)
    fingerprint = load_taxonomy(tmp_path / "v.rdf", languages=("de",)).fingerprint
    assert fingerprint in told
    assert fingerprint in output("taxonomy", "check", tmp_path / "v.rdf", "--language", "de").replace(
        "\n", ""
    )
    assert "is there already" in output("taxonomy", "convert", path, tmp_path / "v.rdf", *columns, code=1)


@pytest.mark.parametrize("column", ["Objekt", "=pref_label", "Objekt="])
def test_a_column_that_is_not_told_is_named(tmp_path: Path, column: str) -> None:
    path = saved(tmp_path / "v.csv", "Objekt\nKran\n")
    assert "give HEADING=FIELD" in output("taxonomy", "check", path, "--column", column, code=1)
