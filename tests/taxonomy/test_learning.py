"""Words of people into proposed labels, a diff that a person decides, and a copy of the vocabulary with what was accepted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyoxigraph
import pytest

from taxonomy import Concept, Taxonomy, TaxonomyError, Translation, load_taxonomy, write_taxonomy
from taxonomy.learning.accepting import NotAcceptable, with_accepted
from taxonomy.learning.diff_file import read_entries, to_turtle
from taxonomy.learning.proposals import Learned, Said, learn

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SKOS = "http://www.w3.org/2004/02/skos/core#"
VOCABULARY = Taxonomy(
    (
        Concept("vessel", "vessel"),
        Concept(
            "bowl",
            "bowl",
            ("dish",),
            broader=("vessel",),
            translations=(Translation("nl", "kom", ("schaal",)),),
        ),
        Concept("amphora", "amphora", broader=("vessel",)),
        Concept("crane", "crane"),
    )
)
THESAURUS = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix m: <https://museum.example/concept/> .
m:1 a skos:Concept ; skos:prefLabel "bowl"@en, "kom"@nl ; skos:scopeNote "open vessels"@en ; skos:notation "V1" .
m:2 a skos:Concept ; skos:prefLabel "amphora"@en ; skos:broader m:1 ; <urn:shelf> "7" .
"""


def said(words: str, image: str = "a", who: str = "ada", **more: str | None) -> Said:
    how = more.pop("how", None) or "typed"
    return Said(words, who, NOW, image, how, **more)


def one(*heard: Said) -> Learned:
    return learn(heard, VOCABULARY)


def test_words_that_were_looked_for_before_a_concept_was_chosen_are_a_synonym_of_it() -> None:
    (proposal,) = one(said("tea bowl", meant="bowl"), said("Tea-Bowl", "b", "bea", meant="bowl")).proposals
    assert (proposal.kind, proposal.concept_id, proposal.language) == ("altLabel", "bowl", "en")
    assert (proposal.pictures, proposal.people) == (["a", "b"], ["ada", "bea"])
    assert proposal.conflicts == ()


def test_a_misspelt_label_is_hidden() -> None:
    (proposal,) = one(said("ampora")).proposals
    assert (proposal.kind, proposal.concept_id) == ("hiddenLabel", "amphora")


def test_a_misspelling_of_a_label_in_another_language_is_of_its_concept() -> None:
    (proposal,) = one(said("schaaal")).proposals
    assert (proposal.kind, proposal.concept_id) == ("hiddenLabel", "bowl")


def test_words_that_nobody_placed_are_a_new_concept_below_what_their_end_names() -> None:
    (proposal,) = one(said("footed bowls")).proposals
    assert (proposal.kind, proposal.concept_id, proposal.broader) == ("prefLabel", "footed-bowls", "bowl")
    assert "nobody said" in proposal.conflicts[0]


@pytest.mark.parametrize(
    ("words", "label_of"), [("dishes", "bowl"), ("Schaal", "bowl"), ("CRANE", "crane")], ids=str
)
def test_what_is_a_label_by_now_in_whatever_language_and_number_is_told_and_not_proposed(
    words: str, label_of: str
) -> None:
    learned = one(said(words))
    assert (learned.proposals, learned.known) == ((), ((words, (label_of,)),))


def test_what_speaks_against_a_label_is_said() -> None:
    proposals = one(
        said("ampora", meant="bowl"),
        said("kraan machine", meant="crane"),
        said("kraan machine", "b", meant="bowl"),
        said("kraan machin", "c", meant="crane"),
        said("чаша", meant="bowl"),
    ).proposals
    told = {proposal.words: " | ".join(proposal.conflicts) for proposal in proposals}
    assert 'a letter from "amphora", a label of amphora' in told["ampora"]
    assert "meant were crane (1), bowl (1)" in told["kraan machine"]
    assert 'a letter from "kraan machin"' in told["kraan machine"]
    assert "say which language" in told["чаша"]


def test_few_pictures_and_what_was_decided_before_propose_nothing() -> None:
    heard = [said("tea bowl"), said("tea bowl"), said("krater", "a"), said("krater", "b")]
    learned = learn(heard, VOCABULARY, least=2, decided={"tea bowl"})
    assert [proposal.words for proposal in learned.proposals] == ["krater"]
    assert learned.decided == ("tea bowl",)


def diff(tmp_path: Path, *heard: Said, taxonomy: Taxonomy = VOCABULARY, **changes: str) -> Path:
    """The diff of these words, all accepted, with some texts replaced."""
    text = to_turtle(learn(heard, taxonomy).proposals, taxonomy).replace('"undecided" ;', '"accept" ;')
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "diff.ttl"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_diff_says_who_said_it_when_of_which_pictures(tmp_path: Path) -> None:
    path = diff(
        tmp_path, said('tea "bowl"\\', meant="bowl"), said('tea "bowl"\\', "b", "bea o'neill", meant="bowl")
    )
    (entry,) = read_entries(path)
    assert entry.words == 'tea "bowl"\\'
    assert {iri.rpartition("/")[2] for _, iri in entry.provenance} == {"a", "b", "ada", "bea%20o%27neill"}
    assert dict(entry.times)["http://www.w3.org/ns/prov#generatedAtTime"] == NOW.isoformat()
    # any other reader of Turtle reads it too
    assert len(list(pyoxigraph.parse(path=str(path), format=pyoxigraph.RdfFormat.TURTLE))) > 8


def accepted(source: Path, taxonomy: Taxonomy, path: Path, to: Path) -> Taxonomy:
    to.write_bytes(with_accepted(source, taxonomy, read_entries(path), "eve", NOW))
    return load_taxonomy(to)


def test_accepted_labels_are_in_a_copy_which_keeps_all_that_a_thesaurus_says(tmp_path: Path) -> None:
    source = tmp_path / "thesaurus.ttl"
    source.write_text(THESAURUS, encoding="utf-8")
    before = load_taxonomy(source)
    words = [said("tea bowl", meant="1"), said("ampora"), said("krater of amphora", meant=None)]
    path = diff(tmp_path, *words, taxonomy=before)
    after = accepted(source, before, path, tmp_path / "copy.ttl")
    assert after.by_id["1"].alt_labels == ("tea bowl",)
    assert after.by_id["2"].hidden_labels == ("ampora",)
    assert after.by_id["krater-of-amphora"].broader == ("2",)
    assert after.labels.concept_of("amporas") is None  # as it stands
    assert after.labels.concept_of("ampora") == "2"
    assert not any("ampora" in text for text in after.phrases(after.by_id["2"]))
    copy = (tmp_path / "copy.ttl").read_text(encoding="utf-8")
    assert all(kept in copy for kept in ("open vessels", "urn:shelf", "acceptedBy"))
    assert source.read_text(encoding="utf-8") == THESAURUS


def test_a_spreadsheet_becomes_turtle_with_the_same_concepts_and_facets(tmp_path: Path) -> None:
    source = tmp_path / "own.csv"
    write_taxonomy(VOCABULARY, source)
    before = load_taxonomy(source)
    path = diff(tmp_path, said("tea bowl", meant="bowl"), said("footed bowl"), taxonomy=before)
    after = accepted(source, before, path, tmp_path / "copy.ttl")
    assert after.by_id.keys() - before.by_id.keys() == {"footed-bowl"}
    assert after.by_id["footed-bowl"].facet == "object"
    assert after.by_id["bowl"].translations == before.by_id["bowl"].translations


@pytest.mark.parametrize(
    ("words", "changes", "told"),
    [
        (said("чаша", meant="bowl"), {}, "say which language"),
        (said("tea bowl", meant="bowl"), {"concept/bowl": "concept/nothing"}, "is no concept of the vocabulary"),
        (said("tea bowl", meant="bowl"), {'"tea bowl"@': '"dish"@', "concept/bowl": "concept/crane"}, "label of bowl"),
        (said("tea bowl", meant="bowl"), {"vistag:as skos:altLabel": "vistag:as skos:prefLabel"}, "has a preferred label"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_vocabulary_is_refused_and_nothing_is_written(
    words: Said, changes: dict[str, str], told: str, tmp_path: Path
) -> None:
    source = tmp_path / "own.csv"
    write_taxonomy(VOCABULARY, source)
    path = diff(tmp_path, words, **changes)
    with pytest.raises(NotAcceptable, match=told):
        with_accepted(source, VOCABULARY, read_entries(path), "eve", NOW)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [('"accept"', '"yes"', "write accept, reject"), ("skos:altLabel ;", "skos:note ;", "vistag:as is")],
)
def test_a_diff_that_cannot_be_used_is_told_by_line_and_label(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    path = diff(tmp_path, said("tea bowl", meant="bowl"), **{old: new})
    with pytest.raises(TaxonomyError, match=told) as raised:
        read_entries(path)
    assert "diff.ttl:" in str(raised.value)
    assert "tea-bowl" in str(raised.value)


@pytest.mark.parametrize("suffix", [".ttl", ".jsonld", ".csv", ".rdf"])
def test_hidden_labels_survive_every_format_and_change_the_fingerprint_only_where_there_are_some(
    suffix: str, tmp_path: Path
) -> None:
    def loaded(concept: Concept, suffix: str) -> Taxonomy:
        write_taxonomy(Taxonomy((concept,)), tmp_path / f"v{suffix}")
        return load_taxonomy(tmp_path / f"v{suffix}")

    hidden = loaded(Concept("amphora", "amphora", hidden_labels=("ampora", "amfora")), suffix)
    assert hidden.by_id["amphora"].hidden_labels == ("amfora", "ampora")
    assert hidden.fingerprint != loaded(Concept("amphora", "amphora"), suffix).fingerprint
    (concept,) = hidden.concepts
    assert hidden.fingerprint == loaded(concept, ".nt").fingerprint
