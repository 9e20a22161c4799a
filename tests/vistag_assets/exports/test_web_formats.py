"""IIIF, linked data, Label Studio and CVAT, as readers that are not vistag's read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from exporting import export
from hand_made_lake import FOLDER, HEIGHT, HOSTILE, WIDTH, make_home, tables, write
from rdflib import Graph, URIRef
from rdflib.namespace import DCTERMS, RDF, SKOS, Namespace

from resources.home import Home, read_settings, write_settings

OA = Namespace("http://www.w3.org/ns/oa#")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@pytest.mark.extras
def test_iiif_prezi3_reads_manifest_and_pages(home: Home, tmp_path: Path) -> None:
    prezi = pytest.importorskip("iiif_prezi3", reason="iiif-prezi3 is not installed")
    export(home, "iiif", tmp_path / "out", base="https://example.org/i/")
    manifest = prezi.Manifest.model_validate_json((tmp_path / "out" / FOLDER / "manifest.json").read_bytes())
    assert str(manifest.id) == f"https://example.org/i/{FOLDER}/manifest.json"
    assert len(manifest.items) == 3
    canvas = manifest.items[0]
    assert (canvas.width, canvas.height) == (WIDTH, HEIGHT)
    for canvas in manifest.items:
        file = str(canvas.annotations[0].id).removeprefix("https://example.org/i/")
        page = prezi.AnnotationPage.model_validate_json((tmp_path / "out" / file).read_bytes())
        assert {str(found.motivation) for found in page.items or ()} <= {"tagging"}
        assert all(str(found.target).startswith(str(canvas.id)) or found.target for found in page.items or ())


def test_an_iiif_page_has_outlines_boxes_and_tags_of_the_whole_picture(home: Home, tmp_path: Path) -> None:
    export(home, "iiif", tmp_path / "out")
    page = json.loads((tmp_path / f"out/{FOLDER}/annotations/{'a' * 32}.json").read_text())
    assert all(len(item["body"]) == 1 for item in page["items"])  # the starter vocabulary has no addresses
    targets = {item["body"][-1]["value"]: item["target"] for item in page["items"]}
    canvas = f"http://localhost:8000/{FOLDER}/canvas/{'a' * 32}"
    assert targets["vase"] == f"{canvas}#xywh=200,60,80,90"
    assert targets["spotlight"] == canvas
    assert targets["bowl"]["source"] == canvas
    path = ElementTree.fromstring(targets["bowl"]["selector"]["value"])[0].attrib["d"]
    corners = np.array([corner.split() for corner in path.strip("MZ").split("L")], float)
    np.testing.assert_allclose([*corners.min(0), *corners.max(0)], [40, 60, 80, 120], atol=1)


def test_an_iiif_page_names_concepts_by_address_and_nothing_by_another_iri(
    home: Home, tmp_path: Path
) -> None:
    """As the official schema of Presentation 3 has it (types/id: ^http)."""
    rows = (
        "id,pref_label,alt_labels,facet,broader,definition,iri",
        "bowl,bowl,,object,,,http://vocab.example.org/1",
    )
    (tmp_path / "own.csv").write_text("\n".join([*rows, "vase,vase,,object,,,"]))
    write_settings(home, read_settings(home).model_copy(update={"taxonomy": str(tmp_path / "own.csv")}))
    export(home, "iiif", tmp_path / "out")
    files = [*(tmp_path / "out").rglob("*.json")]
    said = [value for file in files for value in identifiers(json.loads(file.read_text()))]
    assert "http://vocab.example.org/1" in said
    assert [value for value in said if not value.startswith("http")] == []


def identifiers(value: Any) -> list[str]:
    """All that a document calls things by."""
    if isinstance(value, list):
        return [found for each in value for found in identifiers(each)]
    if not isinstance(value, dict):
        return []
    own = [value[name] for name in ("id", "source", "target") if isinstance(value.get(name), str)]
    return [*own, *(found for each in value.values() for found in identifiers(each))]


@pytest.mark.parametrize(("syntax", "suffix"), [("turtle", "ttl"), ("jsonld", "jsonld"), ("ntriples", "nt")])
def test_rdflib_reads_which_picture_shows_which_concept(
    home: Home, tmp_path: Path, syntax: str, suffix: str
) -> None:
    write(home, "descriptions", [row | {"description": HOSTILE} for row in tables()["descriptions"]])
    export(home, "skos", tmp_path / "out", syntax=syntax, base="https://example.org/")
    graph = Graph()
    for name in ("tags", "vocabulary"):
        graph.parse(tmp_path / f"out/{name}.{suffix}")
    first = URIRef("https://example.org/lib/a/1.jpg")
    concepts = set(graph.objects(first, DCTERMS.subject))
    assert {str(graph.value(concept, SKOS.prefLabel)) for concept in concepts} == {
        "bowl",
        "vase",
        "spotlight",
    }
    assert str(graph.value(first, DCTERMS.title)) == "A bowl"
    said = set(graph.subjects(OA.hasTarget, first))
    assert {graph.value(each, RDF.type) for each in said} == {OA.Annotation}
    vistag = Namespace("urn:x-vistag:terms/")
    by_concept = {graph.value(each, OA.hasBody): each for each in said}
    bowl = by_concept[URIRef("urn:x-vistag:concept/bowl")]
    assert float(graph.value(bowl, vistag.probability)) == pytest.approx(0.9)  # type: ignore[arg-type]
    assert str(graph.value(bowl, vistag.state)) == "human"
    assert str(graph.value(first, DCTERMS.description)) == HOSTILE


@pytest.mark.extras
def test_the_sdk_of_label_studio_takes_tasks_and_configuration(home: Home, tmp_path: Path) -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="label-studio-sdk is not installed"
    )
    export(home, "label-studio", tmp_path / "out")
    labels = interface.LabelInterface((tmp_path / "out/config.xml").read_text())
    labels.validate()
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    for task in tasks:
        assert labels.validate_task(
            {"data": task["data"]}
        )  # its look at predictions of a task lacks an argument
        for prediction in task["predictions"]:
            assert labels.validate_prediction(prediction, return_errors=True) == []
    wrong = json.loads(json.dumps(tasks[0]["predictions"][0]))
    wrong["result"][0]["value"]["rectanglelabels"] = ["no label of these"]
    assert not labels.validate_prediction(wrong)  # the validator looks


def test_label_studio_s_boxes_are_per_cent(home: Home, tmp_path: Path) -> None:
    export(home, "label-studio", tmp_path / "out", root="https://example.org/")
    first = json.loads((tmp_path / "out/tasks.json").read_text())[0]
    assert first["data"]["image"] == "https://example.org/lib/a/1.jpg"
    bowl, _, tags = first["predictions"][0]["result"]
    box = {name: bowl["value"][name] for name in ("x", "y", "width", "height")}
    assert box == {"x": 10, "y": 20, "width": 20, "height": 20}
    assert tags["value"]["choices"] == ["bowl", "vase", "spotlight"]


def found_by_datumaro(folder: Path) -> dict[str, list[Any]]:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    read = datumaro.Dataset.import_from(str(folder / "annotations.xml"), "cvat")
    labels = [label.name for label in read.categories()[datumaro.AnnotationType.label]]
    return {
        item.id: [(found.type.name, labels[found.label], found) for found in item.annotations]
        for item in read
    }


@pytest.mark.extras
def test_datumaro_reads_cvat(home: Home, tmp_path: Path) -> None:
    export(home, "cvat", tmp_path / "out")
    for n, proxy in enumerate(
        sorted((home.root / "proxies").rglob("*.jpg")), start=1
    ):  # it looks for the pictures
        picture = tmp_path / f"out/images/lib/a/{n}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(proxy.read_bytes())
    read = found_by_datumaro(tmp_path / "out")
    first = {(kind, label): found for kind, label, found in read["lib/a/1"]}
    assert set(first) == {
        ("polygon", "bowl"),
        ("bbox", "vase"),
        *(("label", name) for name in ("bowl", "vase", "spotlight")),
    }
    np.testing.assert_allclose(first["bbox", "vase"].get_bbox(), [200, 60, 80, 90], atol=0.01)
    np.testing.assert_allclose(first["polygon", "bowl"].get_bbox(), [40, 60, 40, 60], atol=1)


def test_hostile_words_end_no_element(home: Home, tmp_path: Path) -> None:
    words = "</label>]]>&'\"\x00\x1f 花"
    rows = [
        row | {"concept_id": None, "phrase": words, "needs_review": False} for row in tables()["tags"][:1]
    ]
    write(home, "tags", rows)
    for name, file in (("cvat", "annotations.xml"), ("label-studio", "config.xml")):
        export(home, name, tmp_path / name)
        root = ElementTree.parse(tmp_path / name / file).getroot()
        texts = {*root.itertext(), *(value for element in root.iter() for value in element.attrib.values())}
        assert words.replace("\x00\x1f", "") in texts
