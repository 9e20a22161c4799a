"""What is computed for regions, on a small lake of drawn pictures with the encoder of the demo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageColor
from pycocotools import mask as coco

from resources.home import Home, Settings, write_settings
from resources.lake import MissingPartition, UpdateStats, embedding_matrix, empty_ids, with_empty_ids
from resources.models.checkpoints import make_model
from resources.models.encoders import Calibration, Encoder, Platt, ScoreHead
from resources.models.segmenters.grabcut import GrabCut
from resources.models.segmenters.masks import decode_rle
from resources.tables import GROUNDED_REGIONS
from resources.workspace import open_workspace
from vistag_assets.folder_asset import declared, update_table
from vistag_assets.regions.crops import GREY, same_boxes, square_crop
from vistag_assets.regions.matching import NO_CONCEPT, match_crops
from vistag_assets.regions.overlay import OTHER_COLOUR, Marked, draw_regions
from vistag_assets.whole_image.concept_embeddings import embed_concepts
from vistag_assets.whole_image.scoring import Scorer, make_scorer

ENCODER = Path(__file__).parents[3] / "demo" / "checkpoints" / "encoder"
FOLDER = "lib"
VOCABULARY = """id,pref_label,alt_labels,facet,broader,definition
vessel,vessel,,object,,
vase,vase,,object,vessel,
bowl,bowl,,object,vessel,
gold,gold,,material,,
"""
DETECTOR = {"family": "owlv2", "model": "never-loaded", "licence": "Apache-2.0"}
SEGMENTER = {"family": "grabcut", "model": "opencv", "licence": "Apache-2.0"}
DISC = (0.25, 0.2, 0.3, 0.4)


def grounded(
    image_id: str, *regions: tuple[str | None, str, tuple[float, ...]], by: str = "one"
) -> list[dict]:
    return [
        {
            "id": image_id,
            "region_id": f"{image_id[:12]}-r{number}",
            "concept_id": concept,
            "phrase": phrase,
            "bbox": list(box),
            "score": 0.9,
            "text_score": 0.9,
            "prompt": phrase,
            "chunk": 0,
            "fingerprint": by,
        }
        for number, (concept, phrase, box) in enumerate(regions, start=1)
    ]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three pictures of a disc: with three regions (two of one box), with a phrase only, and with none."""
    home = Home(tmp_path / "home")
    (tmp_path / "vocabulary.csv").write_text(VOCABULARY)
    use_tier(home, segmenter=SEGMENTER)
    paths = []
    for number, size in enumerate([(100, 100), (160, 120), (90, 200)]):
        rng = np.random.default_rng(number)
        pixels = np.array((20, 60, 150)) + rng.normal(0, 5, (size[1], size[0], 3))
        y, x = np.mgrid[: size[1], : size[0]]
        centre = ((DISC[0] + DISC[2] / 2) * size[0], (DISC[1] + DISC[3] / 2) * size[1])
        radii = (DISC[2] / 2 * size[0], DISC[3] / 2 * size[1])
        pixels[((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1] = (200, 160, 40)
        paths.append(f"proxies/{number}.png")
        (home.root / "proxies").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(home.root / paths[-1])
    home.lake.write(
        "proxies", pa.table({"id": ["a", "b", "c"], "path": paths, "fingerprint": ["p"] * 3}), FOLDER
    )
    nudged = tuple(np.array(DISC) + 0.001)
    write_regions(
        home,
        grounded("a", ("vase", "vase", DISC), ("gold", "gold", nudged), ("vessel", "vessel", nudged))
        + grounded("b", (None, "a golden disc", DISC)),
        empty={"c": "one"},
    )
    embed_concepts(open_workspace(home))
    return home


def use_tier(home: Home, **changes: object) -> None:
    encoder = {"family": "siglip", "model": str(ENCODER), "batch_size": 2, "licence": "Apache-2.0"}
    named = {"encoder": encoder, "detector": DETECTOR, **changes}
    tier = {"description": "tiny", "device": "cpu"} | {role: spec for role, spec in named.items() if spec}
    folder = home.root.parent
    (folder / "tier.yaml").write_text(json.dumps(tier))  # JSON is YAML
    home.root.mkdir(parents=True, exist_ok=True)
    write_settings(home, Settings(tier=str(folder / "tier.yaml"), taxonomy=str(folder / "vocabulary.csv")))


def write_regions(home: Home, rows: list[dict], empty: dict[str, str]) -> None:
    table = pa.Table.from_pylist(rows, schema=GROUNDED_REGIONS.schema)
    home.lake.write("grounded_regions", with_empty_ids(table, empty), FOLDER)


def run(home: Home) -> list[tuple[int, int]]:
    """Kept and computed images of masks, embeddings and matches."""
    workspace = open_workspace(home)
    tables = ("region_masks", "region_embeddings", "region_matches")
    stats = [update_table(table, workspace, FOLDER) for table in tables]
    return [(of.kept, of.computed) for of in stats]


def read(home: Home, table: str) -> list[dict]:
    return home.lake.read(table, FOLDER).to_pylist()


def test_masks_are_made_for_the_facets_that_ask_for_them(home: Home) -> None:
    assert run(home) == [(0, 3)] * 3
    masks = read(home, "region_masks")
    assert [row["region_id"] for row in masks] == ["a-r1", "a-r3"]  # not the material, not the phrase
    assert masks[0]["counts"] == masks[1]["counts"]
    assert set(empty_ids(home.lake.read("region_masks", FOLDER))) == {"b", "c"}
    for row in masks:
        mask = decode_rle(row["counts"], row["height"], row["width"])
        assert mask.shape == (100, 100)
        assert row["area"] == mask.sum() == coco.area({"size": [100, 100], "counts": row["counts"].encode()})
        assert row["area_share"] == pytest.approx(mask.mean())
        assert row["area_share"] == pytest.approx(np.pi / 4 * DISC[2] * DISC[3], rel=0.05)
        assert row["box_fill"] == pytest.approx(np.pi / 4, abs=0.05)
        assert (row["method"], row["score"]) == ("grabcut", None)


def test_equal_boxes_are_segmented_and_embedded_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    sent: list[int] = []
    segment, embed_pixels = GrabCut.segment, Encoder.embed_pixels
    monkeypatch.setattr(
        GrabCut,
        "segment",
        lambda self, image, boxes: (asked.append(len(boxes)), segment(self, image, boxes))[1],
    )
    monkeypatch.setattr(
        Encoder,
        "embed_pixels",
        lambda self, pixels: (sent.append(len(pixels)), embed_pixels(self, pixels))[1],
    )
    run(home)
    assert asked == [1]
    assert sent == [2, 1]  # the box of a, the same without background, the box of b


def test_embeddings_are_those_of_square_crops(home: Home) -> None:
    run(home)
    table = home.lake.read("region_embeddings", FOLDER)
    assert table["region_id"].to_pylist() == ["a-r1", "a-r2", "a-r3", "b-r1"]
    assert table["masked_embedding"].is_valid().to_pylist() == [True, False, True, False]
    encoder = make_model(open_workspace(home).tier.encoder, "cpu")
    image = Image.open(home.root / "proxies" / "0.png").convert("RGB")
    [mask, _] = read(home, "region_masks")
    outline = decode_rle(mask["counts"], mask["height"], mask["width"])
    pictures = [square_crop(image, np.array(DISC, dtype=np.float32), shown) for shown in (None, outline)]
    expected = encoder.embed_images(pictures)
    stored = embedding_matrix(table["embedding"])
    without = embedding_matrix(table["masked_embedding"].filter(table["masked_embedding"].is_valid()))
    np.testing.assert_allclose(stored[:3], np.tile(expected[0], (3, 1)), atol=2e-4)
    np.testing.assert_allclose(without, np.tile(expected[1], (2, 1)), atol=2e-4)
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_matches_are_scored_by_the_head_and_calibration_of_the_encoder(home: Home) -> None:
    run(home)
    workspace = open_workspace(home)
    scorer, encoder = make_scorer(workspace, workspace.lake.read("concept_embeddings")), workspace.encoder
    embeddings = home.lake.read("region_embeddings", FOLDER).to_pylist()
    matches = {row["region_id"]: row for row in read(home, "region_matches")}
    assert list(matches) == ["a-r1", "a-r2", "a-r3", "b-r1"]
    calibration = encoder.calibration
    assert calibration is not None
    crops = np.array([row["masked_embedding"] or row["embedding"] for row in embeddings], dtype=np.float32)
    cosine = crops @ scorer.concepts.T
    logit = cosine * encoder.score_head.scale + encoder.score_head.bias
    probability = calibration.probabilities(logit, scorer.concept_ids)
    gold, vase = matches["a-r2"], matches["a-r1"]
    for row, place, concept in [(vase, 0, "vase"), (gold, 1, "gold")]:
        column = scorer.concept_ids.index(concept)
        assert row["cosine"] == pytest.approx(cosine[place, column], abs=1e-5)
        assert row["logit"] == pytest.approx(logit[place, column], abs=1e-3)
        assert row["probability"] == pytest.approx(probability[place, column], abs=1e-4)
    assert matches["a-r3"]["probability"] >= vase["probability"]  # a vase is a vessel
    phrase = matches["b-r1"]
    assert phrase["concept_id"] is None
    [vector] = encoder.embed_texts(["a golden disc"])
    assert phrase["cosine"] == pytest.approx(float(crops[3] @ vector), abs=1e-5)
    for row in matches.values():
        expected = "confirmed" if row["probability"] >= 0.5 else "unsure"
        assert row["verdict"] == ("rejected" if row["probability"] < 0.05 else expected)
        assert 1 <= row["rank"] <= len(scorer.concept_ids) + 1


def test_a_second_run_computes_nothing_and_loads_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run(home)
    files = {path: path.stat().st_mtime_ns for path in home.lake.root.rglob("region_*/*/*.parquet")}
    assert len(files) == 3

    def refuse(*_: object) -> None:
        raise AssertionError("a model was used")

    for model, method in [(Encoder, "load"), (Encoder, "embed_texts"), (GrabCut, "segment")]:
        monkeypatch.setattr(model, method, refuse)
    assert run(home) == [(3, 0)] * 3
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_only_an_image_with_new_regions_is_computed_again(home: Home) -> None:
    run(home)
    rows = home.lake.read("grounded_regions", FOLDER).to_pylist()[:3]
    write_regions(home, rows + grounded("b", ("bowl", "bowl", DISC), by="two"), empty={"c": "one"})
    assert run(home) == [(2, 1)] * 3
    assert [row["region_id"] for row in read(home, "region_masks")] == ["a-r1", "a-r3", "b-r1"]
    write_regions(home, rows, empty={"b": "three", "c": "one"})
    assert run(home) == [(2, 1)] * 3
    for table in ("region_masks", "region_embeddings", "region_matches"):
        assert {row["id"] for row in read(home, table)} == {"a"}


def test_without_a_segmenter_there_are_no_masks_and_everything_else(home: Home) -> None:
    use_tier(home)
    assert run(home) == [(0, 3)] * 3
    assert read(home, "region_masks") == []
    assert [row["masked_embedding"] for row in read(home, "region_embeddings")] == [None] * 4
    assert len(read(home, "region_matches")) == 4
    use_tier(home, segmenter=SEGMENTER)
    assert run(home) == [(0, 3)] * 3
    assert len(read(home, "region_masks")) == 2


def test_a_material_added_to_the_vocabulary_redraws_no_mask(home: Home) -> None:
    run(home)
    with (home.root.parent / "vocabulary.csv").open("a") as file:
        file.write("iron,iron,,material,,\n")
    embed_concepts(open_workspace(home))
    assert run(home) == [(3, 0), (3, 0), (0, 3)]


@pytest.mark.parametrize("table", ["region_masks", "region_embeddings", "region_matches"])
def test_without_grounded_regions_there_is_nothing_to_do(home: Home, table: str) -> None:
    home.lake.delete("grounded_regions", FOLDER)
    workspace = open_workspace(home)
    with pytest.raises(MissingPartition, match="materialise grounded_regions of folder lib first"):
        update_table(table, workspace, FOLDER)
    use_tier(home, detector=None)
    workspace = open_workspace(home)
    assert "names no detector" in str(declared(table).lacks_model(workspace.tier))
    assert update_table(table, workspace, FOLDER) == UpdateStats(0, 0, 0, 0)
    assert not home.lake.exists(table, FOLDER)


def scorer_of(
    concepts: np.ndarray, calibration: Calibration | None = None, **descendants: list[int]
) -> Scorer:
    names = [f"c{place}" for place in range(len(concepts))]
    by_row = {int(broader[1:]): narrower for broader, narrower in descendants.items()}
    return Scorer(names, concepts, ScoreHead("sigmoid", 10.0, -2.0), calibration, by_row, 10)


def test_rank_counts_the_concepts_that_fit_better() -> None:
    crops = np.eye(3, dtype=np.float32)[[0, 0, 0, 0]]
    angles = np.array([0.2, 0.9, 0.5, 0.5], dtype=np.float32)
    concepts = np.stack([angles, np.sqrt(1 - angles**2), np.zeros(4, dtype=np.float32)], axis=1)
    matches = match_crops(crops, np.array([0, 1, 2, 3]), np.zeros_like(crops), scorer_of(concepts))
    assert matches.rank.tolist() == [4, 1, 2, 3]  # equal ones by concept id
    np.testing.assert_allclose(matches.cosine, angles, atol=1e-6)
    np.testing.assert_allclose(matches.probability, 1 / (1 + np.exp(2 - 10 * angles)), atol=1e-6)


def test_a_broader_concept_is_confirmed_by_its_narrower_one() -> None:
    crops = np.eye(2, dtype=np.float32)[[0]]
    concepts = np.array([[0.1, np.sqrt(0.99)], [0.8, 0.6]], dtype=np.float32)
    alone = match_crops(crops, np.array([0]), np.zeros_like(crops), scorer_of(concepts))
    lent = match_crops(crops, np.array([0]), np.zeros_like(crops), scorer_of(concepts, c0=[1]))
    assert (alone.verdicts, lent.verdicts) == (["unsure"], ["confirmed"])
    assert (alone.rank.tolist(), lent.rank.tolist()) == ([2], [1])
    np.testing.assert_allclose(lent.cosine, [0.8], atol=1e-6)


def test_a_phrase_is_matched_by_its_own_vector_and_the_default_calibration() -> None:
    crops = np.eye(2, dtype=np.float32)[[0, 0]]
    concepts = np.array([[0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
    phrases = np.array([[0.3, np.sqrt(0.91)], [0.0, 0.0]], dtype=np.float32)
    calibration = Calibration(Platt(0.5, 0.25), {"c0": Platt(1.0, 0.0)})
    matches = match_crops(crops, np.array([NO_CONCEPT, 0]), phrases, scorer_of(concepts, calibration))
    np.testing.assert_allclose(matches.cosine, [0.3, 0.6], atol=1e-6)
    np.testing.assert_allclose(matches.logit, [1.0, 4.0], atol=1e-5)
    expected = [1 / (1 + np.exp(-0.75)), 1 / (1 + np.exp(-4.0))]
    np.testing.assert_allclose(matches.probability, expected, atol=1e-6)
    assert matches.rank.tolist() == [2, 1]


def test_a_crop_is_a_square_with_grey_beyond_the_image() -> None:
    image = Image.new("RGB", (100, 40), (10, 20, 30))
    crop = square_crop(image, np.array([0.5, 0.0, 0.5, 1.0]))
    assert crop.size == (55, 55)
    pixels = np.asarray(crop)
    # rows 0..39 of the image lie in the middle; its right edge is 2.5 px from that of the crop
    np.testing.assert_array_equal(pixels[27, :50], np.tile([10, 20, 30], (50, 1)))
    np.testing.assert_array_equal(pixels[[0, -1], 0], [GREY, GREY])
    np.testing.assert_array_equal(pixels[27, -1], GREY)
    assert square_crop(image, np.array([0.2, 0.2, 0.0, 0.0])).size == (1, 1)


@pytest.mark.parametrize(
    "box",
    [
        (0.2, 0.2, 0.3, 0.4),
        (0, 0, 1, 1),
        (0.5, 0.0, 0.5, 1.0),
        (0.9, 0.9, 0.1, 0.1),
        (0.3, 0.3, 0.0, 0.0),
        (1, 1, 0, 0),
    ],
)
def test_a_crop_without_background_is_that_of_a_picture_which_is_grey_outside_the_mask(
    box: tuple[float, ...],
) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (40, 100, 3), dtype=np.uint8)
    mask = random.random((40, 100)) > 0.5
    cut_out = Image.fromarray(np.where(mask[..., None], pixels, GREY).astype(np.uint8))
    crop = square_crop(Image.fromarray(pixels), np.array(box), mask)
    np.testing.assert_array_equal(np.asarray(crop), np.asarray(square_crop(cut_out, np.array(box))))


def test_nearly_equal_boxes_are_one() -> None:
    box = np.array([0.1, 0.1, 0.4, 0.4])
    boxes = np.stack([box, [0.6, 0.6, 0.1, 0.1], box + 0.002, box + 0.05, box, [0.6, 0.6, 0.1, 0.1]])
    assert same_boxes(boxes).tolist() == [0, 1, 0, 3, 0, 1]
    assert same_boxes(np.zeros((0, 4))).tolist() == []


def test_an_overlay_shows_masks_and_boxes() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[30:40, 20:40] = True
    drawn = np.asarray(
        draw_regions(
            Image.new("RGB", (60, 60)),
            [
                Marked((0.25, 0.2, 0.5, 0.6), "a", 0.9, "#0072b2", mask),
                Marked((0, 0.9, 0.1, 0.1), "b", 0.8),
            ],
        )
    )
    colours = [np.array(ImageColor.getrgb(name)) for name in ("#0072b2", OTHER_COLOUR)]
    np.testing.assert_array_equal(drawn[35, 30], colours[0] // 2)
    np.testing.assert_array_equal(drawn[12, 44], colours[0])
    np.testing.assert_array_equal(drawn[58, 0], colours[1])
    assert not drawn[50:, 50:].any()
