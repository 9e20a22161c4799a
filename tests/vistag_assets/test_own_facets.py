"""The whole graph on a vocabulary whose facets are not those of the starter's, with the bundled models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo.corpus import make_corpus
from demo.world.scene import drawable_concepts
from resources.home import Home, read_settings
from resources.workspace import open_workspace
from taxonomy import Concept, Taxonomy, starter_taxonomy, write_taxonomy
from vistag_assets.cli import app
from vistag_assets.gallery.pages import gallery_page

IMAGES = 6
FACETS = """
substance:
  thing: false
  mask: true
  colour: "#123456"
artefact: {mask: false}
surroundings:
  grounded: false
  unseen: true
"""
RENAMED = {"object": "artefact", "material": "substance", "setting": "surroundings", "technique": "handiwork"}
"""handiwork is described by nobody"""


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.slow
def test_the_whole_graph_runs_on_a_vocabulary_with_other_facets(tmp_path: Path) -> None:
    make_corpus(tmp_path, images=IMAGES, folders=1, seed=3, longer_side_px=512)
    drawn = starter_taxonomy().by_id
    concepts = tuple(
        Concept(id_, drawn[id_].pref_label, facet=RENAMED[drawn[id_].facet])
        for id_ in drawable_concepts()
        if drawn[id_].facet in RENAMED
    )
    vocabulary, facets = tmp_path / "own.csv", tmp_path / "own.yaml"
    write_taxonomy(Taxonomy(concepts), vocabulary)
    facets.write_text(FACETS)
    root = tmp_path / "home"
    library = (tmp_path / "library", "--home", root)
    run(
        "run", *library, "--tier", "demo", "--taxonomy", vocabulary, "--facets", facets,
        "--ground-truth", tmp_path / "ground_truth.json",
    )  # fmt: skip

    home = Home(root)
    assert read_settings(home).facets == str(facets)
    taxonomy = open_workspace(home).taxonomy
    assert list(taxonomy.facets) == ["substance", "artefact", "surroundings", "handiwork"]

    def facets_in(table: str) -> set[str]:
        ids = home.lake.read_all(table)["concept_id"].to_pylist()
        return {taxonomy.facet_of(id_).name for id_ in ids if id_}

    assert facets_in("tags") == {"substance", "artefact", "surroundings", "handiwork"}
    assert facets_in("candidates") == {"substance", "artefact", "handiwork"}
    regions = {
        row["region_id"]: row["concept_id"] for row in home.lake.read_all("grounded_regions").to_pylist()
    }
    masked = {regions[id_] for id_ in home.lake.read_all("region_masks")["region_id"].to_pylist()}
    assert {taxonomy.facet_of(id_).name for id_ in masked if id_} == {"substance", "handiwork"}
    tags = home.lake.read_all("tags").to_pylist()
    ungrounded = {taxonomy.facet_of(row["concept_id"]).name for row in tags if row["ungrounded"]}
    assert ungrounded
    assert "surroundings" not in ungrounded
    claims = home.lake.read_all("descriptions")["claims"].to_pylist()
    flags = {flag for of_image in claims for claim in of_image for flag in claim["flags"]}
    unsupported = {flag.partition(":")[2] for flag in flags if flag.startswith("unsupported:")}
    surroundings = {concept.pref_label for concept in concepts if concept.facet == "surroundings"}
    assert not unsupported & surroundings
    page = gallery_page(home).read_text()
    places = [page.index(f"</span>{name}</span>") for name in ("substance", "artefact", "surroundings")]
    assert places == sorted(places)
    assert "--hue: #71859a" in page  # #123456 with white in it
    figures = json.loads((root / "reports" / "long_tail.json").read_text())
    assert figures["captions"]["object_recall"] > 0

    assert "no image was sent to a model" in run("run", *library)
    run("run", *library, "--taxonomy", "starter")  # another vocabulary, and none of the facets
    assert read_settings(home).facets is None
