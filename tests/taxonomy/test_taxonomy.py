"""Vocabularies: what loads, what comes back from each format, and how each mistake is named with its line."""

import pickle
import subprocess
import sys
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from taxonomy import (
    Concept,
    Facet,
    Taxonomy,
    TaxonomyError,
    TaxonomyStats,
    Translation,
    check_report,
    load_facets,
    load_taxonomy,
    starter_taxonomy,
    stats,
    write_taxonomy,
)

HEADER = "id,pref_label,alt_labels,facet,broader,definition\n"
TURTLE_PREFIXES = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix c: <http://example.org/concept/> .
@prefix f: <http://example.org/facet/> .
"""
DRAWABLE = {
    "object": "amphora bowl goblet teapot bottle jug tankard plate oil-lamp candlestick bell hourglass vase "
    "bucket barrel hammer axe sword key scissors spoon anchor sickle arrowhead padlock tobacco-pipe violin "
    "lyre trumpet chair stool chest ladder ring necklace crown comb helmet shield mask column obelisk clock "
    "pocket-watch globe camera book scroll picture-frame hand-mirror fan umbrella boot top-hat wheel "
    "model-ship spectacles magnifying-glass skull fish bird cross lantern balance-scales spinning-top "
    "museum-label scale-bar colour-chart",
    "material": "bronze silver gold iron copper terracotta porcelain marble granite oak ebony glass leather "
    "jade lapis-lazuli amber linen lacquer malachite tortoiseshell",
    "technique": "gilding engraving inlay painted-decoration repousse fluting openwork kintsugi",
    "condition": "craquelure crack chipping dents verdigris corrosion scratches staining",
    "setting": "studio-backdrop velvet-cloth wooden-shelf stone-plinth display-case brick-wall",
    "lighting": "raking-light soft-light spotlight backlight",
}


@pytest.fixture(scope="module")
def starter() -> Taxonomy:
    return starter_taxonomy()


def saved(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    """What strict loading says, a line a problem, each without the folder."""
    with pytest.raises(TaxonomyError) as caught:
        load_taxonomy(path, strict=True)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def csv_problems(tmp_path: Path, *rows: str) -> list[str]:
    return problems(saved(tmp_path / "v.csv", HEADER + "\n".join(rows) + "\n"))


# The starter vocabulary


def test_starter_vocabulary_holds_at_least_450_defined_concepts(starter: Taxonomy) -> None:
    assert len(starter.concepts) >= 450
    assert [c.id for c in starter.concepts if not c.definition.endswith(".")] == []


def test_everything_the_demo_world_draws_is_in_the_starter_vocabulary(starter: Taxonomy) -> None:
    expected = {id_: facet for facet, ids in DRAWABLE.items() for id_ in ids.split()}
    assert {id_: starter.by_id[id_].facet for id_ in expected} == expected


def test_drawable_concepts_are_not_broader_than_each_other(starter: Taxonomy) -> None:
    drawable = frozenset(" ".join(DRAWABLE.values()).split())
    assert [pair for pair in starter.broader_pairs() if drawable.issuperset(pair)] == []


def test_broader_concepts_of_the_starter_vocabulary_are_of_the_same_facet(starter: Taxonomy) -> None:
    crossing = [
        (a, b) for a, b in starter.broader_pairs() if starter.by_id[a].facet != starter.by_id[b].facet
    ]
    assert crossing == []


def test_taxonomy_needs_neither_torch_nor_dagster() -> None:
    heavy = "sorted({'torch', 'dagster'} & set(sys.modules))"
    code = f"import sys, taxonomy; taxonomy.starter_taxonomy(); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Hierarchy, phrases, fingerprint


def test_hierarchy_is_climbed_and_descended_at_every_distance(starter: Taxonomy) -> None:
    assert starter.ancestors("amphora") == {"vessel", "container"}
    assert "amphora" in starter.narrower_of("vessel")
    assert "amphora" not in starter.narrower_of("container")
    assert {"vessel", "amphora", "kylix"} <= starter.descendants("container")
    assert starter.descendants("amphora") == frozenset()


def test_broader_pairs_are_the_transitive_closure_also_where_paths_meet() -> None:
    diamond = Taxonomy(
        tuple(
            Concept(id_, id_, broader=up)
            for id_, up in [("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))]
        ),
        load_facets(),
    )
    assert diamond.broader_pairs() == (("b", "a"), ("c", "a"), ("d", "a"), ("d", "b"), ("d", "c"))


def test_a_taxonomy_can_be_sent_to_another_process(starter: Taxonomy) -> None:
    assert starter.by_id  # whatever is cached travels too
    assert pickle.loads(pickle.dumps(starter)) == starter  # noqa: S301


def test_unknown_id_is_a_key_error(starter: Taxonomy) -> None:
    for question in (starter.ancestors, starter.descendants, starter.narrower_of):
        with pytest.raises(KeyError, match="no-such-thing"):
            question("no-such-thing")


def test_phrases_are_every_label_in_every_template_preferred_label_first() -> None:
    concept = Concept("axe", "axe", ("hatchet", "ax"))
    taxonomy = Taxonomy((concept,))
    assert taxonomy.phrases(concept) == (
        *("axe", "a photo of axe"),
        *("ax", "a photo of ax"),
        *("hatchet", "a photo of hatchet"),
    )


def test_no_two_concepts_of_a_facet_share_a_phrase(starter: Taxonomy) -> None:
    counted = Counter((c.facet, phrase) for c in starter.concepts for phrase in set(starter.phrases(c)))
    assert [phrase for phrase, count in counted.items() if count > 1] == []


def test_fingerprint_ignores_order(tmp_path: Path) -> None:
    rows = ["cup,cup,mug|beaker,object,tool|vessel,", "vessel,vessel,,object,,", "tool,tool,,object,,"]
    shuffled = [rows[2], "cup,cup,beaker|mug,object,vessel|tool,", rows[1]]
    one = load_taxonomy(saved(tmp_path / "a.csv", HEADER + "\n".join(rows)))
    other = load_taxonomy(saved(tmp_path / "b.csv", HEADER + "\n".join(shuffled)))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        "cups,cup,mug,object,vessel,A cup.",
        "cup,Cup,mug,object,vessel,A cup.",
        "cup,cup,mugs,object,vessel,A cup.",
        "cup,cup,mug,style,vessel,A cup.",
        "cup,cup,mug,object,,A cup.",
        "cup,cup,mug,object,vessel,The cup.",
    ],
)
def test_fingerprint_notices_every_field(tmp_path: Path, changed: str) -> None:
    def fingerprint_with(row: str) -> str:
        text = f"{HEADER}vessel,vessel,,object,,\n{row}\n"
        return load_taxonomy(saved(tmp_path / "v.csv", text)).fingerprint

    assert fingerprint_with(changed) != fingerprint_with("cup,cup,mug,object,vessel,A cup.")


def test_fingerprint_notices_the_templates_of_used_facets_only() -> None:
    def fingerprint_with(**prompts: tuple[str, ...]) -> str:
        facets = {name: Facet(name, templates) for name, templates in prompts.items()}
        return Taxonomy((Concept("cup", "cup"),), facets).fingerprint

    plain = fingerprint_with(object=("{label}",))
    assert fingerprint_with(object=("a {label}",)) != plain
    assert fingerprint_with(object=("{label}",), style=("{label}",)) == plain


# Formats


@pytest.mark.parametrize("suffix", [".csv", ".ttl", ".jsonld"])
def test_starter_vocabulary_survives_a_round_trip(starter: Taxonomy, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"copy{suffix}"
    write_taxonomy(starter, path)
    assert load_taxonomy(path).fingerprint == starter.fingerprint


@pytest.mark.parametrize("suffix", [".csv", ".ttl", ".jsonld"])
def test_awkward_text_survives_a_round_trip(tmp_path: Path, suffix: str) -> None:
    awkward = Concept(
        id="cup",
        pref_label='cup, "small" \\ tasse',
        alt_labels=("杯", "кубок", "it's a {label} <cup>"),
        facet="object",
        definition='Says "drink me", on\ntwo lines; with a # and a \\n.',
    )
    taxonomy = Taxonomy((awkward,), load_facets())
    path = tmp_path / f"copy{suffix}"
    write_taxonomy(taxonomy, path)
    assert load_taxonomy(path).concepts == taxonomy.concepts


def test_turtle_reads_broader_and_narrower_and_prefers_the_label_tagged_en(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "v.ttl",
        TURTLE_PREFIXES
        + """
c:vessel a skos:Concept ; skos:prefLabel "vessel"@en, "Gefäß"@de ; skos:narrower c:cup .
c:tool skos:inScheme c:scheme ; skos:prefLabel "tool" ; skos:altLabel "Werkzeug"@de, "implement"@en .
c:cup skos:broader c:tool ; skos:prefLabel "mug", "cup"@en, "Cup"@en-GB, "beaker"@en-US ;
   skos:definition "A cup."@en .
f:object a skos:Collection ; skos:member c:vessel, c:tool, c:cup .
""",
    )
    taxonomy = load_taxonomy(path)
    german, iri = partial(Translation, "de"), "http://example.org/concept/{}".format
    assert taxonomy.concepts == (
        Concept("cup", "cup", ("beaker", "mug"), "object", ("tool", "vessel"), "A cup.", iri=iri("cup")),
        Concept("tool", "tool", ("implement",), translations=(german("", ("Werkzeug",)),), iri=iri("tool")),
        Concept("vessel", "vessel", translations=(german("Gefäß"),), iri=iri("vessel")),
    )


def test_byte_order_mark_and_blank_lines_of_a_spreadsheet_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(f"{HEADER}\ncup,cup,,object,,\n,,,,,\n", encoding="utf-8-sig", newline="\r\n")
    assert [concept.id for concept in load_taxonomy(path).concepts] == ["cup"]


def test_other_collections_than_facets_are_left_alone(tmp_path: Path) -> None:
    members = 'c:cup a skos:Concept; skos:prefLabel "cup"@en .\nf:object skos:member c:cup .\n'
    path = saved(tmp_path / "v.ttl", f"{TURTLE_PREFIXES}{members}f:favourites skos:member c:cup .\n")
    assert load_taxonomy(path).by_id["cup"].facet == "object"


# What is wrong, and where


def test_every_problem_of_a_csv_file_is_listed_with_its_line(tmp_path: Path) -> None:
    found = csv_problems(
        tmp_path,
        'vessel,vessel,,object,,"a definition',
        'on two lines"',
        "cup,cup,mug,object,vesel,",
        "cup,second cup,,object,,",
        "beaker,Cup,,object,,",
        "tankard,tankard,MUG,object,,",
        "Wrong Id,wrong,,object,,",
        "nameless,,,object,,",
        "gap,gap,one||two,object,,",
        "facetless,facetless,,,,",
        "odd,odd,,objekt,,",
        "echo,echo,Echo,object,,",
        "short,row",
    )
    assert found == [
        'v.csv:4: "cup" has the unknown broader "vesel"; did you mean "vessel"?',
        'v.csv:5: id "cup" is already used at line 4',
        'v.csv:6: prefLabel "Cup" of "beaker" is already the prefLabel of "cup" (line 4) in facet object',
        'v.csv:7: altLabel "MUG" of "tankard" is already the altLabel of "cup" (line 4) in facet object',
        'v.csv:8: bad id "Wrong Id": an id holds no space and no "|"; read as Wrong-Id',
        'v.csv:9: "nameless" has no prefLabel',
        'v.csv:10: "gap" has an empty altLabel',
        'v.csv:11: "facetless" has no facet: put under "object"',
        'v.csv:12: "odd": unknown facet "objekt"; did you mean "object"?',
        'v.csv:13: altLabel "Echo" of "echo" repeats another of its labels',
        'v.csv:14: "short" has no facet: put under "object"',
        "v.csv:14: has 2 cells, the header has 6; quote cells that hold a comma",
    ]


def test_one_label_may_stand_in_two_facets(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.csv", f"{HEADER}horn,horn,,object,,\nhorn-material,horn,,material,,\n")
    assert len(load_taxonomy(path).concepts) == 2


def test_cycles_are_each_named_in_full(tmp_path: Path) -> None:
    found = csv_problems(
        tmp_path,
        "self,self,,object,self,",
        "c,c,,object,a,",
        "a,a,,object,b,",
        "b,b,,object,c,",
        "x,x,,object,y,",
        "y,y,,object,x,",
        "below,below,,object,a|a,",
    )
    suffix = "(each has the next as its broader)"
    assert found == [
        f"v.csv:2: cycle: self -> self {suffix}",
        f"v.csv:4: cycle: a -> b -> c -> a {suffix}",
        f"v.csv:6: cycle: x -> y -> x {suffix}",
    ]


def test_label_that_csv_or_a_prompt_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "v.ttl",
        TURTLE_PREFIXES
        + 'c:cup a skos:Concept ; skos:prefLabel "cup|mug"@en .\nf:object skos:member c:cup .\n',
    )
    assert problems(path) == ["""v.ttl:4: "cup": a label cannot hold "|", a tab or a line break: 'cup|mug'"""]


def test_every_problem_of_a_turtle_file_is_listed_with_its_line(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "v.ttl",
        TURTLE_PREFIXES
        + """
c:vessel a skos:Concept ; skos:prefLabel "vessel"@en ;
   skos:narrower c:amphora, c:cups .
c:amphora skos:prefLabel "Amphore"@de ; skos:broader c:vessle, "pot" .
c:cup a skos:Concept ; skos:prefLabel "cup"@en, "mug"@en .
f:object a skos:Collection ; skos:member c:vessel, c:amphora .
f:style a skos:Collection ; skos:member c:vessel .
f:objects a skos:Collection ; skos:member c:cup .
[] a skos:Concept ; skos:prefLabel "blank"@en .
""",
    )
    assert problems(path) == [
        'v.ttl:1: "blank" has no facet: put under "object"',
        "v.ttl:1: a concept has no IRI: prefLabel blank",
        'v.ttl:5: "vessel" has the unknown narrower "cups"; did you mean "cup"?',
        'v.ttl:5: "vessel" is a member of 2 facets: object, style; keep one',
        'v.ttl:7: "amphora" has prefLabels in de only; add one tagged @en',
        'v.ttl:7: "amphora" has the broader "pot", which is no IRI',
        'v.ttl:7: "amphora" has the unknown broader "vessle"; did you mean "vessel"?',
        'v.ttl:7: "amphora" is not called a skos:Concept',
        'v.ttl:8: "cup" has 2 prefLabels in one language: "cup", "mug"',
        'v.ttl:8: "cup": unknown facet "objects"; did you mean "object"?',
    ]


def test_a_concept_in_jsonld_is_found_at_its_own_line_not_where_it_is_mentioned(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonld"
    concepts = (Concept("a", "a", broader=("z",)), Concept("z", "a"))
    write_taxonomy(Taxonomy(concepts, load_facets()), path)
    line = next(
        n for n, text in enumerate(path.read_text().splitlines(), 1) if text == '   "id": "concept:z",'
    )
    other = f'the prefLabel of "a" (line {line - 9})'
    assert problems(path) == [f'v.jsonld:{line}: prefLabel "a" of "z" is already {other} in facet object']


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("v.csv", b"", "v.csv:1: the file is empty"),
        ("v.csv", HEADER.encode(), "v.csv:1: there are no concepts"),
        (
            "v.csv",
            b"id,hue\na,b\n",
            "v.csv:1: no column is known to hold the labels; say which: --column HEADING=p",
        ),
        ("v.csv", HEADER.encode() + b'a,"b"c,,,,\n', "v.csv:2: not valid CSV"),
        ("v.csv", HEADER.encode() + b"a,caf\xe9,,object,,\n", "v.csv:2: is not UTF-8"),
        ("v.ttl", b"# only a comment\n", "v.ttl:1: there are no concepts"),
        ("v.ttl", b'@prefix c: <urn:c/> .\n\nc:a c:b "open .\n', "v.ttl:3: not valid Turtle"),
        ("v.ttl", b"@prefix c: <urn:c/> .\nc:a c:b skos:c .\n", "v.ttl:2: not valid Turtle"),
        ("v.jsonld", b'{"@graph": [\n1,\n}', "v.jsonld:3: not valid JSON"),
        ("v.jsonld", b"[" * 100_000, "v.jsonld:1: not valid JSON-LD: Parser error"),
        ("v.jsonld", b'{"@context": 5, "@id": 4}', "v.jsonld:1: not valid JSON-LD: @context value"),
        ("v.xml", b"<rdf/>", "v.xml:1: not valid RDF/XML"),
        ("v.xlsx", b"PK", 'v.xlsx:1: the suffix ".xlsx" is not one of .csv, .tsv, .txt, .ttl, '),
    ],
)
def test_unreadable_file_says_where_and_why(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    (found,) = problems(path)
    assert found.startswith(expected)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "v.csv") == ["v.csv:1: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    "context",
    [
        '"{url}"',
        '[{{"a": "urn:a"}}, "{url}"]',
        '{{"a": {{"@id": "urn:a", "@context": "{url}"}}}}',
        '{{"@import": "{url}"}}',
        '[[["{url}"]]]',
    ],
)
def test_remote_jsonld_context_is_refused_and_not_fetched(tmp_path: Path, context: str) -> None:
    requested: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/context.jsonld"
        text = f'{{\n"@context": {context.format(url=url)},\n"@id": "urn:a", "a": "b"}}'
        found = problems(saved(tmp_path / "v.jsonld", text))
        server.shutdown()
    assert found == [f'v.jsonld:2: the context "{url}" is not fetched; write the context into the file']
    assert requested == []


# Prompts


def test_own_prompts_bring_their_own_facets(tmp_path: Path) -> None:
    prompts = saved(tmp_path / "p.yaml", 'species: ["a specimen of {label}"]\n')
    path = saved(tmp_path / "v.csv", f"{HEADER}robin,robin,,species,,\n")
    taxonomy = load_taxonomy(path, prompts)
    assert taxonomy.phrases(taxonomy.by_id["robin"]) == ("a specimen of robin",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "object: ['{label}']\nstyle: ['no place']\n",
            ["p.yaml:2: a template needs {label} exactly once, found 'no place'"],
        ),
        ("object: ['{label}']\nobject: ['{label}']\n", ['p.yaml:2: facet "object" stands here twice']),
        ("object: '{label}'\n", ['p.yaml:1: facet "object" needs a list of templates']),
        ("[a, b]: ['{label}']\n", ["p.yaml:1: a facet needs a plain name"]),
        ("object:\n - '{label}\n", ["p.yaml:3: not valid YAML: found unexpected end of stream"]),
        ("just words\n", ['p.yaml:1: needs a mapping such as "object: [a photo of {label}]"']),
    ],
)
def test_broken_prompts_are_named_with_their_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = saved(tmp_path / "p.yaml", text)
    with pytest.raises(TaxonomyError) as caught:
        load_facets(path)
    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == expected


# Figures


def test_stats_count_by_facet_and_in_total(tmp_path: Path) -> None:
    rows = ["vessel,vessel,,object,,Holds things.", "cup,cup,mug,object,vessel,", "tin,tin,,material,,"]
    prompts = saved(tmp_path / "p.yaml", "object: ['{label}', 'a {label}']\nmaterial: ['{label}']\n")
    figures = stats(load_taxonomy(saved(tmp_path / "v.csv", HEADER + "\n".join(rows)), prompts))
    assert figures.rows() == (
        ("object", "2", "1", "1", "1", "2", "3.0"),
        ("material", "1", "0", "0", "1", "1", "1.0"),
        ("all", "3", "1", "1", "2", "2", "2.3"),
    )
    assert {len(row) for row in figures.rows()} == {len(TaxonomyStats.HEADER)}


def test_check_report_says_what_a_sound_file_holds(starter: Taxonomy, tmp_path: Path) -> None:
    path = tmp_path / "v.ttl"
    write_taxonomy(starter, path)
    counts = f"{len(starter.concepts)} concepts in {len(starter.facets)} facets"
    assert check_report(path) == f"{path}: no problems; {counts}, fingerprint {starter.fingerprint}"


def test_check_report_raises_on_an_unsound_file(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="there are no concepts"):
        check_report(saved(tmp_path / "v.csv", HEADER))
