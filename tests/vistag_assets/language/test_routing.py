"""The two lanes: reasons, priority, budget, and the table of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from resources.home import Home, Settings, write_settings
from resources.models.tiers import Option
from resources.models.tiers.routing import RoutingSpec
from resources.tables import ROUTING
from resources.workspace import Workspace, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.language.lanes import (
    HEDGES,
    WEIGHTS,
    Signals,
    gather_signals,
    heavy_places,
    route,
    strengths,
)

SPEC = RoutingSpec(budget=0.2, fewest_tags=5, tag_probability=0.5, entropy_nats=0.7, text_confidence=0.8)
SETTLED = {"tags": 9, "caption": "A bronze bowl on a plinth.", "entropy_nats": 0.1}


def test_a_settled_image_has_no_reason_and_nothing_known_is_no_reason_either() -> None:
    assert strengths(Signals("a", **SETTLED), SPEC) == {}
    assert strengths(Signals("a"), SPEC) == {}


@pytest.mark.parametrize(
    ("signals", "reason", "strength"),
    [
        (Signals("a", tags=4), "low_coverage", 0.2),
        (Signals("a", tags=0), "low_coverage", 1.0),
        (Signals("a", entropy_nats=0.7), "caption_entropy", 0.5),
        (Signals("a", entropy_nats=2.1), "caption_entropy", 0.75),
        (Signals("a", caption="Possibly a bowl."), "hedging", 1.0),
        (Signals("a", text_confidence=0.9), "text", 0.9),
    ],
)
def test_each_reason_has_its_strength_and_its_weight(signals: Signals, reason: str, strength: float) -> None:
    assert strengths(signals, SPEC) == pytest.approx({reason: strength})
    (routed,) = route([signals], SPEC, "B3")
    assert routed.reasons == (reason,)
    assert routed.priority == pytest.approx(WEIGHTS[reason] * strength)  # type: ignore[index]
    assert routed.lane == "heavy"


@pytest.mark.parametrize(
    "signals", [Signals("a", tags=5), Signals("a", entropy_nats=0.69), Signals("a", text_confidence=0.79)]
)
def test_just_short_of_a_bar_is_no_reason(signals: Signals) -> None:
    assert strengths(signals, SPEC) == {}


def test_reasons_add_up_and_the_strongest_comes_first() -> None:
    (routed,) = route([Signals("a", tags=4, caption="It seems to be a bowl.")], SPEC, "B2")
    assert routed.reasons == ("hedging", "low_coverage")
    assert routed.priority == pytest.approx(0.75 + 0.2)


@pytest.mark.parametrize(
    "caption",
    [
        "Possibly a silver spoon.",
        "A bowl that appears to be bronze.",
        "What looks like a clay pipe.",
        "A vessel, perhaps of glass.",
        "Some kind of brooch.",
        "A figure that might be Saint George.",
        "An unidentified object.",
    ],
)
def test_captions_that_hedge(caption: str) -> None:
    assert HEDGES.search(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "A bronze bowl on a plinth.",
        "A portrait of May beside two kinds of glass.",
        "A mill may be seen in the distance.",
        "A face appears in the mirror.",
        "The unlikely pair.",
    ],
)
def test_captions_that_state(caption: str) -> None:
    assert not HEDGES.search(caption)


def hard(count: int) -> list[Signals]:
    return [Signals(f"{number:04d}", tags=0) for number in range(count)]


@pytest.mark.parametrize(
    ("images", "budget", "places"),
    [(100, 0.2, 20), (100, 0.29, 29), (99, 0.2, 19), (10, 0.3, 3), (3, 0.2, 1), (1, 0.1, 1), (0, 0.2, 0), (9, 0, 0)],
)  # fmt: skip
def test_the_budget_is_rounded_down_but_a_small_folder_may_send_one(
    images: int, budget: float, places: int
) -> None:
    assert heavy_places(images, budget) == places
    spec = SPEC.model_copy(update={"budget": budget})
    assert [routed.lane for routed in route(hard(images), spec, "B3")].count("heavy") == places


@pytest.mark.parametrize(
    ("option", "heavy"), [("A1", 0), ("A2", 0), ("A3", 0), ("B1", 10), ("B2", 2), ("B3", 2)]
)
def test_the_option_says_which_lanes_there_are(option: Option, heavy: int) -> None:
    routed = route(hard(10), SPEC, option)
    assert [image.lane for image in routed].count("heavy") == heavy
    assert all(image.reasons == ("low_coverage",) for image in routed)


def test_equal_priorities_are_told_apart_by_id_whatever_the_order() -> None:
    routed = route(hard(10)[::-1], SPEC, "B3")
    assert sorted(image.id for image in routed if image.lane == "heavy") == ["0000", "0001"]
    assert [image.id for image in routed] == [f"{number:04d}" for number in reversed(range(10))]


known = st.builds(
    Signals,
    st.uuids().map(str),
    tags=st.none() | st.integers(0, 12),
    caption=st.none() | st.sampled_from(["A bowl.", "Possibly a bowl."]),
    entropy_nats=st.none() | st.floats(0, 5),
    text_confidence=st.none() | st.floats(0, 1),
)


@given(
    st.lists(known, max_size=60, unique_by=lambda image: image.id),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_the_heavy_lane_holds_the_most_urgent_within_budget(
    images: list[Signals], budget: float, shuffler: object
) -> None:
    spec = SPEC.model_copy(update={"budget": budget})
    routed = route(images, spec, "B3")
    heavy = [image for image in routed if image.lane == "heavy"]
    asking_fast = [image for image in routed if image.lane == "fast" and image.reasons]
    assert len(heavy) <= max(1 if budget > 0 else 0, budget * len(images) + 1e-6)
    assert all(image.reasons and image.priority > 0 for image in heavy)
    assert all(0 <= image.priority <= sum(WEIGHTS.values()) for image in routed)
    if asking_fast:  # the budget is spent before anyone who asks is refused
        assert len(heavy) == heavy_places(len(images), budget)
        most_urgent_refused = min((-image.priority, image.id) for image in asking_fast)
        assert all((-image.priority, image.id) < most_urgent_refused for image in heavy)
    shuffled = list(images)
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]
    by_id = {image.id: image for image in route(shuffled, spec, "B3")}
    assert [by_id[image.id] for image in images] == routed


TAG_SCORES = pa.table(
    {
        "id": ["a", "a", "a", "a", "b"],
        "probability": pa.array([0.9, 0.5, 0.8, 0.4, 0.1], pa.float32()),
        "inherited_from": pa.array([None, None, "vase", None, None], pa.string()),
    }
)
CAPTIONS = pa.table({"id": ["a"], "caption": ["Possibly a vase."], "entropy": pa.array([1.5], pa.float32())})
OCR_TEXT = pa.table(
    {
        "id": ["a", "a", "b"],
        "text": ["LOT 95", "No. 3", "07"],
        "confidence": pa.array([0.85, 0.95, 0.99], pa.float32()),
    }
)


def test_signals_are_gathered_from_the_tables_of_a_folder() -> None:
    a, b, c = gather_signals(["a", "b", "c"], TAG_SCORES, CAPTIONS, OCR_TEXT, SPEC)
    assert (a.tags, a.caption, a.entropy_nats) == (2, "Possibly a vase.", 1.5)  # a lent tag does not count
    assert a.text_confidence == pytest.approx(0.95)
    assert (b.tags, b.caption, b.text_confidence) == (0, None, None)  # two characters are no text
    assert c == Signals("c")


def test_tables_that_were_not_made_are_no_signals() -> None:
    assert gather_signals(["a"], None, None, None, SPEC) == [Signals("a")]


def test_settings_outside_their_range_are_refused() -> None:
    for wrong in ({"budget": 1.2}, {"entropy_nats": 0}, {"text_confidence": -0.1}, {"share": 0.2}):
        with pytest.raises(ValidationError):
            RoutingSpec(**wrong)  # type: ignore[arg-type]


# ---- the stage


def bench_of(home: Home, folder: Path, **settings: object) -> Workspace:
    encoder = {"family": "siglip", "model": str(folder / "none"), "licence": "own"}
    tier = {"description": "routes", "device": "cpu", "encoder": encoder} | settings
    (folder / "routes.yaml").write_text(json.dumps(tier))  # JSON is YAML
    write_settings(home, Settings(tier=str(folder / "routes.yaml")))
    return open_workspace(home)


def write_folder(home: Home, ids: list[str], key: str = "lib") -> None:
    home.lake.write("proxies", pa.table({"id": ids}), key)
    rows = {
        "id": ids,
        "probability": pa.array([0.1] * len(ids), pa.float32()),
        "inherited_from": pa.nulls(len(ids), pa.string()),
    }
    home.lake.write("tag_scores", pa.table(rows), key)


def lanes_of(home: Home) -> dict[str, str]:
    rows = home.lake.read("routing", "lib")
    return dict(zip(rows["id"].to_pylist(), rows["lane"].to_pylist(), strict=True))


def test_a_folder_is_routed_and_written_only_when_it_changed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    workspace = bench_of(home, tmp_path, routing={"budget": 0.3})
    write_folder(home, [f"{n}" for n in range(10)])
    stats = update_table("routing", workspace, "lib")
    assert (stats.kept, stats.computed, stats.dropped) == (0, 10, 0)
    rows = home.lake.read("routing", "lib")
    assert rows.schema.names == ROUTING.schema.names
    assert lanes_of(home) == {f"{n}": "heavy" if n < 3 else "fast" for n in range(10)}

    written = home.lake.data_file("routing", "lib").stat().st_mtime_ns
    stats = update_table("routing", workspace, "lib")
    assert (stats.kept, stats.computed) == (10, 0)
    assert home.lake.data_file("routing", "lib").stat().st_mtime_ns == written


def test_an_image_more_changes_the_fingerprints_of_those_that_change_lanes_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    workspace = bench_of(home, tmp_path)
    write_folder(home, list("bcdefghijk"))
    update_table("routing", workspace, "lib")
    before = home.lake.read("routing", "lib").to_pylist()
    write_folder(home, list("abcdefghijk"))  # 11 images still have two places; a takes that of c
    stats = update_table("routing", workspace, "lib")
    now = {row["id"]: row for row in home.lake.read("routing", "lib").to_pylist()}
    assert [id_ for id_, row in now.items() if row["lane"] == "heavy"] == ["a", "b"]
    assert [row["id"] for row in before if now[row["id"]]["fingerprint"] != row["fingerprint"]] == ["c"]
    assert (stats.kept, stats.computed, stats.dropped) == (9, 2, 0)


def test_another_option_or_text_changes_the_lanes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_folder(home, list("abcdefghij"))
    for option, heavy in [("A2", 0), ("B1", 10), ("B2", 2)]:
        update_table("routing", bench_of(home, tmp_path, option=option), "lib")
        assert list(lanes_of(home).values()).count("heavy") == heavy
    text = {"id": ["j"], "text": ["ROOM 12"], "confidence": pa.array([0.97], pa.float32())}
    home.lake.write("ocr_text", pa.table(text), "lib")
    update_table("routing", open_workspace(home), "lib")
    assert [id_ for id_, lane in lanes_of(home).items() if lane == "heavy"] == ["a", "j"]
    (row,) = [row for row in home.lake.read("routing", "lib").to_pylist() if row["id"] == "j"]
    assert row["reasons"] == ["low_coverage", "text"]
