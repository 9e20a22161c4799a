"""What a model saw in training is refused, whichever way its card names it; the demo's cards are true to form."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.corpus import make_corpus
from demo.world.scene import Split
from evaluation.held_out import (
    SeenInTraining,
    TrainingCard,
    TrainingCardError,
    cards_of,
    read_card,
    refuse_seen,
)
from evaluation.readers.ground_truth import read_ground_truth
from resources.models.tiers import load_tier

names = st.sampled_from(["TRAIN", "train", "Corpus", "coco-2017/val"])
a_file = st.integers(0, 6).map(lambda n: (f"{n:032x}", f"a/{n}.jpg"))


def images(files: list[tuple[str, str]]) -> pa.Table:
    ids, paths = [id_ for id_, _ in files], [path for _, path in files]
    return pa.table({"id": pa.array(ids, pa.string()), "file_name": pa.array(paths, pa.string())})


@given(st.lists(a_file), st.lists(a_file), st.booleans(), st.lists(names), st.lists(names))
def test_evaluation_is_refused_just_where_an_image_or_a_split_was_seen(
    evaluated: list[tuple[str, str]],
    trained: list[tuple[str, str]],
    by_name: bool,
    splits: list[str],
    seen: list[str],
) -> None:
    listed = frozenset(path if by_name else id_ for id_, path in trained)
    card = TrainingCard("vlm", Path("m/training.json"), frozenset(name.lower() for name in seen), listed)
    both = {*evaluated} & {*trained} or {s.lower() for s in splits} & {s.lower() for s in seen}
    if both:
        with pytest.raises(SeenInTraining, match=r"vlm \(m/training.json\) was trained on"):
            refuse_seen([card], splits, images(evaluated))
    else:
        refuse_seen([card], splits, images(evaluated))


def test_a_card_lists_full_hashes_ids_and_file_names(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    assert read_card("encoder", path) is None
    path.write_text(json.dumps({"images_seen": ["AB" * 32, "cd" * 16, "Chairs/1.jpg"], "splits_seen": ["X"]}))
    card = read_card("encoder", path)
    assert card is not None
    assert card.images == {"ab" * 16, "cd" * 16, "Chairs/1.jpg"}
    assert card.splits == {"x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"images_seen": [1]}', "images_seen: expected a list of names"),
        ('{"splits_seen": "train"}', "splits_seen: expected a list of names, found train"),
    ],
)
def test_a_card_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "training.json"
    path.write_text(text)
    with pytest.raises(TrainingCardError, match=rf"training\.json: {message}"):
        read_card("encoder", path)


@pytest.mark.parametrize(
    ("split", "who"),
    [
        (Split.TRAIN, ["encoder", "detector", "vlm"]),
        (Split.VALIDATE, ["encoder", "detector", "vlm"]),
        (Split.CALIBRATE, ["encoder", "fusion"]),
        (Split.CORPUS, []),
    ],
)
def test_the_models_of_the_demo_own_up_to_the_splits_they_saw(
    tmp_path: Path, split: Split, who: list[str]
) -> None:
    make_corpus(tmp_path, images=1, folders=1, split=split, longer_side_px=64, workers=1)
    truth = read_ground_truth(tmp_path / "ground_truth.json")
    assert truth.splits == (split.name,)
    cards = cards_of(load_tier("demo"))
    assert [card.role for card in cards] == ["encoder", "detector", "vlm", "fusion"]
    if not who:
        refuse_seen(cards, truth.splits, images([]))
        return
    with pytest.raises(SeenInTraining) as caught:
        refuse_seen(cards, truth.splits, images([]))
    assert [card.role for card in cards if f"{card.role} (" in str(caught.value)] == who


def test_a_ground_truth_may_name_one_split_several_or_none(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    for info, splits in (
        ({"split": "a"}, ("a",)),
        ({"split": ["a", "b"]}, ("a", "b")),
        ({}, ()),
        ("notes", ()),
        (None, ()),
    ):
        empty = {"images": [], "categories": [], "annotations": []}
        path.write_text(json.dumps({"info": info, **empty}))
        assert read_ground_truth(path).splits == splits


def test_a_model_that_is_not_on_this_machine_has_no_card_and_nothing_is_fetched() -> None:
    for tier in ("cpu", "gpu-24gb", "gpu-96gb-full"):
        assert cards_of(load_tier(tier)) == []


def test_a_model_of_any_library_may_have_a_card(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"splits_seen": ["val"]}))
    encoder = {"family": "open-clip", "model": str(tmp_path), "licence": "own"}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"description": "d", "device": "cpu", "encoder": encoder}))
    [card] = cards_of(load_tier(str(path)))
    assert card.splits == {"val"}
