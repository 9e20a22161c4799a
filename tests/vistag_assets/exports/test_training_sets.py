"""Sets for training, as the programs' own readers read them: YOLO, Pascal VOC, LoRA captions, Hugging Face, WebDataset."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
import yaml
from exporting import content, export
from hand_made_lake import HEIGHT, IDS, WIDTH, make_home, tables, write
from PIL import Image

from resources.home import Home
from vistag_assets.exports.lora import without_opener

OPENERS = ("this image shows", "an image of", "a photo of")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def test_torchvision_reads_voc(home: Home, tmp_path: Path) -> None:
    from torchvision.datasets import VOCDetection

    export(home, "voc", tmp_path / "out")
    annotation = ElementTree.parse(tmp_path / "out/Annotations/lib/a/1.xml").getroot()
    parsed = VOCDetection.parse_voc_xml(annotation)["annotation"]
    picture = tmp_path / "out" / parsed["folder"] / parsed["filename"]
    assert Image.open(picture).size == (int(parsed["size"]["width"]), int(parsed["size"]["height"]))
    assert {found["name"]: found["bndbox"] for found in parsed["object"]} == {
        "bowl": {"xmin": "41", "ymin": "61", "xmax": "120", "ymax": "120"},
        "vase": {"xmin": "201", "ymin": "61", "xmax": "280", "ymax": "150"},
    }
    assert ElementTree.parse(tmp_path / "out/Annotations/lib/a/2.xml").find("object") is None


@pytest.mark.extras
@pytest.mark.parametrize("outlines", [False, True])
def test_ultralytics_reads_yolo(home: Home, tmp_path: Path, outlines: bool) -> None:
    data = pytest.importorskip("ultralytics.data", reason="ultralytics is not installed")
    out = tmp_path / "out"
    export(home, "yolo", out, outlines=outlines)
    described = yaml.safe_load((out / "data.yaml").read_text())
    names = described["names"]
    task = "segment" if outlines else "detect"
    read = data.YOLODataset(
        img_path=str(out / "images"),
        data={**described, "nc": len(names), "channels": 3},
        task=task,
        augment=False,
    )
    labels = {Path(found["im_file"]).name: found for found in read.labels}
    assert set(labels) == {"1.jpg", "2.jpg", "3.jpg"}
    assert [names[int(number)] for number in labels["1.jpg"]["cls"].ravel()] == ["bowl", "vase"]
    bowl, vase = labels["1.jpg"]["bboxes"]
    np.testing.assert_allclose(vase, [0.6, 0.35, 0.2, 0.3], atol=1e-5)
    np.testing.assert_allclose(bowl, [0.15, 0.3, 0.1, 0.2] if outlines else [0.2, 0.3, 0.2, 0.2], atol=0.01)
    assert len(labels["2.jpg"]["cls"]) == 0


def test_yolo_counts_the_classes_that_are_there_from_0(home: Home, tmp_path: Path) -> None:
    export(home, "yolo", tmp_path / "out", pictures=False)
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["names"] == {0: "bowl", 1: "vase"}
    lines = (tmp_path / "out/labels/lib/a/1.txt").read_text().splitlines()
    assert lines == ["0 0.200000 0.300000 0.200000 0.200000", "1 0.600000 0.350000 0.200000 0.300000"]
    assert not (tmp_path / "out/images").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "bowl, vase, spotlight"),
        ({"most_tags": 1, "trigger": "mstyle"}, "mstyle, bowl"),
        ({"content": "caption"}, "a bowl, two vases and a sword"),
        ({"content": "mixed", "trigger": "m"}, "m, a bowl, two vases and a sword, bowl, vase, spotlight"),
    ],
)
def test_lora_captions(home: Home, tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    export(home, "lora", tmp_path / "out", **options)
    folder = tmp_path / "out/lib/a"
    assert (folder / "1.txt").read_text() == f"{expected}\n"
    # a trainer pairs by the stem
    assert sorted(path.stem for path in folder.glob("*.jpg")) == sorted(
        path.stem for path in folder.glob("*.txt")
    )
    metadata = json.loads((tmp_path / "out/metadata_cap.json").read_text())
    assert metadata["lib/a/1.jpg"]["caption"] == "a bowl, two vases and a sword"


def test_shuffled_tags_are_the_same_each_time_and_not_ranked(home: Home, tmp_path: Path) -> None:
    rows = tables()["tags"]
    write(home, "tags", [row | {"id": id_} for id_ in IDS for row in rows[:3]])
    export(home, "lora", tmp_path / "one", order="shuffled")
    export(home, "lora", tmp_path / "two", order="shuffled")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    texts = [(tmp_path / f"one/lib/a/{n}.txt").read_text().strip().split(", ") for n in (1, 2, 3)]
    assert all(sorted(text) == ["bowl", "spotlight", "vase"] for text in texts)
    assert ["bowl", "vase", "spotlight"] not in texts


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("This image shows a bowl", "a bowl"),
        ("an image of: a bowl", "a bowl"),
        ("A photo of a photo of a bowl", "a photo of a bowl"),
        ("a photograph", "a photograph"),
        ("an image often seen", "an image often seen"),
        ("", ""),
    ],
)
def test_openers_that_say_nothing_are_cut(caption: str, expected: str) -> None:
    assert without_opener(caption, OPENERS) == expected


def test_polars_reads_both_layouts_of_hf(home: Home, tmp_path: Path) -> None:
    export(home, "hf", tmp_path / "folder")
    export(home, "hf", tmp_path / "parquet", layout="parquet")
    lines = pl.read_ndjson(tmp_path / "folder/metadata.jsonl")
    table = pl.read_parquet(tmp_path / "parquet/data/*.parquet")
    assert lines["tags"].to_list() == table["tags"].to_list() == [["bowl", "vase", "spotlight"], ["vase"], []]
    for name, image in zip(lines["file_name"], table["image"], strict=True):
        assert (tmp_path / "folder" / name).read_bytes() == image["bytes"]
        assert Image.open(io.BytesIO(image["bytes"])).size == (WIDTH, HEIGHT)


@pytest.mark.extras
@pytest.mark.parametrize(("layout", "builder"), [("folder", "imagefolder"), ("parquet", "parquet")])
def test_datasets_reads_both_layouts_of_hf(home: Home, tmp_path: Path, layout: str, builder: str) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    out = tmp_path / "out"
    export(home, "hf", out, layout=layout)
    files = {"data_files": str(out / "data/*.parquet")} if layout == "parquet" else {"data_dir": str(out)}
    read = datasets.load_dataset(builder, split="train", cache_dir=str(tmp_path / "cache"), **files)
    rows = sorted(read, key=lambda row: row["path"])
    assert [row["tags"] for row in rows] == [["bowl", "vase", "spotlight"], ["vase"], []]
    assert {row["image"].size for row in rows} == {(WIDTH, HEIGHT)}
    np.testing.assert_allclose(rows[0]["objects"]["bbox"], [[40, 60, 80, 60], [200, 60, 80, 90]], atol=0.01)


def test_a_shard_is_a_tar_of_pictures_with_their_json(home: Home, tmp_path: Path) -> None:
    export(home, "webdataset", tmp_path / "out")
    with tarfile.open(tmp_path / "out/shard-000000.tar") as tar:
        names = tar.getnames()
    assert [name.partition(".")[2] for name in names] == ["jpg", "json", "txt"] * 3
    assert len({name.partition(".")[0] for name in names}) == 3


@pytest.mark.extras
@pytest.mark.parametrize(("shard_mb", "shards"), [(1000, 1), (0, 3)])
def test_webdataset_reads_the_shards(home: Home, tmp_path: Path, shard_mb: int, shards: int) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    if shard_mb == 0:  # a picture a shard
        big = np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8)
        for path in (home.root / "proxies").rglob("*.jpg"):
            Image.fromarray(big).save(path, quality=100)
        shard_mb = 1
    export(home, "webdataset", tmp_path / "out", shard_mb=shard_mb)
    files = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    assert len(files) == shards
    read = list(webdataset.WebDataset(files, shardshuffle=False).decode("pil"))
    by_path = {sample["json"]["path"]: sample for sample in read}
    assert set(by_path) == {"a/1.jpg", "a/2.jpg", "a/3.jpg"}
    assert by_path["a/1.jpg"]["json"]["tags"] == ["bowl", "vase", "spotlight"]
    assert by_path["a/1.jpg"]["txt"] == "a bowl, two vases and a sword"
    assert by_path["a/1.jpg"]["jpg"].mode == "RGB"


@pytest.mark.parametrize("name", ["yolo", "voc", "lora", "hf", "webdataset", "iiif"])
def test_an_image_without_a_working_copy_is_left_out_with_a_reason(
    home: Home, tmp_path: Path, name: str
) -> None:
    next((home.root / "proxies").rglob("a*.jpg")).unlink()
    outcome = export(home, name, tmp_path / "out")
    assert [what for what, _ in outcome.skipped] == ["lib/a/1.jpg"]
    assert "run vistag on its folder again" in outcome.skipped[0][1]


def test_pictures_of_other_kinds_keep_their_name_before_the_suffix(home: Home, tmp_path: Path) -> None:
    names = ["a/x.jpg", "a/x.nef", "a/花.psd"]
    write(home, "images", [row | {"path": n} for row, n in zip(tables()["images"], names, strict=True)])
    export(home, "lora", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out/lib/a").iterdir()} == {
        *("x.jpg", "x.txt", "x.nef.jpg", "x.nef.txt"),
        *("花.psd.jpg", "花.psd.txt"),
    }
