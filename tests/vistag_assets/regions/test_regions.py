"""Candidates, chunks, suppression and the two assets: a real run of Dagster with tiny random models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_checkpoint import save_tiny_siglip
from tiny_detectors import save_tiny_owlv2

from resources.boxes import clip, from_centres, from_corners, iou, suppress
from resources.home import Home, Settings, write_settings
from resources.images import open_proxy
from resources.models.detectors.detections import Detections
from resources.models.detectors.owlv2 import Owlv2Detector
from resources.workspace import open_workspace
from taxonomy import Concept, Taxonomy, starter_taxonomy
from vistag_assets.regions import grounded_regions as regions
from vistag_assets.regions.grounding import asked_of, in_chunks, to_regions
from vistag_assets.regions.overlay import OTHER_COLOUR, Marked, draw_regions, marked_regions
from vistag_assets.regions.regions_json import regions_json_path, to_pixels
from vistag_assets.regions.short_list import (
    Candidate,
    CandidateThresholds,
    groundable,
    short_list,
    short_lists,
)
from vistag_assets.runs import find_library, tag_folders

# ---- boxes

side = st.integers(0, 12).map(lambda n: n / 12)
box = st.tuples(side, side, side, side).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), abs(c[2] - c[0]), abs(c[3] - c[1])]
)
scored = st.tuples(box, st.integers(0, 5).map(lambda n: n / 5), st.integers(0, 2))


def plain_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    union = a[2] * a[3] + b[2] * b[3] - width * height
    return width * height / union if union > 0 else 0.0


def plain_suppress(rows: list[tuple[list[float], float, int]], above: float) -> list[int]:
    kept: list[int] = []
    for place in sorted(range(len(rows)), key=lambda place: (-rows[place][1], place)):
        mine = rows[place]
        if all(plain_iou(mine[0], rows[k][0]) <= above for k in kept if rows[k][2] == mine[2]):
            kept.append(place)
    return kept


def columns(rows: list[tuple[list[float], float, int]]) -> tuple[Any, Any, Any]:
    return (
        np.array([row[0] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int64),
    )


@given(st.lists(scored, max_size=25), st.sampled_from([0.013, 0.31, 0.57, 0.93]))
def test_suppression_is_the_plain_one(rows: list[tuple[list[float], float, int]], above: float) -> None:
    assert suppress(*columns(rows), above) == plain_suppress(rows, above)


@given(st.lists(box, max_size=8), st.lists(box, max_size=8))
def test_overlap_is_the_plain_one(a: list[list[float]], b: list[list[float]]) -> None:
    expected = np.array([[plain_iou(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    found = iou(np.array(a).reshape(-1, 4), np.array(b).reshape(-1, 4))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_two_boxes_without_area_overlap_as_the_caller_says() -> None:
    empty, full = [0.1, 0.2, 0.0, 0.5], [0.1, 0.2, 0.3, 0.5]
    assert iou([empty, full], [empty, full]).tolist() == [[0, 0], [0, pytest.approx(1)]]
    assert iou([empty, full], [empty, full], of_empty=1).tolist() == [[1, 0], [0, pytest.approx(1)]]
    assert iou([], [full]).shape == (0, 1)


def test_boxes_are_converted_and_cut_at_the_edges() -> None:
    np.testing.assert_allclose(
        from_corners(np.array([[0.1, 0.2, 0.4, 0.8]])), [[0.1, 0.2, 0.3, 0.6]], atol=1e-7
    )
    np.testing.assert_allclose(
        from_centres(np.array([[0.5, 0.5, 0.2, 0.4]])), [[0.4, 0.3, 0.2, 0.4]], atol=1e-7
    )
    boxes, inside = clip(np.array([[-0.1, 0.5, 0.3, 0.9], [1.2, 0.1, 0.3, 0.3], [0.2, 0.2, 0.0, 0.5]]))
    np.testing.assert_allclose(boxes[0], [0, 0.5, 0.2, 0.5], atol=1e-7)
    assert inside.tolist() == [True, False, False]


# ---- candidates

TAXONOMY = Taxonomy(
    (
        Concept("vessel", "vessel"),
        Concept("vase", "vase", broader=("vessel",)),
        Concept("bowl", "bowl", broader=("vessel",)),
        Concept("bronze", "bronze", facet="material"),
        Concept("charcoal", "charcoal", facet="material"),
        Concept("charcoal-drawing", "charcoal", facet="technique"),
        Concept("studio", "studio", facet="setting"),
    ),
    starter_taxonomy().facets,
)
FEW = CandidateThresholds(at_least=1)


def chosen(
    scored: Mapping[str, float],
    *keywords: tuple[str, str | None, float],
    thresholds: CandidateThresholds = FEW,
) -> list[str]:
    names = ("phrase", "concept_id", "logprob")
    found = short_list(
        scored, [dict(zip(names, word, strict=True)) for word in keywords], TAXONOMY, thresholds
    )
    return [f"{candidate.phrase}:{candidate.reason}" for candidate in found]


def test_likely_concepts_and_rare_ones_by_a_lower_bar_best_first() -> None:
    assert chosen({"bowl": 0.01, "vase": 0.8, "bronze": 0.05, "charcoal": 0.001}) == [
        "vase:score",
        "bronze:score",
        "bowl:tail",
    ]


def test_equal_probabilities_are_ordered_by_concept_id() -> None:
    assert chosen({"vase": 0.5, "bronze": 0.5, "bowl": 0.5}) == ["bowl:score", "bronze:score", "vase:score"]


def test_some_are_looked_for_even_if_all_probabilities_are_tiny_and_never_too_many() -> None:
    tiny = {"bowl": 1e-6, "vase": 2e-6, "bronze": 3e-6}
    assert chosen(tiny, thresholds=CandidateThresholds(at_least=2)) == ["bronze:tail", "vase:tail"]
    assert chosen({"bowl": 0.9, "vase": 0.8, "bronze": 0.7}, thresholds=CandidateThresholds(at_most=2)) == [
        "bowl:score",
        "vase:score",
    ]


def test_a_broader_concept_is_left_out_next_to_a_narrower_one_unless_far_likelier() -> None:
    assert chosen({"vessel": 0.9, "vase": 0.2}) == ["vase:score"]
    assert chosen({"vessel": 0.9, "vase": 0.02}) == ["vessel:score", "vase:tail"]


def test_keywords_are_added_once_and_need_review() -> None:
    words = [
        ("sword hilt", None, -0.5),
        ("Bowl", "bowl", -0.1),
        ("vase", "vase", -0.2),
        ("a vessel", "vessel", -0.3),
        ("studio", "studio", -0.3),
        ("SWORD HILT", None, -0.9),
        (" ", None, -0.1),
    ]
    assert chosen({"vase": 0.8}, *words) == ["vase:score", "bowl:vlm", "sword hilt:vlm"]
    assert chosen({"vase": 0.8}, *words, thresholds=CandidateThresholds(proposals=1)) == [
        "vase:score",
        "bowl:vlm",
    ]
    assert Candidate("bowl", "bowl", "vlm", None).needs_review
    assert not Candidate("bowl", "bowl", "tail", 0.01).needs_review


def test_facets_of_the_whole_image_have_no_region() -> None:
    starter = starter_taxonomy()
    facets = {starter.by_id[concept_id].facet for concept_id in groundable(starter)}
    assert facets == {"object", "material", "technique", "condition", "subject"}
    assert {name for name, facet in starter.facets.items() if facet.colour != OTHER_COLOUR} == facets


def test_short_lists_take_own_scores_of_groundable_concepts() -> None:
    scores = pa.Table.from_pylist(
        [
            {"id": "a", "concept_id": "vase", "probability": 0.7, "inherited_from": None},
            {"id": "a", "concept_id": "vessel", "probability": 0.7, "inherited_from": "vase"},
            {"id": "a", "concept_id": "studio", "probability": 0.9, "inherited_from": None},
            {"id": "b", "concept_id": "studio", "probability": 0.9, "inherited_from": None},
        ],
        schema=pa.schema(
            [
                ("id", pa.string()),
                ("concept_id", pa.string()),
                ("probability", pa.float32()),
                ("inherited_from", pa.string()),
            ]
        ),
    )
    (row,) = short_lists(scores, {}, TAXONOMY, FEW)(["a", "b"])
    assert (row["id"], row["rank"], row["concept_id"]) == ("a", 1, "vase")


# ---- chunks and regions


@given(st.sets(st.text("abc ", min_size=1, max_size=4), max_size=30), st.integers(1, 7), st.randoms())
def test_chunks_depend_on_the_phrases_and_nothing_else(phrases: set[str], size: int, random: Any) -> None:
    shuffled = list(phrases)
    random.shuffle(shuffled)
    chunks = in_chunks(shuffled, size)
    assert chunks == in_chunks(phrases, size)
    assert [phrase for chunk in chunks for phrase in chunk] == sorted(phrases)
    assert all(len(chunk) == size for chunk in chunks[:-1])


def detections(*rows: tuple[int, float, list[float]], prompt: str) -> Detections:
    scores = np.array([score for _, score, _ in rows], np.float32)
    boxes = np.array([box for _, _, box in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([index for index, _, _ in rows], np.int64), scores, scores / 2, prompt)


def test_regions_are_numbered_by_score_and_know_their_chunk() -> None:
    rows = [{"id": "i", "phrase": phrase, "concept_id": phrase} for phrase in ("bowl", "cup", "vase")]
    asked = asked_of(rows)["i"]
    left, right = [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.3, 0.3]
    found = [
        detections((0, 0.5, left), (1, 0.9, left), (0, 0.4, [0.1, 0.1, 0.3, 0.31]), prompt="bowl. cup."),
        detections((0, 0.7, right), (0, 0.6, left), prompt="vase."),
    ]
    regions = to_regions("0123456789abcdef", asked, [["bowl", "cup"], ["vase"]], found, 0.6, 100)
    assert [(row["region_id"], row["phrase"], row["chunk"], row["prompt"]) for row in regions] == [
        ("0123456789ab-r1", "cup", 0, "bowl. cup."),
        ("0123456789ab-r2", "vase", 1, "vase."),
        ("0123456789ab-r3", "vase", 1, "vase."),
        ("0123456789ab-r4", "bowl", 0, "bowl. cup."),
    ]
    assert regions[0]["score"] == pytest.approx(0.9)
    assert regions[0]["text_score"] == pytest.approx(0.45)
    assert regions[1]["bbox"] == pytest.approx(right)
    assert len(to_regions("0123456789abcdef", asked, [["bowl", "cup"], ["vase"]], found, 0.6, 2)) == 2
    assert to_regions("0123456789abcdef", {}, [], [], 0.6, 100) == []


def test_concepts_of_one_label_are_asked_once_and_each_gets_the_region() -> None:
    asked = asked_of(
        [
            {"id": "i", "phrase": "charcoal", "concept_id": "charcoal-drawing"},
            {"id": "i", "phrase": "charcoal", "concept_id": "charcoal"},
        ]
    )["i"]
    assert in_chunks(asked, 40) == [["charcoal"]]
    regions = to_regions(
        "i" * 32, asked, [["charcoal"]], [detections((0, 0.5, [0, 0, 1, 1]), prompt="charcoal")], 0.6, 100
    )
    assert [(row["concept_id"], row["region_id"][-3:]) for row in regions] == [
        ("charcoal", "-r1"),
        ("charcoal-drawing", "-r2"),
    ]


def test_pixels_round_the_edges() -> None:
    assert to_pixels([0.0, 0.0, 1.0, 1.0], 101, 33) == (0, 0, 101, 33)
    assert to_pixels([0.25, 0.5, 0.5, 0.25], 10, 10) == (2, 5, 6, 3)


# ---- overlay


def test_an_overlay_draws_boxes_by_facet_and_leaves_the_picture_alone() -> None:
    picture = Image.new("RGB", (400, 300), "white")
    drawn = draw_regions(
        picture,
        [Marked([0.1, 0.2, 0.5, 0.5], "bowl", 0.9, "#0072b2"), Marked([0.5, 0.5, 0.4, 0.4], "odd", 0.4)],
    )
    assert picture.getcolors() == [(400 * 300, (255, 255, 255))]
    assert drawn.size == picture.size
    blue = (0x00, 0x72, 0xB2)
    assert drawn.getpixel((40, 150)) == blue
    assert drawn.getpixel((120, 150)) == (255, 255, 255)


@settings(max_examples=20)
@given(st.lists(box, max_size=12), st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_any_regions_can_be_drawn_into_any_picture(boxes: list[list[float]], size: tuple[int, int]) -> None:
    marked = [Marked(bbox, "a rather long label", 0.5) for bbox in boxes]
    assert draw_regions(Image.new("RGB", size), marked).size == size


# ---- the assets

VOCABULARY = """id,pref_label,alt_labels,facet,broader,definition
vessel,vessel,,object,,
vase,vase,flower vase,object,vessel,
bowl,bowl,,object,vessel,
bronze,bronze,,material,,
studio,studio,,setting,,
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return save_tiny_siglip(folder / "encoder"), save_tiny_owlv2(folder / "detector")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "vocabulary.csv").write_text(VOCABULARY)
    return Home(tmp_path / "home")


def use_tier(home: Home, folder: Path, encoder: Path, detector: Path | None, **changes: Any) -> None:
    tier: dict[str, Any] = {"description": "tiny", "device": "cpu"}
    tier["encoder"] = {"family": "siglip", "model": str(encoder), "licence": "own"}
    if detector:
        spec = {
            "family": "owlv2",
            "model": str(detector),
            "licence": "own",
            "batch_size": 2,
            "min_score": 0.4,
        }
        tier["detector"] = spec | changes
    (folder / "tiny.yaml").write_text(json.dumps(tier))  # JSON is YAML
    write_settings(home, Settings(tier=str(folder / "tiny.yaml"), taxonomy=str(folder / "vocabulary.csv")))


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    squares = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(squares).resize((60, 40 + seed), Image.Resampling.NEAREST).save(path)


def run(home: Home, library: Path) -> None:
    tag_folders(home, find_library(library, "lib", home), watcher=lambda stage, done, total: None)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the detector got; it still does its work."""
    batches: list[int] = []
    detect = Owlv2Detector.detect

    def counting(self: Owlv2Detector, images: Any, phrases: Any) -> list[Detections]:
        batches.append(len({id(image) for image in images}))
        return detect(self, images, phrases)

    monkeypatch.setattr(Owlv2Detector, "detect", counting)
    return batches


def files(home: Home) -> dict[Path, int]:
    found = [*(home.root / "lake").rglob("*.parquet"), *(home.root / "regions").rglob("*.json")]
    return {path: path.stat().st_mtime_ns for path in found}


def test_a_library_gets_regions_and_a_second_run_computes_nothing(
    tmp_path: Path,
    home: Home,
    checkpoints: tuple[Path, Path],
    seen: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_tier(home, tmp_path, *checkpoints, chunk_phrases=2)
    library = tmp_path / "library"
    for seed in range(5):
        draw(library / f"{seed}.png", seed)
    run(home, library)
    assert seen == [2, 2, 1]

    key = home.lake.folders("images")[0]
    asked = home.lake.read("candidates", key).to_pylist()
    found = home.lake.read("grounded_regions", key).to_pylist()
    assert {row["phrase"] for row in asked} == {"vase", "bowl", "bronze"}
    assert found
    assert {(row["id"], row["phrase"], row["concept_id"]) for row in found} <= {
        (row["id"], row["phrase"], row["concept_id"]) for row in asked
    }
    assert {(row["chunk"], row["prompt"]) for row in found} <= {(0, "bowl | bronze"), (1, "vase")}
    assert len({row["region_id"] for row in found}) == len(found)

    images = home.lake.read("images", key).to_pylist()
    for image in images:
        content = json.loads(regions_json_path(home.root, key, image["id"]).read_text())
        mine = [row for row in found if row["id"] == image["id"]]
        assert [region["region_id"] for region in content["regions"]] == [row["region_id"] for row in mine]
        assert (content["path"], content["width"]) == (image["path"], 60)
        scores = [region["score"] for region in content["regions"]]
        assert scores == sorted(scores, reverse=True)

    marked = marked_regions(found, open_workspace(home).taxonomy)
    for row in home.lake.read("proxies", key).to_pylist():
        picture = draw_regions(open_proxy(home.root, row["path"]), marked.get(row["id"], [])[:3])
        assert picture.size == (row["width"], row["height"])

    before = files(home)
    seen.clear()
    monkeypatch.setattr(Owlv2Detector, "load", lambda self: pytest.fail("the model was loaded"))
    run(home, library)
    assert seen == []
    assert files(home) == before

    stray = regions_json_path(home.root, key, images[0]["id"])
    stray.unlink()
    (stray.parent / "gone.json").write_text("{}")
    run(home, library)
    assert set(files(home)) == set(before)


@pytest.mark.slow
def test_only_images_of_which_something_else_is_asked_go_to_the_detector_again(
    tmp_path: Path, home: Home, checkpoints: tuple[Path, Path], seen: list[int]
) -> None:
    use_tier(home, tmp_path, *checkpoints)
    library = tmp_path / "library"
    for seed in range(3):
        draw(library / f"{seed}.png", seed)
    run(home, library)
    seen.clear()

    draw(library / "new.png", 9)
    run(home, library)
    assert seen == [1]

    seen.clear()  # another definition changes every candidate's fingerprint and no question
    (tmp_path / "vocabulary.csv").write_text(
        VOCABULARY.replace("bronze,bronze,,material,,", "bronze,bronze,,material,,An alloy.")
    )
    run(home, library)
    assert seen == []

    use_tier(home, tmp_path, *checkpoints, nms_iou=0.3)
    run(home, library)
    assert sum(seen) == 4


@pytest.mark.slow
def test_a_tier_without_a_detector_is_not_in_the_way(
    tmp_path: Path, home: Home, checkpoints: tuple[Path, Path]
) -> None:
    from dagster import AssetKey

    from vistag_assets.automation.instance import home_instance

    use_tier(home, tmp_path, checkpoints[0], None)
    draw(tmp_path / "library" / "0.png", 0)
    run(home, tmp_path / "library")
    assert not {"candidates", "grounded_regions"} & set(home.lake.tables())
    with home_instance(home.root) as instance:
        assert instance.get_latest_materialization_event(AssetKey("grounded_regions")) is None


@pytest.mark.slow
def test_a_region_of_a_concept_that_was_not_asked_fails_its_check(
    tmp_path: Path, home: Home, checkpoints: tuple[Path, Path]
) -> None:
    import dagster as dg

    from resources.workspace import VistagResource

    use_tier(home, tmp_path, *checkpoints)
    draw(tmp_path / "library" / "0.png", 0)
    run(home, tmp_path / "library")
    vistag = VistagResource(home=str(home.root))

    def passed() -> bool:
        result = regions.regions_were_asked_for(vistag)
        assert isinstance(result, dg.AssetCheckResult)
        return bool(result.passed)

    assert passed()
    (key,) = home.lake.folders("grounded_regions")
    rows = home.lake.read("grounded_regions", key)
    place = rows.schema.get_field_index("concept_id")
    strangers = pa.array(["studio"] * rows.num_rows, pa.string())
    home.lake.write("grounded_regions", rows.set_column(place, "concept_id", strangers), key)
    assert not passed()
