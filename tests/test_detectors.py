"""Every family of detectors, on tiny random checkpoints of the real architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_detectors import (
    FLORENCE2_TEXT_LENGTH,
    bert_tokenizer,
    save_tiny_florence2,
    save_tiny_grounding_dino,
    save_tiny_mm_grounding_dino,
    save_tiny_omdet_turbo,
    save_tiny_owlv2,
)

from resources.checkpoints import ModelUnavailableError
from resources.detectors import Detections, Detector, DetectorSpec, load_detector
from resources.detectors.boxes import MIN_SIDE, from_corners
from resources.detectors.florence2 import read_locations
from resources.detectors.grounding_dino import write_sentences

SAVERS: dict[str, Callable[[Path], Path]] = {
    "owlv2": save_tiny_owlv2,
    "grounding-dino": save_tiny_grounding_dino,
    "mm-grounding-dino": save_tiny_mm_grounding_dino,
    "omdet-turbo": save_tiny_omdet_turbo,
    "florence2": save_tiny_florence2,
}
MIN_SCORE = {
    "owlv2": 0.3,
    "grounding-dino": 0.5,
    "mm-grounding-dino": 0.05,
    "omdet-turbo": 0.3,
    "florence2": 0.05,
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
        return load_detector(DetectorSpec(family=family, model=str(checkpoint), **fields), "cpu")

    return load


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    """A picture of coarse coloured squares: width, height in pixels."""
    squares = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(squares).resize(size, Image.Resampling.NEAREST)


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
    assert load_detector(spec, "cpu").fingerprint != load().fingerprint


def test_missing_weights_are_refused(family: str, checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in checkpoint.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(checkpoint / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    detector = load_detector(DetectorSpec(family=family, model=str(tmp_path), licence="own"), "cpu")
    with pytest.raises(ModelUnavailableError, match="lacks weights"):
        detector.load()


# ---- OWLv2


@pytest.fixture(scope="module")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Detector]:
    directory = save_tiny_owlv2(tmp_path_factory.mktemp("owlv2"))

    def load(**changes: Any) -> Detector:
        fields = {"min_score": 0.3, "licence": "own"} | changes
        return load_detector(DetectorSpec(family="owlv2", model=str(directory), **fields), "cpu")

    return load


def library_owlv2(detector: Any, image: Image.Image, phrases: list[str], threshold: float) -> list[Any]:
    """(label, score, box in xywh relative to the image) by the library's own forward pass and post-processing."""
    processor, model = detector._checkpoint.processor, detector._checkpoint.model
    inputs = processor(text=[phrases], images=[image], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (result,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[(image.height, image.width)]
    )
    scale = np.array([image.width, image.height] * 2)
    found = []
    for label, score, box in zip(
        *(result[name].numpy() for name in ("labels", "scores", "boxes")), strict=True
    ):
        left, top, right, bottom = np.clip(box / scale, 0, 1)
        if min(right - left, bottom - top) >= MIN_SIDE:
            found.append((int(label), float(score), [left, top, right - left, bottom - top]))
    return found


@pytest.mark.parametrize("size", SIZES[:4])
def test_owlv2_equals_the_library_for_one_phrase(owlv2: Load, size: tuple[int, int]) -> None:
    image = noise(size, 3)
    (ours,) = owlv2().detect([image], [["bowl"]])
    theirs = library_owlv2(owlv2(), image, ["bowl"], 0.3)
    assert len(theirs) == len(ours.scores) > 3
    np.testing.assert_allclose(ours.scores, [score for _, score, _ in theirs], atol=1e-6)
    np.testing.assert_allclose(ours.boxes_xywh, [box for _, _, box in theirs], atol=1e-5)


def test_owlv2_finds_what_the_library_finds_for_many_phrases_and_lets_phrases_share_a_box(
    owlv2: Load,
) -> None:
    image = noise((61, 40), 3)
    (ours,) = owlv2().detect([image], [PHRASES])
    rows = list(zip(ours.phrase_index.tolist(), ours.scores, ours.boxes_xywh, strict=True))
    theirs = library_owlv2(owlv2(), image, PHRASES, 0.3)  # the library keeps the best label of each box
    assert len(rows) > len(theirs) > 5
    for label, score, box in theirs:
        assert any(
            index == label and abs(ours_score - score) < 1e-6 and np.allclose(ours_box, box, atol=1e-5)
            for index, ours_score, ours_box in rows
        )


def test_owlv2_embeds_a_phrase_once(owlv2: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    detector: Any = owlv2(batch_size=3)
    texts: list[int] = []
    encode = type(detector._checkpoint.model.owlv2).get_text_features

    def counting(self: Any, input_ids: Any, *rest: Any) -> Any:
        texts.append(len(input_ids))
        return encode(self, input_ids, *rest)

    monkeypatch.setattr(type(detector._checkpoint.model.owlv2), "get_text_features", counting)
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
    with pytest.raises(ValueError, match="longer than 12 tokens"):
        write_sentences(["a" * 20], bert_tokenizer(), 12)
    with pytest.raises(ValueError, match="no token"):
        write_sentences(["..."], bert_tokenizer(), 12)


@pytest.mark.parametrize("name", ["grounding-dino", "mm-grounding-dino"])
@pytest.mark.parametrize("size", SIZES[:2])
def test_grounding_dino_equals_the_library(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    directory = SAVERS[name](tmp_path)
    spec = DetectorSpec(family=name, model=str(directory), min_score=0.0, licence="own")
    detector: Any = load_detector(spec, "cpu")
    image, phrases = noise(size, 3), ["bowl", "car", "car taxi"]
    (ours,) = detector.detect([image], [phrases])
    processor, model = detector._checkpoint.processor, detector._checkpoint.model
    inputs = processor(images=[image], text=[phrases], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs,
        inputs["input_ids"],
        threshold=0.0,
        text_threshold=0.0,
        target_sizes=[(image.height, image.width)],
    )
    # all boxes and all phrases pass: query by query, phrase by phrase
    assert len(ours.scores) == 20 * len(phrases)
    assert ours.phrase_index.tolist() == [0, 1, 2] * 20
    corners = np.clip(theirs["boxes"].numpy() / np.array([*size, *size]), 0, 1)
    np.testing.assert_allclose(ours.boxes_xywh[::3, :2], corners[:, :2], atol=1e-4)
    np.testing.assert_allclose(ours.boxes_xywh[::3, 2:], corners[:, 2:] - corners[:, :2], atol=1e-4)
    tokens = outputs.logits[0].sigmoid().numpy()
    for index, (start, end) in enumerate([(1, 5), (6, 9), (10, 17)]):
        np.testing.assert_allclose(ours.scores[index::3], tokens[:, start:end].max(axis=1), atol=1e-4)
        np.testing.assert_allclose(ours.text_scores[index::3], tokens[:, start:end].mean(axis=1), atol=1e-4)
    # the library's score is of the best token, which is one of a phrase's or a full stop
    assert (ours.scores.reshape(20, 3).max(axis=1) <= theirs["scores"].numpy() + 1e-4).all()
    assert np.isclose(ours.scores.reshape(20, 3).max(axis=1), theirs["scores"].numpy(), atol=1e-4).any()


# ---- OmDet-Turbo


def test_omdet_turbo_equals_the_library(tmp_path: Path) -> None:
    directory = save_tiny_omdet_turbo(tmp_path)
    spec = DetectorSpec(family="omdet-turbo", model=str(directory), min_score=0.3, licence="own")
    detector: Any = load_detector(spec, "cpu")
    image = noise((61, 40), 3)
    (ours,) = detector.detect([image], [PHRASES])
    processor, model = detector._checkpoint.processor, detector._checkpoint.model
    inputs = processor(images=[image], text=[PHRASES], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs, text_labels=[PHRASES], threshold=0.3, nms_threshold=1.0, target_sizes=[(1, 1)],
        max_num_det=20 * len(PHRASES),
    )  # fmt: skip
    corners = theirs["boxes"].numpy()
    wide = (corners[:, 2:] - corners[:, :2]).min(axis=1) >= MIN_SIDE
    expected = sorted(
        zip(
            theirs["text_labels"],
            theirs["scores"].tolist(),
            from_corners(corners).tolist(),
            wide,
            strict=True,
        )
    )
    expected = [row[:3] for row in expected if row[3]]
    labels = [PHRASES[index] for index in ours.phrase_index]
    found = sorted(zip(labels, ours.scores.tolist(), ours.boxes_xywh.tolist(), strict=True))
    assert len(found) > 3
    assert [row[0] for row in found] == [row[0] for row in expected]
    np.testing.assert_allclose([row[1] for row in found], [row[1] for row in expected], atol=1e-5)
    np.testing.assert_allclose([row[2] for row in found], [row[2] for row in expected], atol=1e-4)


# ---- Florence-2


def test_location_tokens_are_read_in_fours() -> None:
    bins = {100 + number: number for number in range(1000)}
    tokens = [7, 100, 200, 300, 400, 7, 150, 250, 350, 450, 151, 251, 351]
    corners, scores = read_locations(tokens, [-9.0] + [-1.0] * 12, bins)
    np.testing.assert_allclose(
        corners, [[0.0005, 0.1005, 0.2005, 0.3005], [0.0505, 0.1505, 0.2505, 0.3505]], atol=1e-6
    )
    np.testing.assert_allclose(scores, np.exp([-1.0, -1.0]))
    corners, scores = read_locations([7, 300, 100, 200, 500, 400, 300], [0.0] * 7, bins, outlines=True)
    np.testing.assert_allclose(corners, [[0.1005, 0.0005, 0.3005, 0.4005]], atol=1e-6)
    assert read_locations([7, 100], [0.0, 0.0], bins)[0].shape == (0, 4)


def test_florence2_reads_the_boxes_that_the_library_reads(tmp_path: Path) -> None:
    directory = save_tiny_florence2(tmp_path)
    spec = DetectorSpec(family="florence2", model=str(directory), min_score=0.0, licence="own")
    detector: Any = load_detector(spec, "cpu")
    image = noise((61, 40), 3)
    processor, model = detector._checkpoint.processor, detector._checkpoint.model
    task = "<OPEN_VOCABULARY_DETECTION>"
    inputs = processor(images=image, text=task + "bowl", return_tensors="pt")
    tokens = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=FLORENCE2_TEXT_LENGTH - 1)[
        0
    ]
    names = processor.tokenizer.convert_ids_to_tokens(tokens)
    text = "bowl" + "".join(name if "loc" in name else "x" for name in names)
    answer = processor.post_process_generation(text=text, task=task, image_size=(10_000, 10_000))[task]
    theirs = [box for box in answer["bboxes"] if min(box[2] - box[0], box[3] - box[1]) >= 10_000 * MIN_SIDE]
    corners, _ = read_locations(tokens.tolist(), [0.0] * len(tokens), detector._bin_of)
    ours = [box for box in corners if min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE]
    assert len(ours) > 0
    np.testing.assert_allclose(np.array(ours) * 10_000, theirs, atol=1.0)
    (found,) = detector.detect([image], [["bowl"]])
    assert len(found.scores) == len(ours)
    assert found.prompt == "Locate bowl in the image."
