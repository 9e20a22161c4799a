"""Ground truth of any format in a home: its files are images, its tags concepts."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from annotation_files import lvis, write

from evaluation.from_lake import match_ground_truth
from evaluation.readers.converting import as_document, by_concepts
from evaluation.readers.ground_truth import GroundTruth, read_ground_truth, read_signs
from evaluation.readers.names import same_files
from taxonomy import Concept, Taxonomy, starter_taxonomy
from taxonomy.concept import Translation


def taken(tmp_path: Path, file: Path, *, untagged_are_verified: bool = True) -> GroundTruth:
    document, _ = as_document(file, untagged_are_verified=untagged_are_verified)
    kept = tmp_path / "kept.json"
    kept.write_bytes(document)
    return read_ground_truth(kept)


def test_a_spreadsheet_of_image_and_tag_is_ground_truth(tmp_path: Path) -> None:
    file = write(tmp_path / "truth.csv", "image;tag\na.jpg;vase\na.jpg;bowl\nb.jpg;\n;lyre\n")
    truth = taken(tmp_path, file)
    assert truth.images["file_name"].to_pylist() == ["a.jpg", "b.jpg"]
    assert truth.concepts["concept_id"].to_pylist() == ["bowl", "lyre", "vase"]
    assert truth.truth.num_rows == 2
    assert read_signs(tmp_path / "kept.json").num_rows == 0  # a spreadsheet says nothing of sizes
    known = taken(tmp_path, file, untagged_are_verified=False)
    assert known.images["file_name"].to_pylist() == ["a.jpg"]


def test_annotations_stay_as_they_are_and_lvis_gets_file_names(tmp_path: Path) -> None:
    document = lvis()
    for image in document["images"]:
        image["file_name"] = f"{image['id']}.jpg"
    file = write(tmp_path / "coco.json", document)
    assert as_document(file)[0] == file.read_bytes()
    named = json.loads(as_document(write(tmp_path / "lvis.json", lvis()))[0])
    assert [image["file_name"] for image in named["images"]] == ["000000000001.jpg", "000000000002.jpg"]
    document["annotations"] = document["annotations"][:2]
    kept = json.loads(as_document(write(tmp_path / "c.json", document), untagged_are_verified=False)[0])
    assert [image["id"] for image in kept["images"]] == [1]


def test_boxes_keep_their_place_whatever_their_unit(tmp_path: Path) -> None:
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
    fractions = taken(tmp_path, write(tmp_path / "t.csv", f"{header}a,x,vase,1,0.25,0.75,0,0.5,0\n"))
    pixels = taken(
        tmp_path,
        write(
            tmp_path / "p.csv",
            "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,200,100,vase,50,0,150,50\n",
        ),
    )
    names = pa.table({"id": ["1"], "file_name": ["a.jpg"], "width": [200], "height": [100]})
    for truth in (fractions, pixels):
        matched = match_ground_truth(truth, names)
        assert matched.regions["bbox"].to_pylist() == [[0.25, 0.0, 0.5, 0.5]]


def test_files_are_found_by_path_by_its_end_and_by_stem() -> None:
    known = ["a/one.jpg", "b/one.jpg", "b/two.png", "three.tif"]
    assert same_files(
        ["a/one.jpg", "photos/b/two.png", "two", "three", "one.jpg", "one", "c/two.png"], known
    ) == {
        "a/one.jpg": "a/one.jpg",
        "photos/b/two.png": "b/two.png",
        "two": "b/two.png",
        "three": "three.tif",
    }


def test_tags_are_concepts_by_id_and_by_any_label_and_what_is_none_is_listed(tmp_path: Path) -> None:
    taxonomy = starter_taxonomy()
    concept = next(
        concept for concept in taxonomy.concepts if concept.alt_labels and concept.id != concept.pref_label
    )
    other = next(c for c in taxonomy.concepts if c.id != concept.id)
    rows = f"a.jpg,{other.id}\na.jpg,{concept.pref_label.upper()}\nb.jpg,{concept.alt_labels[0]}\nb.jpg,{concept.pref_label}x\n"
    named = by_concepts(taken(tmp_path, write(tmp_path / "t.csv", f"image,tag\n{rows}")), taxonomy)
    assert set(named.truth.concepts["concept_id"].to_pylist()) == {
        other.id,
        concept.id,
        f"{concept.pref_label}x",
    }
    assert named.truth.truth.num_rows == 4
    assert named.strangers == {f"{concept.pref_label}x": concept.pref_label}
    said = " ".join(named.remarks())
    assert f"(nearest: {concept.pref_label})" in said
    assert "2 tags are labels of concepts" in said


@pytest.mark.parametrize("labels", [("Vasen", "pots"), ("花瓶", "βάζο")])
def test_codes_and_labels_of_any_language_name_a_concept(tmp_path: Path, labels: tuple[str, str]) -> None:
    spoken = (Translation("xx", labels[0], (labels[1],)),)
    codes = {
        "iri": "http://vocab.example/300132254",
        "notation": "V.12",
        "exact_match": ("http://other.example/Q1",),
    }
    taxonomy = Taxonomy((Concept("300132254", "vase", translations=spoken, **codes),))  # type: ignore[arg-type]
    names = (
        *labels,
        "vases",
        "300132254",
        "http://vocab.example/300132254",
        "V.12",
        "http://other.example/Q1",
    )
    rows = "".join(f"{n}.jpg,{label}\n" for n, label in enumerate(names))
    named = by_concepts(taken(tmp_path, write(tmp_path / "t.csv", f"image,tag\n{rows}")), taxonomy)
    assert named.truth.concepts["concept_id"].to_pylist() == ["300132254"]
    assert named.strangers == {}
