"""Other people's vocabularies: what is read of them, what is mended and told, and that no syntax makes a difference."""

from collections import Counter
from pathlib import Path

import pytest
from rdflib import Graph
from rdflib.namespace import RDF, SKOS
from thesauri import PREFIXES, sparql_counts, thesaurus

from taxonomy import (
    Concept,
    Taxonomy,
    TaxonomyError,
    Translation,
    check_report,
    load_taxonomy,
    write_taxonomy,
)

SYNTAXES = {
    ".ttl": "turtle",
    ".rdf": "pretty-xml",
    ".nt": "nt",
    ".jsonld": "json-ld",
    ".trig": "trig",
    ".n3": "n3",
}
BASE = "http://thesaurus.example/concept/"


def saved(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def turtle(tmp_path: Path, text: str) -> Taxonomy:
    return load_taxonomy(saved(tmp_path / "v.ttl", PREFIXES + text))


def kinds(taxonomy: Taxonomy) -> dict[str, int]:
    return dict(Counter(flaw.kind for flaw in taxonomy.flaws))


def table(tmp_path: Path, text: str, name: str = "v.csv", **how: object) -> Taxonomy:
    return load_taxonomy(saved(tmp_path / name, text), **how)  # type: ignore[arg-type]


# RDF


def test_counts_agree_with_an_independent_reader(tmp_path: Path) -> None:
    text = thesaurus()
    counted, read = sparql_counts(text), load_taxonomy(saved(tmp_path / "v.ttl", text))
    told = kinds(read)
    assert counted == {"concepts": 60, "in English": 54, "deprecated": 5, "homographs": 20}
    assert len(read.concepts) + told["deprecated"] == counted["concepts"]
    assert told["deprecated"] == counted["deprecated"]
    english = [concept for concept in read.concepts if not concept.language]
    left_out = {flaw.text.split('"')[1] for flaw in read.flaws if flaw.kind == "deprecated"}
    graph = Graph().parse(data=text, format="turtle")
    assert {concept.id for concept in english} | left_out >= {
        str(subject).rsplit("/", 1)[1]
        for subject, label in graph.subject_objects(SKOS.prefLabel)
        if label.language == "en" and (subject, RDF.type, SKOS.Concept) in graph
    }
    shared = Counter(label for concept in read.concepts for label in set(concept.labels))
    assert told["homograph"] == sum(count > 1 for count in shared.values()) == counted["homographs"]


@pytest.mark.parametrize("suffix", SYNTAXES)
def test_one_vocabulary_has_one_fingerprint_in_every_syntax(tmp_path: Path, suffix: str) -> None:
    text = thesaurus()
    written = Graph().parse(data=text, format="turtle").serialize(format=SYNTAXES[suffix])
    one, other = (
        load_taxonomy(saved(tmp_path / "v.ttl", text)),
        load_taxonomy(saved(tmp_path / f"w{suffix}", written)),
    )
    assert one.fingerprint == other.fingerprint
    assert one.concepts == other.concepts
    assert kinds(one) == kinds(other)


@pytest.mark.parametrize("suffix", [".csv", ".ttl", ".rdf", ".nt", ".jsonld", ".trig"])
def test_a_thesaurus_survives_a_round_trip_with_its_identity_and_languages(
    tmp_path: Path, suffix: str
) -> None:
    read = load_taxonomy(saved(tmp_path / "v.ttl", thesaurus()), languages=("fr", "en"))
    write_taxonomy(read, tmp_path / f"copy{suffix}")
    again = load_taxonomy(tmp_path / f"copy{suffix}", languages=("fr", "en"))
    assert again.concepts == read.concepts
    assert again.fingerprint == read.fingerprint


def test_what_is_written_is_read_by_another_library(tmp_path: Path) -> None:
    read = load_taxonomy(saved(tmp_path / "v.ttl", thesaurus()))
    for suffix, syntax in SYNTAXES.items():
        if suffix == ".n3":
            continue
        path = tmp_path / f"copy{suffix}"
        write_taxonomy(read, path)
        graph = Graph().parse(path, format=syntax.removeprefix("pretty-"))
        assert len(set(graph.subjects(RDF.type, SKOS.Concept))) == len(read.concepts)
        assert {str(subject) for subject in graph.subjects(RDF.type, SKOS.Concept)} == {
            c.iri for c in read.concepts
        }


def test_labels_of_skos_xl_are_labels(tmp_path: Path) -> None:
    read = turtle(
        tmp_path,
        'v:1 a skos:Concept ; skosxl:prefLabel v:l ; skosxl:altLabel [ skosxl:literalForm "mug"@en ] .\n'
        'v:l a skosxl:Label ; skosxl:literalForm "cup"@en .\n',
    )
    assert read.by_id["1"].labels == ("cup", "mug")


def test_broader_of_iso_25964_and_of_getty_is_broader(tmp_path: Path) -> None:
    read = turtle(
        tmp_path,
        'v:1 a skos:Concept ; skos:prefLabel "a"@en ; iso:broaderPartitive v:2 .\n'
        'v:2 a skos:Concept ; skos:prefLabel "b"@en ; <http://vocab.getty.edu/ontology#broaderPreferred> v:3 .\n'
        'v:3 a skos:Concept ; skos:prefLabel "c"@en ; iso:status "ok" ; v:unheard-of [ v:q "x" ] .\n',
    )
    assert read.ancestors("1") == {"2", "3"}


def test_deprecated_concepts_are_left_out_and_links_to_them_followed(tmp_path: Path) -> None:
    read = turtle(
        tmp_path,
        'v:old a skos:Concept ; skos:prefLabel "old"@en ; owl:deprecated true ; dct:isReplacedBy v:older .\n'
        'v:older a skos:Concept ; skos:prefLabel "older"@en ; owl:deprecated true ; dct:isReplacedBy v:new .\n'
        'v:gone a skos:Concept ; skos:prefLabel "gone"@en ; owl:deprecated true ; skos:broader v:new .\n'
        'v:new a skos:Concept ; skos:prefLabel "new"@en ; owl:deprecated false .\n'
        'v:a a skos:Concept ; skos:prefLabel "a"@en ; skos:broader v:old .\n'
        'v:b a skos:Concept ; skos:prefLabel "b"@en ; skos:broader v:gone .\n',
    )
    assert set(read.by_id) == {"new", "a", "b"}
    assert read.by_id["a"].broader == read.by_id["b"].broader == ("new",)
    assert read.replaced == {"old": "new", "older": "new"}
    assert kinds(read)["deprecated"] == 3


def test_a_file_of_which_nothing_is_left_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="every concept is deprecated"):
        turtle(tmp_path, 'v:a a skos:Concept ; skos:prefLabel "a"@en ; owl:deprecated true .\n')
    with pytest.raises(TaxonomyError, match="no concept has a label"):
        turtle(tmp_path, "v:a a skos:Concept .\n")


def test_what_is_below_a_concept_without_a_label_moves_up(tmp_path: Path) -> None:
    read = turtle(
        tmp_path,
        'v:top a skos:Concept ; skos:prefLabel "top"@en .\nv:guide a skos:Concept ; skos:broader v:top .\n'
        'v:a a skos:Concept ; skos:prefLabel "a"@en ; skos:broader v:guide .\n',
    )
    assert read.by_id["a"].broader == ("top",)


def test_ids_that_would_be_shared_are_longer(tmp_path: Path) -> None:
    read = turtle(
        tmp_path,
        '<http://x/d/10> a skos:Concept ; skos:prefLabel "a"@en ; skos:broader <http://x/t/10> .\n'
        '<http://x/t/10> a skos:Concept ; skos:prefLabel "b"@en .\n'
        '<http://x/t/11/> a skos:Concept ; skos:prefLabel "c"@en .\n',
    )
    assert {concept.id: concept.iri for concept in read.concepts} == {
        "d/10": "http://x/d/10",
        "t/10": "http://x/t/10",
        "11": "http://x/t/11/",
    }
    assert read.by_id["d/10"].broader == ("t/10",)


def test_many_cycles_are_cut_and_named_and_the_rest_stays(tmp_path: Path) -> None:
    pairs = "".join(
        f'v:a{n} a skos:Concept ; skos:prefLabel "a{n}"@en ; skos:broader v:b{n}, v:top .\n'
        f'v:b{n} a skos:Concept ; skos:prefLabel "b{n}"@en ; skos:broader v:a{n} .\n'
        for n in range(300)
    )
    read = turtle(tmp_path, pairs + 'v:top a skos:Concept ; skos:prefLabel "top"@en .\n')
    assert kinds(read)["cycle"] == 300
    assert "top" in read.ancestors("a7")
    assert sum("b" in parent for concept in read.concepts for parent in concept.broader) == 300


def test_collections_that_overlap_are_no_facets_but_may_be_named_as_members(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.ttl", thesaurus())
    assert load_taxonomy(path).facets.keys() == {"object"}
    saved(
        tmp_path / "v.facets.yaml", "material:\n  members: [mt1]\nsubject:\n  members: ['Group 2', 'v:9']\n"
    )
    read = load_taxonomy(path)
    assert read.facets.keys() == {"material", "subject"}
    assert read.by_id["2"].facet == "material"
    assert read.facets["material"].prompts[1] == "an object made of {label}"


def test_the_nearest_member_above_decides_the_facet(tmp_path: Path) -> None:
    saved(tmp_path / "facets.yaml", "object: {members: [things]}\nmaterial: {members: [stuff, oak]}\n")
    rows = "id,pref_label,broader\nthings,things,\nstuff,stuff,things\noak,oak,things\nbog-oak,bog oak,oak\ncup,cup,things\n"
    read = table(tmp_path, rows)
    assert {c.id: c.facet for c in read.concepts} == {
        **dict.fromkeys(["stuff", "oak", "bog-oak"], "material"),
        **dict.fromkeys(["things", "cup"], "object"),
    }


def test_strict_refuses_what_is_mended_otherwise(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.ttl", thesaurus())
    read = load_taxonomy(path)
    with pytest.raises(TaxonomyError) as caught:
        load_taxonomy(path, strict=True)
    assert caught.value.flaws == read.flaws


def test_a_summary_counts_kinds_and_gives_examples(tmp_path: Path) -> None:
    report = check_report(saved(tmp_path / "v.ttl", thesaurus()))
    assert "\n55 concepts have no facet: put under" in report
    assert "\n5 concepts are deprecated" in report
    assert "\n  and 52 more" in report
    assert len(check_report(tmp_path / "v.ttl", shown=None).splitlines()) > 80


def test_thousands_of_unknown_parents_are_told_with_what_was_meant(tmp_path: Path) -> None:
    rows = "".join(f"c{n}ter,c{n}ter,c{n}tre\n" for n in range(4000))
    read = table(tmp_path, f"id,pref_label,broader\n{rows}")
    told = [flaw.text for flaw in read.flaws if flaw.kind == "broader"]
    assert len(told) == 4000
    assert told[0] == '"c0ter" has the unknown broader "c0tre"; did you mean "c0ter"?'


# Languages


def test_labels_are_shown_in_the_first_language_that_a_concept_has(tmp_path: Path) -> None:
    text = PREFIXES + (
        'v:1 a skos:Concept ; skos:prefLabel "crane"@en, "kraan"@nl ; skos:altLabel "hijskraan"@nl-BE, "derrick"@en .\n'
        'v:2 a skos:Concept ; skos:prefLabel "lamp"@en .\nv:3 a skos:Concept ; skos:prefLabel "Leuchter"@de .\n'
        'v:4 a skos:Concept ; skos:prefLabel "plain" .\nv:5 a skos:Concept ; skos:prefLabel "kopje"@nl-BE .\n'
    )
    read = load_taxonomy(saved(tmp_path / "v.ttl", text), languages=("nl", "en"))
    assert read.pref_labels == {"1": "kraan", "2": "lamp", "3": "Leuchter", "4": "plain", "5": "kopje"}
    crane = read.by_id["1"]
    assert (crane.alt_labels, crane.language) == (("hijskraan",), "nl")
    assert crane.translations == (Translation("en", "crane", ("derrick",)),)
    assert crane.english_labels == ("crane", "derrick")
    assert kinds(read)["language"] == 1
    flemish = load_taxonomy(tmp_path / "v.ttl", languages=("nl-BE",))
    assert flemish.pref_labels["1"] == "kraan"
    assert flemish.pref_labels["5"] == "kopje"


# Spreadsheets and keyword lists


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_spreadsheets_are_read_as_they_are_saved(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [
        ["Term", "Synonym", "Parent", "Note"],
        ["Möbel", "", "", "x"],
        ["Stühle", "Sessel", "Möbel", '"y"'],
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    read = load_taxonomy(saved(tmp_path / "v.csv", text, encoding))
    assert read.concepts == (
        Concept("möbel", "Möbel", definition="x"),
        Concept("stühle", "Stühle", ("Sessel",), broader=("möbel",), definition="y"),
    )
    assert ("encoding" in kinds(read)) == (encoding == "cp1252")


def test_columns_are_mapped_as_told(tmp_path: Path) -> None:
    rows = "Nr;Objektname;Auch;Sachgruppe\n300041614;Kran;Hebekran;Technik\n2;Technik;;\n"
    with pytest.raises(TaxonomyError, match=r"no column is known to hold the labels.*Objektname"):
        table(tmp_path, rows)
    columns = {"Objektname": "pref_label@de", "Auch": "alt_labels@de", "Sachgruppe": "broader"}
    read = table(tmp_path, rows, columns=columns, languages=("de",))
    crane = read.by_id["300041614"]
    assert (crane.labels, crane.broader, crane.language) == (("Kran", "Hebekran"), ("2",), "de")
    with pytest.raises(TaxonomyError, match=r"has no column X; its columns are Nr, Objektname"):
        table(tmp_path, rows, columns={"X": "id"})
    with pytest.raises(TaxonomyError, match=r"hue is no field; the fields are id, "):
        table(tmp_path, rows, columns={"Auch": "hue"})


def test_columns_may_name_a_language(tmp_path: Path) -> None:
    read = table(
        tmp_path, "id,term (nl),pref_label@en,synonym:en\n1,kraan,crane,derrick|hoist\n", languages=("nl",)
    )
    assert read.by_id["1"].translations == (Translation("en", "crane", ("derrick", "hoist")),)
    assert read.by_id["1"].pref_label == "kraan"


def test_a_row_a_synonym_is_one_concept(tmp_path: Path) -> None:
    read = table(tmp_path, "Term,Used for\nLamp,Lantern\nLamp,Light\n")
    assert read.by_id["lamp"].labels == ("Lamp", "Lantern", "Light")


def test_a_list_of_one_column_is_a_list_of_labels(tmp_path: Path) -> None:
    assert table(tmp_path, "keyword\nlamp\noil lamp\n").pref_labels == {
        "lamp": "lamp",
        "oil-lamp": "oil lamp",
    }


def test_rows_that_do_not_fit_are_read_as_far_as_they_do(tmp_path: Path) -> None:
    read = table(tmp_path, "id,pref_label,definition\na,lamp\nb,cup,A cup,, with a comma\n")
    assert read.pref_labels == {"a": "lamp", "b": "cup"}
    assert kinds(read)["row"] == 2


def test_a_column_of_iris_gives_ids_and_identity(tmp_path: Path) -> None:
    read = table(tmp_path, "uri,label,broader,code\nhttp://x/1,a,,A1\nhttp://x/2,b,http://x/1,\n")
    assert read.by_id["2"] == Concept("2", "b", broader=("1",), iri="http://x/2")
    assert read.by_id["1"].notation == "A1"


KEYWORDS = """[OBJECTS]
\tlamp
\t\t{lantern}
\t\toil lamp
\t\t\t{oil light}
\tcrane
[ANIMALS]
\tbird
\t\tcrane
places|Europe|Delft
places|Europe|Gouda
"""


def test_keyword_lists_have_synonyms_categories_and_paths(tmp_path: Path) -> None:
    read = table(tmp_path, KEYWORDS, "k.txt")
    assert {c.id: (c.alt_labels, c.broader) for c in read.concepts} == {
        "lamp": (("lantern",), ()),
        "oil-lamp": (("oil light",), ("lamp",)),
        "crane": ((), ()),
        "bird": ((), ()),
        "crane-bird": ((), ("bird",)),
        "places": ((), ()),
        "europe": ((), ("places",)),
        "delft": ((), ("europe",)),
        "gouda": ((), ("europe",)),
    }
    assert kinds(read)["category"] == 2
    saved(tmp_path / "k.facets.yaml", "object: {}\nsubject: {members: [animals]}\n")
    assert table(tmp_path, KEYWORDS, "k.txt").by_id["crane-bird"].facet == "subject"


def test_a_keyword_list_is_written_as_it_is_read(tmp_path: Path) -> None:
    read = table(tmp_path, KEYWORDS, "k.txt")
    write_taxonomy(read, tmp_path / "copy.txt")
    again = load_taxonomy(tmp_path / "copy.txt")
    assert {(c.pref_label, c.alt_labels) for c in again.concepts} == {
        (c.pref_label, c.alt_labels) for c in read.concepts
    }
    for one, other in ((read, again), (again, read)):
        assert {tuple(one.pref_labels[id_] for id_ in pair) for pair in one.broader_pairs()} == {
            tuple(other.pref_labels[id_] for id_ in pair) for pair in other.broader_pairs()
        }
