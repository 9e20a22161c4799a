"""Every family of detectors, on tiny random checkpoints of the real architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_closed_sets import save_tiny_rt_detr
from tiny_detectors import SAVERS, bert_tokenizer, noise, save_tiny_florence2, save_tiny_owlv2

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.detectors import Detections, Detector, DetectorSpec
from resources.models.detectors.florence2 import read_locations
from resources.models.detectors.grounding_dino import write_sentences

MIN_SCORE = {
    "owlv2": 0.3,
    "grounding-dino": 0.5,
    "mm-grounding-dino": 0.05,
    "omdet-turbo": 0.3,
    "florence2": 0.05,
    "llmdet": 0.05,
    "rt-detr": 0.1,
    "d-fine": 0.1,
    "rf-detr": 0.1,
}
SIZES = ((61, 40), (40, 61), (50, 50), (97, 33), (61, 40))
PHRASES = ["bowl", "brick wall", "car", "car taxi"]

Load = Callable[..., Detector]


@pytest.fixture(scope="module", params=SAVERS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVERS[family](tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def load(family: str, checkpoint: Path) -> Load:
    def load(**changes: Any) -> Detector:
        fields = {"min_score": MIN_SCORE[family], "batch_size": 4, "licence": "own"} | changes
        return make_model(DetectorSpec(family=family, model=str(checkpoint), **fields), "cpu")

    return load


def same(a: Detections, b: Detections, tolerance: float = 1e-5) -> bool:
    return (
        a.prompt == b.prompt
        and a.phrase_index.tolist() == b.phrase_index.tolist()
        and np.allclose(a.boxes_xywh, b.boxes_xywh, atol=tolerance)
        and np.allclose(a.scores, b.scores, atol=tolerance)
        and np.allclose(a.text_scores, b.text_scores, atol=tolerance)
    )


def test_detections_are_boxes_inside_the_image_of_phrases_that_were_asked(load: Load) -> None:
    images = [noise(size, seed) for seed, size in enumerate(SIZES)]
    found = load().detect(images, [PHRASES] * len(images))
    assert sum(len(detections.scores) for detections in found) > 0
    for detections in found:
        boxes = detections.boxes_xywh
        assert boxes.shape == (len(detections.scores), 4)
        assert boxes.dtype == detections.scores.dtype == np.float32
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] > 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-6).all()
        assert set(detections.phrase_index.tolist()) <= set(range(len(PHRASES)))
        assert (detections.scores >= load().spec.min_score).all()
        assert (detections.scores <= 1).all()
        assert ((detections.text_scores >= 0) & (detections.text_scores <= 1)).all()


def test_a_box_does_not_depend_on_its_batch_mates(load: Load) -> None:
    images = [noise(size, seed) for seed, size in enumerate(SIZES)]
    asked = [PHRASES, ["bowl"], ["vessel", "bowl"], PHRASES, ["a"]]
    together = load().detect(images, asked)
    alone = [load().detect([image], [chunk])[0] for image, chunk in zip(images, asked, strict=True)]
    one_by_one = load(batch_size=1).detect(images, asked)
    for a, b, c in zip(together, alone, one_by_one, strict=True):
        assert same(a, b)
        assert same(a, c)
    backwards = load().detect(images[::-1], asked[::-1])[::-1]
    assert all(same(a, b) for a, b in zip(together, backwards, strict=True))


def test_an_image_asked_twice_gets_both_answers(load: Load) -> None:
    image = noise((61, 40), 0)
    twice = load().detect([image, image], [["bowl", "car"], ["taxi"]])
    assert same(twice[0], load().detect([image], [["bowl", "car"]])[0])
    assert same(twice[1], load().detect([image], [["taxi"]])[0])


def test_nothing_asked_is_nothing_found(load: Load) -> None:
    (found,) = load().detect([noise((61, 40), 0)], [[]])
    assert found.boxes_xywh.shape == (0, 4)
    assert found.phrase_index.size == found.scores.size == found.text_scores.size == 0
    assert load().detect([], []) == []


def test_the_fingerprint_follows_the_weights_and_what_matters_of_the_spec(
    load: Load, family: str, tmp_path: Path
) -> None:
    other = SAVERS[family](tmp_path / "same")
    assert load(batch_size=2).fingerprint == load().fingerprint == load(chunk_phrases=3).fingerprint
    assert load(min_score=0.9).fingerprint != load().fingerprint
    assert load(dtype="bfloat16").fingerprint != load().fingerprint
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    spec = DetectorSpec(family=family, model=str(other), min_score=MIN_SCORE[family], licence="own")
    assert make_model(spec, "cpu").fingerprint != load().fingerprint


def test_missing_weights_are_refused(family: str, checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in checkpoint.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(checkpoint / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    detector = make_model(DetectorSpec(family=family, model=str(tmp_path), licence="own"), "cpu")
    with pytest.raises(ModelUnavailableError, match="lacks weights"):
        detector.load()


# ---- OWLv2


@pytest.fixture(scope="module")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Detector]:
    directory = save_tiny_owlv2(tmp_path_factory.mktemp("owlv2"))

    def load(**changes: Any) -> Detector:
        fields = {"min_score": 0.3, "licence": "own"} | changes
        return make_model(DetectorSpec(family="owlv2", model=str(directory), **fields), "cpu")

    return load


def test_owlv2_embeds_a_phrase_once(owlv2: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    detector: Any = owlv2(batch_size=3)
    texts: list[int] = []
    encode = type(detector.model.owlv2).get_text_features

    def counting(self: Any, input_ids: Any, *rest: Any) -> Any:
        texts.append(len(input_ids))
        return encode(self, input_ids, *rest)

    monkeypatch.setattr(type(detector.model.owlv2), "get_text_features", counting)
    detector.detect([noise((61, 40), 0)] * 2, [["bowl", "car"], ["bowl", "taxi"]])
    detector.detect([noise((61, 40), 1)], [["bowl", "car", "bus"]])
    assert texts == [3, 1]


def test_owlv2_does_not_take_a_phrase_for_a_longer_one_that_begins_with_it(owlv2: Load) -> None:
    image = noise((61, 40), 3)
    (together,) = owlv2(min_score=0.0).detect([image], [["car", "car taxi"]])
    for index, phrase in enumerate(["car", "car taxi"]):
        (alone,) = owlv2(min_score=0.0).detect([image], [[phrase]])
        np.testing.assert_allclose(together.scores[together.phrase_index == index], alone.scores, atol=1e-6)
    first, second = (together.scores[together.phrase_index == index] for index in (0, 1))
    assert not np.allclose(first, second)


# ---- Grounding DINO


def spans(phrases: list[str], max_tokens: int = 64) -> list[list[list[str]]]:
    """The tokens that are taken for each phrase, one list a sentence."""
    tokenizer = bert_tokenizer()
    return [
        [
            tokenizer.convert_ids_to_tokens(list(sentence.token_ids[start:end]))
            for start, end in sentence.token_spans
        ]
        for sentence in write_sentences(phrases, tokenizer, max_tokens)
    ]


def test_the_tokens_of_a_phrase_are_its_own_also_within_a_longer_one() -> None:
    assert spans(["car", "car taxi", "taxi"]) == [
        [
            ["c", "##a", "##r"],
            ["c", "##a", "##r", "t", "##a", "##x", "##i"],
            ["t", "##a", "##x", "##i"],
        ]
    ]
    (sentence,) = write_sentences(["car", "car taxi", "taxi"], bert_tokenizer(), 64)
    assert sentence.text == "car. car taxi. taxi."
    assert list(sentence.token_ids) == bert_tokenizer()(sentence.text)["input_ids"]
    assert sentence.token_spans == ((1, 4), (5, 12), (13, 17))


def test_a_full_stop_in_a_phrase_does_not_end_it() -> None:
    (sentence,) = write_sentences(["St. George", "What?"], bert_tokenizer(), 64)
    assert sentence.text == "st george. what."
    assert len(sentence.token_spans) == 2


def test_a_text_that_is_too_long_becomes_several() -> None:
    sentences = write_sentences(["aaaa", "bbbb", "cccc"], bert_tokenizer(), 12)
    assert [sentence.text for sentence in sentences] == ["aaaa. bbbb.", "cccc."]
    assert [sentence.phrases for sentence in sentences] == [(0, 1), (2,)]
    assert all(len(sentence.token_ids) <= 12 for sentence in sentences)


def test_a_phrase_that_no_sentence_holds_is_cut_and_one_without_tokens_is_not_asked() -> None:
    sentences = write_sentences(["...", "a" * 20, "bb cccc dddd eeee", "ffff", "?"], bert_tokenizer(), 12)
    assert [sentence.text for sentence in sentences] == ["aaaaaaaaa.", "bb cccc.", "ffff."]
    assert [sentence.phrases for sentence in sentences] == [(1,), (2,), (3,)]
    assert all(len(sentence.token_ids) <= 12 for sentence in sentences)
    assert write_sentences(["..."], bert_tokenizer(), 12) == []


# ---- Florence-2


def test_location_tokens_are_read_in_fours() -> None:
    bins = {100 + number: number for number in range(1000)}
    tokens = [7, 100, 200, 300, 400, 8, 9, 150, 250, 350, 450, 151, 251, 351]
    first, second = read_locations(tokens, [-9.0] + [-1.0] * 13, bins)
    np.testing.assert_allclose(first.corners, (0.0005, 0.1005, 0.2005, 0.3005))
    np.testing.assert_allclose(second.corners, (0.0505, 0.1505, 0.2505, 0.3505))
    np.testing.assert_allclose([first.score, second.score], np.exp([-1.0, -1.0]))
    assert (first.name, second.name) == ((7,), (8, 9))
    assert read_locations([7, 100], [0.0, 0.0], bins) == []


def test_a_task_is_for_florence2_alone(tmp_path: Path) -> None:
    task = "<CAPTION_TO_PHRASE_GROUNDING>"
    directory = str(save_tiny_florence2(tmp_path))
    fields: dict[str, Any] = {"model": directory, "licence": "own"}
    grounding = make_model(DetectorSpec(family="florence2", task=task, **fields), "cpu")
    detection = make_model(DetectorSpec(family="florence2", **fields), "cpu")
    assert grounding.fingerprint != detection.fingerprint
    with pytest.raises(ValueError, match="owlv2 has no tasks"):
        DetectorSpec(family="owlv2", task=task, **fields)


# ---- closed sets


def test_what_is_no_class_gets_nothing_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = save_tiny_rt_detr(tmp_path)
    spec = DetectorSpec(family="rt-detr", model=str(directory), min_score=0.05, licence="own")
    detector: Any = make_model(spec, "cpu")
    image = noise((61, 40), 0)
    (found,) = detector.detect([image], [["car taxi", "BOWL", "wall", "Brick-Wall"]])
    assert set(found.phrase_index.tolist()) == {1}
    detector.detect([image], [["vessel"]])
    (record,) = caplog.records
    assert "knows 5 classes" in record.getMessage()
    assert "2 of the 4 phrases" in record.getMessage()
    assert "car taxi, wall" in record.getMessage()


def test_an_image_of_which_no_class_is_asked_costs_nothing(tmp_path: Path) -> None:
    directory = save_tiny_rt_detr(tmp_path)
    detector: Any = make_model(DetectorSpec(family="rt-detr", model=str(directory), licence="own"), "cpu")
    (found,) = detector.detect([noise((61, 40), 0)], [["vessel"]])
    assert found.scores.size == 0
    assert "model" not in vars(detector)
