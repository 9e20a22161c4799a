"""Every family of detectors beside the library's own code, on the same tiny checkpoint of the real architecture.

Eight images of odd sizes in one batched call of ours, one image at a time in theirs. Scores agree to 1e-4, boxes to
1e-4 of the image (Florence-2 and the pipeline round theirs to pixels, so to one of those).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_closed_sets import CLASS_NAMES, save_tiny_rt_detr_v2
from tiny_detectors import FLORENCE2_TEXT_LENGTH, SAVERS, noise, save_tiny_florence2
from transformers import Owlv2ImageProcessor, pipeline

from resources.boxes import clip, from_corners
from resources.models.checkpoints import make_model
from resources.models.detectors import Detections, Detector, DetectorSpec
from resources.models.detectors.florence2 import read_locations
from resources.models.detectors.owlv2_pixels import pixel_values

SIZES = ((61, 40), (40, 61), (50, 50), (97, 33), (33, 97), (64, 64), (120, 17), (45, 46))
IMAGES = [noise(size, seed) for seed, size in enumerate(SIZES)]
PHRASES = ["bowl", "brick wall", "car", "car taxi"]

Row = tuple[str, float, list[float]]
"""phrase, score, box in xywh relative to the image"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    def load(family: str, save: Callable[[Path], Path] | None = None, **fields: Any) -> Any:
        directory = (save or SAVERS[family])(tmp_path)
        spec = DetectorSpec(
            family=family, model=str(directory), licence="own", **{"min_score": 0.3, "batch_size": 4} | fields
        )
        return make_model(spec, "cpu")

    return load


def detect(detector: Detector, phrases: list[str]) -> Iterator[tuple[Image.Image, Detections]]:
    """Each image with what it gets in one call for all."""
    return zip(IMAGES, detector.detect(IMAGES, [phrases] * len(IMAGES)), strict=True)


def parts(detector: Any) -> tuple[Any, Any]:
    return detector.processor, detector.model


def rows_of(found: Detections, phrases: list[str]) -> list[Row]:
    return [
        (phrases[index], float(score), box.tolist())
        for index, score, box in zip(found.phrase_index, found.scores, found.boxes_xywh, strict=True)
    ]


def relative(
    labels: list[str], scores: torch.Tensor, corners: torch.Tensor, size: tuple[int, int]
) -> list[Row]:
    """Rows of the library's boxes in pixels, less those that lie outside the image."""
    boxes, inside = clip(from_corners(corners.numpy() / np.array([*size, *size])))
    rows = zip(labels, scores.tolist(), boxes.tolist(), inside, strict=True)
    return [(label, score, box) for label, score, box, is_inside in rows if is_inside]


def assert_same_rows(ours: list[Row], theirs: list[Row], of_box: float = 1e-4) -> None:
    """The same rows in any order."""
    key = lambda row: (row[0], round(row[1], 3), *(round(side, 2) for side in row[2]))  # noqa: E731
    ours, theirs = sorted(ours, key=key), sorted(theirs, key=key)
    assert [row[0] for row in ours] == [row[0] for row in theirs]
    np.testing.assert_allclose([row[1] for row in ours], [row[1] for row in theirs], atol=1e-4)
    np.testing.assert_allclose([row[2] for row in ours], [row[2] for row in theirs], atol=of_box)


# ---- OWLv2


def library_owlv2(detector: Any, image: Image.Image, phrases: list[str]) -> list[Row]:
    processor, model = parts(detector)
    inputs = processor(text=[phrases], images=[image], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (result,) = processor.post_process_grounded_object_detection(
        outputs, threshold=detector.spec.min_score, target_sizes=[(image.height, image.width)]
    )
    labels = [phrases[label] for label in result["labels"].tolist()]
    return relative(labels, result["scores"], result["boxes"], image.size)


def test_owlv2_equals_the_library_for_one_phrase(load: Callable[..., Any]) -> None:
    detector = load("owlv2")
    for image, found in detect(detector, ["bowl"]):
        assert len(found.scores) > 2
        assert_same_rows(rows_of(found, ["bowl"]), library_owlv2(detector, image, ["bowl"]))


def test_owlv2_finds_what_the_library_finds_for_many_phrases_and_lets_phrases_share_a_box(
    load: Callable[..., Any],
) -> None:
    detector = load("owlv2")
    for image, found in detect(detector, PHRASES):
        ours = rows_of(found, PHRASES)
        theirs = library_owlv2(detector, image, PHRASES)  # the library keeps the best label of each box
        assert len(ours) > len(theirs) > 2
        for label, score, box in theirs:
            assert any(
                row[0] == label and abs(row[1] - score) < 1e-5 and np.allclose(row[2], box, atol=1e-5)
                for row in ours
            )


@pytest.mark.parametrize("size", [(1024, 768), (300, 700), (192, 192), (100, 60), (193, 5), (1, 1)])
@pytest.mark.parametrize(
    "changes", [{}, {"size": {"height": 96, "width": 320}}, {"resample": 3}, {"do_pad": False}]
)
def test_owlv2_reads_the_pixels_that_the_library_makes(
    size: tuple[int, int], changes: dict[str, object]
) -> None:
    processor = Owlv2ImageProcessor(**{"size": {"height": 192, "width": 192}} | changes)
    images = [noise(size, 1), noise(size, 2)]
    theirs = torch.cat([processor(images=[image], return_tensors="pt")["pixel_values"] for image in images])
    torch.testing.assert_close(pixel_values(processor, images), theirs, atol=2e-5, rtol=0)


# ---- Grounding DINO


@pytest.mark.parametrize("family", ["grounding-dino", "mm-grounding-dino", "llmdet"])
def test_grounding_dino_equals_the_library(load: Callable[..., Any], family: str) -> None:
    detector = load(family, min_score=0.0)
    phrases = ["bowl", "car", "car taxi"]
    processor, model = parts(detector)
    for image, ours in detect(detector, phrases):
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
        corners = np.clip(theirs["boxes"].numpy() / np.array([*image.size, *image.size]), 0, 1)
        np.testing.assert_allclose(ours.boxes_xywh[::3], from_corners(corners), atol=1e-4)
        tokens = outputs.logits[0].sigmoid().numpy()
        for index, (start, end) in enumerate([(1, 5), (6, 9), (10, 17)]):
            of_phrase = tokens[:, start:end]
            np.testing.assert_allclose(ours.scores[index::3], of_phrase.max(axis=1), atol=1e-4)
            np.testing.assert_allclose(ours.text_scores[index::3], of_phrase.mean(axis=1), atol=1e-4)
        # the library's score is of the best token, which is one of a phrase's or a full stop
        best = ours.scores.reshape(20, 3).max(axis=1)
        assert (best <= theirs["scores"].numpy() + 1e-4).all()
        assert np.isclose(best, theirs["scores"].numpy(), atol=1e-4).any()


# ---- OmDet-Turbo


def test_omdet_turbo_equals_the_library(load: Callable[..., Any]) -> None:
    detector = load("omdet-turbo")
    processor, model = parts(detector)
    for image, found in detect(detector, PHRASES):
        inputs = processor(images=[image], text=[PHRASES], return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        (theirs,) = processor.post_process_grounded_object_detection(
            outputs, text_labels=[PHRASES], threshold=0.3, nms_threshold=1.0, target_sizes=[(1, 1)],
            max_num_det=20 * len(PHRASES),
        )  # fmt: skip
        assert len(found.scores) > 2
        assert_same_rows(
            rows_of(found, PHRASES),
            relative(theirs["text_labels"], theirs["scores"], theirs["boxes"], (1, 1)),
        )


# ---- Florence-2


@pytest.mark.parametrize("task", ["<OPEN_VOCABULARY_DETECTION>", "<CAPTION_TO_PHRASE_GROUNDING>"])
def test_florence2_reads_the_boxes_that_the_library_reads(load: Callable[..., Any], task: str) -> None:
    detector = load("florence2", partial(save_tiny_florence2, seed=2), task=task, min_score=0.0)
    processor, model = parts(detector)
    prompt = {"<OPEN_VOCABULARY_DETECTION>": "Locate bowl in the image.",
              "<CAPTION_TO_PHRASE_GROUNDING>": "Locate the phrases in the caption: bowl"}[task]  # fmt: skip
    in_answers = inside_images = 0
    for image, found in detect(detector, ["bowl"]):
        assert found.prompt == prompt
        inputs = processor(images=image, text=task + "bowl", return_tensors="pt")
        tokens = model.generate(
            **inputs, do_sample=False, num_beams=1, max_new_tokens=FLORENCE2_TEXT_LENGTH - 1
        )
        text = "".join(processor.tokenizer.convert_ids_to_tokens(tokens[0]))
        answer = processor.post_process_generation(text=text, task=task, image_size=(1000, 1000))[task]
        corners = np.array(answer["bboxes"], dtype=np.float32).reshape(-1, 4)
        theirs, inside = clip(from_corners(corners / 1000))
        np.testing.assert_allclose(found.boxes_xywh, theirs[inside], atol=1e-3)
        read = read_locations(tokens[0].tolist(), [0.0] * tokens.shape[1], detector._bin_of)
        np.testing.assert_allclose([located.corners for located in read], corners / 1000, atol=1e-3)
        in_answers, inside_images = in_answers + len(read), inside_images + len(found.scores)
    assert in_answers > 80
    assert inside_images > 5


def tokens_of(processor: Any, answer: str) -> list[int]:
    ids: list[int] = processor.tokenizer.convert_tokens_to_ids(re.findall(r"<[^>]+>|.", answer))
    return ids


def test_florence2_does_not_ground_what_the_library_bans(load: Callable[..., Any]) -> None:
    answer = "aaa<loc_10><loc_20><loc_300><loc_400>e<loc_0><loc_0><loc_999><loc_999>b<loc_1><loc_2><loc_30><loc_40>"
    for task, places in (
        ("<OPEN_VOCABULARY_DETECTION>", ["bboxes", 3]),
        ("<CAPTION_TO_PHRASE_GROUNDING>", ["bboxes", 2]),
    ):
        detector = load("florence2", task=task, min_score=0.0)
        processor, _ = parts(detector)
        tokens = tokens_of(processor, answer)
        found = detector._read(tokens, [0.0] * len(tokens), 0, "bowl")
        theirs = processor.post_process_generation(text=answer, task=task, image_size=(1000, 1000))[task]
        assert len(theirs[places[0]]) == places[1]
        np.testing.assert_allclose(
            found.boxes_xywh, from_corners(np.array(theirs["bboxes"]) / 1000), atol=1e-3
        )


def test_florence2_draws_boxes_around_the_outlines_that_the_library_reads(tmp_path: Path) -> None:
    from transformers import Florence2Processor

    processor = Florence2Processor.from_pretrained(save_tiny_florence2(tmp_path))
    task = "<OPEN_VOCABULARY_DETECTION>"
    answer = (
        "bowl<poly><loc_10><loc_20><loc_300><loc_40><loc_70><loc_90><loc_5><sep>"
        "<loc_400><loc_410><loc_420><loc_30></poly><poly><loc_500><loc_600><loc_700><loc_650><loc_510><loc_505></poly>"
    )
    vocabulary = processor.tokenizer.get_vocab()
    bins = {vocabulary[f"<loc_{number}>"]: number for number in range(1000)}
    tokens = tokens_of(processor, answer)
    read = read_locations(tokens, [-1.0] * len(tokens), bins, vocabulary["<sep>"], outlines=True)
    theirs = processor.post_process_generation(text=answer, task=task, image_size=(1000, 1000))[task]
    around = []
    for outlines in theirs["polygons"]:
        points = np.concatenate([np.reshape(outline, (-1, 2)) for outline in outlines])
        around.append([*points.min(axis=0), *points.max(axis=0)])
    assert len(around) == 2
    np.testing.assert_allclose([located.corners for located in read], np.array(around) / 1000, atol=1e-3)


# ---- closed sets


@pytest.mark.parametrize(
    ("family", "save"),
    [
        ("rt-detr", SAVERS["rt-detr"]),
        ("rt-detr", save_tiny_rt_detr_v2),
        ("d-fine", SAVERS["d-fine"]),
        ("rf-detr", SAVERS["rf-detr"]),
    ],
    ids=["RT-DETR", "RT-DETRv2", "D-FINE", "RF-DETR"],
)
def test_a_closed_set_equals_the_pipeline(
    load: Callable[..., Any], family: str, save: Callable[[Path], Path]
) -> None:
    detector = load(family, save)
    processor, model = parts(detector)
    library = pipeline("object-detection", model=model, image_processor=processor)
    phrases = ["bowl", "brick wall", "car", "taxi", "a"]
    of_class = dict(zip(CLASS_NAMES, phrases, strict=True))
    for image, found in detect(detector, phrases):
        inputs = processor(images=[image], return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        (theirs,) = processor.post_process_object_detection(
            outputs, threshold=0.3, target_sizes=[(image.height, image.width)]
        )
        labels = [phrases[label] for label in theirs["labels"].tolist()]
        assert len(found.scores) > 2
        ours = rows_of(found, phrases)
        assert_same_rows(ours, relative(labels, theirs["scores"], theirs["boxes"], image.size))
        of_pipeline = sorted((of_class[row["label"]], row["score"]) for row in library(image, threshold=0.3))
        of_ours = sorted((label, score) for label, score, _ in ours)
        assert [label for label, _ in of_pipeline] == [label for label, _ in of_ours]
        np.testing.assert_allclose([row[1] for row in of_pipeline], [row[1] for row in of_ours], atol=1e-4)
