"""What the facets of a vocabulary are: from a file, by default, and in the fingerprint."""

from dataclasses import replace
from pathlib import Path

import pytest

from taxonomy import Concept, Facet, Taxonomy, TaxonomyError, load_facets, load_taxonomy, starter_taxonomy

HEADER = "id,pref_label,alt_labels,facet,broader,definition\n"
STARTER = starter_taxonomy()
BIRDS = """
species: {colour: "#0072b2", aside: [ruler]}
plumage: {thing: false}
habitat: {grounded: false, prompts: ["a bird in {label}"]}
mood:
  grounded: false
  unseen: true
sound: ["the call of {label}"]
nest:
"""


def saved(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rows_that_were_computed_before_facets_had_files_stay_valid() -> None:
    assert STARTER.fingerprint == "957b16ce4530b135"


def test_the_facets_of_the_starter_vocabulary() -> None:
    facets = STARTER.facets.values()
    assert {facet.name for facet in facets if facet.thing} == {"object"}
    assert {facet.name for facet in facets if facet.mask} == {"object"}
    assert {facet.name for facet in facets if facet.in_crop} == {
        "object",
        "material",
        "technique",
        "condition",
    }
    whole_image = {"setting", "lighting", "style", "view", "photography", "colour"}
    assert {facet.name for facet in facets if not facet.grounded} == whole_image
    assert {facet.name for facet in facets if facet.unseen} == {"style", "view", "photography", "colour"}
    assert [facet.order for facet in facets] == list(range(11))
    assert "bowl" in STARTER.things
    assert "bronze" not in STARTER.things
    assert "cataloguing-aid" in STARTER.ancestors("scale-bar")
    assert "scale-bar" not in STARTER.things


def test_what_is_not_said_of_a_facet_follows_from_what_is(tmp_path: Path) -> None:
    facets = load_facets(saved(tmp_path / "f.yaml", BIRDS))
    things = Facet("species", colour="#0072b2", aside=("ruler",), order=0)
    assert facets == {
        "species": things,
        "plumage": Facet("plumage", thing=False, mask=False, order=1),
        "habitat": Facet(
            "habitat", ("a bird in {label}",), grounded=False, thing=False, in_crop=False, mask=False, order=2
        ),
        "mood": Facet("mood", grounded=False, thing=False, in_crop=False, mask=False, unseen=True, order=3),
        "sound": Facet("sound", ("the call of {label}",), order=4),
        "nest": Facet("nest", order=5),
    }


def test_the_example_of_the_documentation_is_sound(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "taxonomy.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    facets = load_facets(saved(tmp_path / "facets.yaml", example)).values()
    assert {facet.name: (facet.thing, facet.grounded, facet.unseen) for facet in facets} == {
        "species": (True, True, False),
        "plumage": (False, True, False),
        "habitat": (False, False, False),
        "mood": (False, False, True),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {maks: true}", 'f.yaml:1: facet "a" has the unknown field "maks"; did you mean "mask"?'),
        (
            "a: {weight: 1}",
            'f.yaml:1: facet "a" has the unknown field "weight"; the fields are '
            "prompts, grounded, thing, in_crop, mask, unseen, aside, members, colour",
        ),
        ("a:\n  mask: 1", "f.yaml:2: facet \"a\": mask is true or false, found '1'"),
        ("a: {colour: red}", 'f.yaml:1: facet "a": colour needs the form "#0072b2", found \'red\''),
        ("a: {aside: ruler}", 'f.yaml:1: facet "a": aside needs a list of ids of concepts'),
        ("a: {prompts: [none]}", "f.yaml:1: a template needs {label} exactly once, found 'none'"),
    ],
)
def test_what_is_wrong_with_a_field_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(TaxonomyError) as caught:
        load_facets(saved(tmp_path / "f.yaml", text))
    assert str(caught.value).replace(f"{tmp_path}/", "") == problem


def test_facets_are_found_beside_the_vocabulary_unless_others_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "birds.csv", f"{HEADER}robin,robin,,species,,\nwood,wood,,habitat,,\n")
    assert load_taxonomy(path).facets["habitat"] == Facet("habitat")  # the starter has no such facet
    saved(tmp_path / "facets.yaml", BIRDS)
    assert not load_taxonomy(path).facets["habitat"].grounded
    other = saved(tmp_path / "other.yaml", "habitat: {mask: false}")
    assert load_taxonomy(path, other).facets == {
        "habitat": Facet("habitat", mask=False, order=0),
        "species": Facet("species"),
    }


def test_a_concept_without_a_facet_is_of_the_first_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "birds.csv", f"{HEADER}robin,robin,,,,\n")
    assert load_taxonomy(path).by_id["robin"].facet == "object"
    saved(tmp_path / "facets.yaml", BIRDS)
    assert load_taxonomy(path).by_id["robin"].facet == "species"
    turtle = "@prefix s: <http://www.w3.org/2004/02/skos/core#> .\n<http://x/wren> a s:Concept ; s:prefLabel 'wren' .\n"
    assert load_taxonomy(saved(tmp_path / "birds.ttl", turtle)).by_id["wren"].facet == "species"
    turtle += "<http://x/q> s:member <http://x/wren> . <http://x/r> s:member <http://x/wren> .\n"
    in_two = load_taxonomy(saved(tmp_path / "birds.ttl", turtle))
    assert in_two.by_id["wren"].facet == "species"  # of two collections neither is a facet
    assert [flaw.kind for flaw in in_two.flaws] == ["no-facet"]


def test_the_fingerprint_notices_what_decides_rows_and_nothing_else() -> None:
    def fingerprint_with(**changes: bool | str) -> str:
        facets = {"object": replace(STARTER.facets["object"], **changes)}
        return Taxonomy((Concept("cup", "cup"),), facets).fingerprint

    before = fingerprint_with()
    assert fingerprint_with(colour="#000000", order=7, mask=False) == before  # masks are told by themselves
    others = {fingerprint_with(**{field: value}) for field, value in [
        ("grounded", False), ("thing", False), ("in_crop", False), ("unseen", True), ("aside", ()),
    ]}  # fmt: skip
    assert len(others - {before}) == 5
