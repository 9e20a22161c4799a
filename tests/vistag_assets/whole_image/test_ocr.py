"""Text in pictures: the engine on drawn text, the stage on a small lake, and the metric."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from evaluation.metrics.ocr import normalised, sign_recall
from evaluation.readers.ground_truth import read_signs
from evaluation.readers.tables import UnusableFile
from resources.home import FolderRef, Home, Settings, write_settings
from resources.lake import empty_ids
from resources.metadata import ROW_COUNT
from resources.models.checkpoints import make_model
from resources.models.ocr import OcrSpec, reading_order
from resources.models.ocr.rapid import RapidOcrEngine
from resources.previews import preview_page
from resources.tables import OCR_TEXT
from resources.workspace import VistagResource, Workspace, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.language import routing as lanes
from vistag_assets.lineage import answered
from vistag_assets.partitions import FOLDERS
from vistag_assets.progress import Meter
from vistag_assets.whole_image import ocr_text as reading


def card(*texts: tuple[int, int, str], size: tuple[int, int] = (640, 400), shade: int = 200) -> Image.Image:
    """A plain picture with black text at (x, y), 36 px high."""
    image = Image.new("RGB", size, (shade, shade, shade - 20))
    draw = ImageDraw.Draw(image)
    for x, y, text in texts:
        draw.text((x, y), text, font=ImageFont.load_default(36), fill=(10, 10, 10))
    return image


@pytest.fixture(scope="module")
def engine() -> RapidOcrEngine:
    return RapidOcrEngine(OcrSpec())


def test_lines_come_in_reading_order_with_their_boxes(engine: RapidOcrEngine) -> None:
    lines = engine.read(card((330, 42, "ROOM 12"), (40, 300, "PLATE 40"), (40, 50, "GALLERY 60")))
    assert [normalised(line.text) for line in lines] == ["GALLERY60", "ROOM12", "PLATE40"]
    assert all(0.7 <= line.confidence <= 1 for line in lines)
    for line, (x, y) in zip(lines, [(40, 50), (330, 42), (40, 300)], strict=True):
        left, top, width, height = line.box_xywh
        assert (left * 640, top * 400) == pytest.approx((x, y), abs=16)
        assert height * 400 < 60 < width * 640


def test_a_line_is_found_in_an_image_larger_than_the_detector_sees(engine: RapidOcrEngine) -> None:
    (line,) = engine.read(card((900, 700, "INV. 1875.4"), size=(1600, 1200)))
    assert normalised(line.text) == "INV18754"
    left, top, width, height = line.box_xywh
    assert left <= 920 / 1600 <= left + width
    assert top <= 725 / 1200 <= top + height


def test_no_text_and_extreme_shapes_give_no_lines(engine: RapidOcrEngine) -> None:
    for size in [(320, 240), (1, 1), (1024, 1), (1, 1024), (4000, 6)]:
        assert engine.read(card(size=size)) == [], size


def test_short_lines_are_dropped_where_the_spec_says_so() -> None:
    image = card((200, 150, "A7"))
    assert [line.text for line in RapidOcrEngine(OcrSpec()).read(image)] == ["A7"]
    assert RapidOcrEngine(OcrSpec(min_characters=3)).read(image) == []


def test_nothing_is_downloaded_and_no_session_starts_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    engine = RapidOcrEngine(OcrSpec())
    assert not engine.is_loaded
    assert [line.text for line in engine.read(card((200, 150, "LOT 95")))] == ["LOT 95"]
    for model in (engine._loaded.text_det, engine._loaded.text_rec):
        assert model.session.session.get_session_options().intra_op_num_threads == 1


def test_threads_read_what_one_thread_reads(engine: RapidOcrEngine) -> None:
    images = [card((20 + 9 * n, 30 + 17 * n, f"CASE {n + 10}"), shade=255 - 12 * n) for n in range(6)]
    alone = [engine.read(image) for image in images]
    assert [normalised(lines[0].text) for lines in alone] == [f"CASE{n + 10}" for n in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(engine.read, images)) == alone


def test_fingerprints_tell_settings_apart_and_engines_are_shared() -> None:
    fingerprints = {
        RapidOcrEngine(OcrSpec(**change)).fingerprint
        for change in ({}, {"min_confidence": 0.9}, {"min_characters": 1}, {"max_side_px": 960})
    }
    assert len(fingerprints) == 4
    assert make_model(OcrSpec(), "cpu") is make_model(OcrSpec(), "cpu")


def test_reading_order_takes_rows_from_the_top_and_each_from_the_left() -> None:
    slanted = [(0.6, 0.10, 0.2, 0.1), (0.1, 0.14, 0.2, 0.1), (0.3, 0.4, 0.2, 0.1), (0.0, 0.49, 0.2, 0.1)]
    assert reading_order(slanted) == [1, 0, 2, 3]
    assert reading_order([]) == []


# ---- the stage and its asset


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    use_tier(home, tmp_path, ocr={"family": "rapidocr"})
    return home


def use_tier(home: Home, folder: Path, **roles: object) -> None:
    encoder = {"family": "siglip", "model": str(folder / "none"), "licence": "own"}
    tier = {"description": "reads", "device": "cpu", "encoder": encoder} | roles
    (folder / "reads.yaml").write_text(json.dumps(tier))  # JSON is YAML
    write_settings(home, Settings(tier=str(folder / "reads.yaml")))


def add(home: Home, library: Path, **images: Image.Image) -> tuple[Workspace, FolderRef]:
    library.mkdir(exist_ok=True)
    for name, image in images.items():
        image.save(library / f"{name}.png")
    folder = FolderRef("lib--a", "lib", str(library), ".")
    home.register(folder)
    workspace = open_workspace(home)
    ingest_files(workspace, folder, Meter("ingest"))
    return workspace, folder


def test_a_second_run_reads_nothing_also_where_nothing_was_found(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    workspace, folder = add(home, library, sign=card((200, 150, "EAST WING 71")), blank=card())
    stats = update_table("ocr_text", workspace, folder.key)
    assert stats is not None
    assert stats.computed == 2
    rows = workspace.lake.read("ocr_text", folder.key)
    assert rows.schema.names == OCR_TEXT.schema.names
    assert [normalised(text) for text in rows["text"].to_pylist()] == ["EASTWING71"]
    assert len(empty_ids(rows)) == 1
    assert answered(rows).num_rows == 2

    with monkeypatch.context() as patched:
        patched.setattr(RapidOcrEngine, "read", lambda self, image: pytest.fail("an image was read again"))
        again = update_table("ocr_text", open_workspace(home), folder.key)
    assert again is not None
    assert (again.kept, again.computed) == (2, 0)

    workspace, folder = add(home, library, more=card((200, 150, "ANNO 1875")))
    third = update_table("ocr_text", workspace, folder.key)
    assert third is not None
    assert (third.kept, third.computed) == (2, 1)


def test_the_assets_run_in_dagster_and_say_what_they_found(tmp_path: Path, home: Home) -> None:
    _, folder = add(home, tmp_path / "library", sign=card((200, 150, "GALLERY 60")), blank=card())
    result = materialise(home, folder)
    read, routed = (result.asset_materializations_for_node(node) for node in ("ocr_text", "routing"))
    assert read[0].metadata["images_with_text"].value == 1
    assert "GALLERY 60" in preview_page(home, "ocr_text", folder.key).read_text()
    assert routed[0].metadata["reason_text"].value == 1
    assert routed[0].metadata["heavy"].value == 1
    assert {check.check_name: check.passed for check in result.get_asset_check_evaluations()} == {
        "text_lines_are_within_bounds": True,
        "heavy_lane_is_within_budget": True,
    }


def test_a_tier_without_ocr_skips_the_asset_and_says_so(tmp_path: Path, home: Home) -> None:
    workspace, folder = add(home, tmp_path / "library", sign=card((200, 150, "GALLERY 60")))
    update_table("ocr_text", workspace, folder.key)
    use_tier(home, tmp_path)
    result = materialise(home, folder)
    (made,) = result.asset_materializations_for_node("ocr_text")
    assert made.metadata["skipped"].value.startswith("The tier reads names no ocr")
    assert made.metadata[ROW_COUNT].value == 0
    assert not workspace.lake.exists("ocr_text", folder.key)
    assert workspace.lake.read("routing", folder.key)["reasons"].to_pylist() == [[]]


def materialise(home: Home, folder: FolderRef) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [folder.key])
        return dg.materialize(
            [
                *(reading.ocr_text, reading.text_lines_are_within_bounds),
                *(lanes.routing, lanes.heavy_lane_is_within_budget),
            ],
            instance=instance,
            partition_key=folder.key,
            resources={"vistag": VistagResource(home=str(home.root))},
        )


# ---- the metric

BOX = [0.1, 0.8, 0.4, 0.1]


def signs(*rows: tuple[str, str]) -> pa.Table:
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("bbox", pa.list_(pa.float32(), 4))])
    return pa.Table.from_pylist([{"id": id_, "text": text, "bbox": BOX} for id_, text in rows], schema)


def lines(*rows: tuple[str, int, str, list[float]]) -> pa.Table:
    names = ["id", "line", "text", "bbox"]
    schema = OCR_TEXT.schema.remove(5).remove(3)
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)


ON_SIGN, LEFT, RIGHT, ELSEWHERE = (
    [0.12, 0.81, 0.3, 0.06],
    [0.12, 0.81, 0.1, 0.06],
    [0.30, 0.81, 0.1, 0.06],
    [0.6, 0.1, 0.2, 0.1],
)


@pytest.mark.parametrize(
    ("read", "found"),
    [
        ([("a", 0, "inv.1875.4", ON_SIGN)], 1),
        ([("a", 0, "INV 18754", ELSEWHERE)], 1),  # a line that says the same, wherever its box
        ([("a", 1, "1875.4", RIGHT), ("a", 0, "INV.", LEFT)], 1),  # split, joined in reading order
        ([("a", 0, "INV.", LEFT), ("a", 1, "1875.4", ELSEWHERE)], 0),  # the rest lies elsewhere
        ([("a", 0, "INV. 1875.40", ON_SIGN)], 0),  # more than the sign says
        ([("b", 0, "INV. 1875.4", ON_SIGN)], 0),  # on another image
        ([], 0),
    ],
)
def test_a_sign_is_found_whole_or_split(read: list[tuple[str, int, str, list[float]]], found: int) -> None:
    figure = sign_recall(signs(("a", "INV. 1875.4")), lines(*read))
    assert (figure.found, figure.support, figure.recall) == (found, 1, float(found))
    assert figure.ci95 is None  # one image


def test_recall_and_precision_count_what_they_say() -> None:
    known = signs(("a", "LOT 1"), ("a", "LOT 2"), ("b", "CASE 3"), ("c", "--"))
    read = lines(
        ("a", 0, "LOT1", ON_SIGN), ("b", 0, "CASE 3", ON_SIGN), ("b", 1, "rim", ELSEWHERE), ("d", 0, "x", BOX)
    )
    figure = sign_recall(known, read, images=["a", "b", "c", "d"])
    assert (figure.found, figure.support) == (2, 3)
    assert figure.recall == pytest.approx(2 / 3)
    assert (figure.lines, figure.precision) == (4, 0.5)
    assert figure.ci95 is not None
    assert 0 < figure.ci95.low < figure.recall < figure.ci95.high < 1  # of three signs
    assert sign_recall(known, read).lines == 3  # by default only images with a sign


def test_no_signs_or_no_lines_have_no_figure() -> None:
    assert sign_recall(signs(), lines(), images=["a"]).recall is None
    assert sign_recall(signs(("a", "LOT 1")), lines()).precision is None


def test_signs_are_read_from_the_annotations(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    document = {
        "images": [{"id": 1, "file_name": "a/b.jpg", "width": 200, "height": 100}],
        "texts": [{"image_id": 1, "bbox": [20, 80, 80, 10], "text": "LOT 1"}],
    }
    path.write_text(json.dumps(document))
    (row,) = read_signs(path).to_pylist()
    assert (row["file_name"], row["text"]) == ("a/b.jpg", "LOT 1")
    assert np.allclose(row["bbox"], [0.1, 0.8, 0.4, 0.1])
    path.write_text(json.dumps(document | {"texts": [{"image_id": 9, "bbox": [1, 1, 1, 1], "text": "x"}]}))
    with pytest.raises(UnusableFile, match="images that are not in it: 9"):
        read_signs(path)
    path.write_text('{"images": []}')
    assert read_signs(path).num_rows == 0
