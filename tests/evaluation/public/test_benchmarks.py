"""vistag benchmark against a server on loopback that publishes small stand-ins in the publishers' formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from public_data import COCO, FOUNDATION, LABELS, LVIS, lvis_files, openimages_files
from publisher import Publisher, publishing
from typer.testing import CliRunner

from evaluation.public.benchmark import Prepared, prepare
from evaluation.public.benchmarks import BENCHMARKS
from evaluation.public.fetching import PINS, BenchmarkError, Data
from evaluation.public.tail_first import tail_first
from resources.download import Downloader
from resources.lake.files import make_directory
from taxonomy import load_taxonomy
from vistag_assets.cli import app


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """Both benchmarks; the stand-in of Open Images has not the checksums of the real one."""
    named = BENCHMARKS["openimages-rare"]
    unpinned = replace(named, annotations=[replace(source, sha256=None) for source in named.annotations])
    monkeypatch.setitem(BENCHMARKS, named.name, unpinned)  # type: ignore[misc]
    with publishing(Publisher(lvis_files() | openimages_files())) as found:
        yield found


def prepared(
    name: str, folder: Path, publisher: Publisher, images: int | None = None, **more: bool
) -> Prepared:
    data = Data(folder, publisher.url, downloader=Downloader(pause_s=0), **more)
    return prepare(BENCHMARKS[name], data, images, lambda stage, done, total: None)


def names(found: Prepared) -> list[str]:
    return [image["file_name"] for image in json.loads(found.truth.read_text())["images"]]


def test_a_part_holds_the_rarest_first_and_a_larger_part_the_smaller_one() -> None:
    shown = {f"{number}": {"common", "rare" if number in (7, 3) else "middle"} for number in range(9)}
    assert tail_first(shown, 2) == ["3", "7"]
    assert set(tail_first(shown, 4)) > {"3", "7"}
    assert tail_first(shown, None) == sorted(shown)


def test_lvis_is_fetched_with_its_words_its_negatives_and_only_the_pictures_that_are_wanted(
    publisher: Publisher, tmp_path: Path
) -> None:
    found = prepared("lvis-minival", tmp_path, publisher, images=3)
    assert (found.images, found.of) == (3, 6)
    assert names(found) == [f"{number:012}.jpg" for number in (100, 101, 102)]
    assert sorted(path.name for path in found.library.iterdir()) == names(found)
    truth = json.loads(found.truth.read_text())
    assert [image["neg_category_ids"] for image in truth["images"]] == [[2], [4], [4]]
    assert len(truth["annotations"]) == 6
    assert "segmentation" not in truth["annotations"][0]
    bow = load_taxonomy(found.vocabulary).by_id["bow_(weapon)"]
    assert (bow.pref_label, bow.alt_labels, bow.definition) == ("bow (weapon)", ("longbow",), "a weapon")


def test_open_images_are_those_that_show_a_rare_class_with_all_that_was_verified(
    publisher: Publisher, tmp_path: Path
) -> None:
    found = prepared("openimages-rare", tmp_path, publisher)
    assert (found.images, found.of) == (6, 6), "pictures of the common class alone are none of it"
    truth = json.loads(found.truth.read_text())
    concept = {row["id"]: row["name"] for row in truth["categories"]}
    first = truth["images"][0]
    assert [concept[id_] for id_ in first["neg_category_ids"]] == ["/m/rare1"]
    assert [(concept[row["category_id"]], row["bbox"]) for row in truth["annotations"]] == [
        ("/m/common", [0.1, 0.2, 0.5, pytest.approx(0.5)])
    ]
    assert {concept[row["category_id"]] for row in truth["image_tags"]} == set(concept.values())
    assert load_taxonomy(found.vocabulary).by_id["/m/rare1"].pref_label == "Bow, weapon"
    credits = (tmp_path / "credits.csv").read_text().splitlines()
    assert (len(credits), '"Maker, A."' in credits[1]) == (7, True)


def test_what_is_there_is_not_fetched_again_and_what_was_damaged_is(
    publisher: Publisher, tmp_path: Path
) -> None:
    found = prepared("lvis-minival", tmp_path, publisher)
    publisher.asked.clear()
    prepared("lvis-minival", tmp_path, publisher)
    assert publisher.asked == []
    victim = found.library / f"{102:012}.jpg"
    victim.write_bytes(b"damaged")
    prepared("lvis-minival", tmp_path, publisher)
    assert publisher.asked == [(f"{COCO}/{102:012}.jpg", None)]
    assert victim.read_bytes() == publisher.files[f"{COCO}/{102:012}.jpg"]


def test_a_file_that_its_publisher_changed_is_refused_by_its_first_fetch(
    publisher: Publisher, tmp_path: Path
) -> None:
    found = prepared("lvis-minival", tmp_path, publisher)
    pins = json.loads((tmp_path / PINS).read_text())
    assert (
        pins["https://huggingface.co/GLIPModel/GLIP/resolve/main/lvis_v1_minival_inserted_image_name.json"][
            "checked"
        ]
        == "md5"
    )
    (tmp_path / "annotations" / Path(LVIS).name).unlink()
    publisher.files[LVIS] += b"\n"
    with pytest.raises(BenchmarkError, match="fetched first on"):
        prepared("lvis-minival", tmp_path, publisher)
    assert names(found)


def test_the_real_files_of_open_images_are_known_before_they_are_fetched(tmp_path: Path) -> None:
    with (
        publishing(Publisher(openimages_files())) as publisher,
        pytest.raises(BenchmarkError, match="sha256"),
    ):
        prepared("openimages-rare", tmp_path, publisher)


def test_a_picture_that_is_gone_is_left_out_and_many_stop_the_benchmark(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del publisher.files[f"{COCO}/{101:012}.jpg"]
    with pytest.raises(BenchmarkError, match="1 of 6 pictures could not be had; what came is kept"):
        prepared("lvis-minival", tmp_path, publisher)
    monkeypatch.setattr("evaluation.public.benchmark.MOST_LACKING", 0.2)
    found = prepared("lvis-minival", tmp_path, publisher)
    assert (found.images, len(found.lacking)) == (5, 1)
    assert f"{101:012}.jpg" not in names(found)
    assert "404" in found.lacking[0]


@pytest.mark.parametrize("url", ["http://example.org/val2017/000000000100.jpg", "file:///etc/passwd", None])
def test_nothing_else_than_the_published_pictures_is_fetched(
    publisher: Publisher, url: str | None, tmp_path: Path
) -> None:
    document = json.loads(publisher.files[LVIS])
    document["images"][0] |= {"coco_url": url}
    publisher.files[LVIS] = json.dumps(document).encode()
    with pytest.raises(BenchmarkError, match="coco_url of image 100 is none of"):
        prepared("lvis-minival", tmp_path, publisher)


def test_without_a_network_the_addresses_and_places_are_told(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError) as offline:
        prepared("lvis-minival", tmp_path, publisher, offline=True)
    assert "https://huggingface.co/GLIPModel" in str(offline.value)
    assert f"as {tmp_path}/annotations/lvis_v1_minival" in str(offline.value)
    assert publisher.asked == []
    # what somebody put there is taken, and pinned as it is
    for path, content in publisher.files.items():
        place = {LVIS: f"annotations/{Path(LVIS).name}"}.get(path, f"images/{Path(path).name}")
        if path.startswith((COCO, LVIS)):
            make_directory((tmp_path / place).parent)
            (tmp_path / place).write_bytes(content)
    assert prepared("lvis-minival", tmp_path, publisher, offline=True).images == 6
    assert "was here" in (tmp_path / PINS).read_text()


def test_a_row_that_is_none_of_open_images_is_told_by_file_and_row(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.files[LABELS] += b"../../etc/passwd,verification,/m/rare0,1\n"
    with pytest.raises(BenchmarkError, match=r"imagelabels\.csv, row 34: '\.\./\.\./etc/passwd'"):
        prepared("openimages-rare", tmp_path, publisher)
    assert not any(path.startswith(FOUNDATION) for path, _ in publisher.asked)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lvis-minival", "openimages-rare"])
def test_a_tiers_ladder_is_run_and_the_page_written(name: str, publisher: Publisher, tmp_path: Path) -> None:
    arguments = ["benchmark", name, "--images", "2", "--tier", "demo", "--mirror", publisher.url]
    told = CliRunner().invoke(app, [*arguments, "--home", str(tmp_path)])
    assert "pictures are in" in told.output, told.output
    reports = tmp_path / "benchmarks" / name / "reports"
    figures = json.loads((reports / "benchmark.json").read_text())
    assert (figures["benchmark"], figures["images"], figures["of"], figures["tier"]) == (name, 2, 6, "demo")
    assert {row["option"] for row in figures["ladder"]} >= {"A1", "A2", "A3"}
    assert figures["federated"]["tag_recall"]["overall"]["10"]["support"] == 4
    assert all(len(digest) == 64 for digest in figures["annotations"].values())
    assert "recall@10" in (reports / "benchmark.html").read_text()
    assert (reports / "long_tail.html").exists()
