"""WD taggers: an ONNX file that is written here, asked as its makers ask it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from image_zoo import picture
from PIL import Image
from tiny_taggers import WD_SIDE_PX, WD_TAGS, save_tiny_wd

from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError, make_model
from resources.models.taggers import AskedTag, TaggerSpec
from resources.models.taggers.wd import WdTagger, readable

SIZES = [(8, 8), (97, 61), (300, 31), (33, 201), (9, 8), (640, 480), (1, 7)]
IMAGES = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]


def tagger(directory: Path, **changes: object) -> WdTagger:
    fields = {"family": "wd", "model": str(directory), "batch_size": 3, "licence": "Apache-2.0"}
    made = make_model(TaggerSpec.model_validate(fields | changes), "cpu")
    assert isinstance(made, WdTagger)
    return made


def as_its_makers_ask(image: Image.Image, weights: np.ndarray) -> np.ndarray:
    """[tags]: white around it to a square, BGR from 0 to 255, and what the file computes."""
    pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    small = np.asarray(Image.fromarray(square).resize((WD_SIDE_PX, WD_SIDE_PX), Image.Resampling.BICUBIC))
    logits = small[:, :, ::-1].astype(np.float64).reshape(-1) / 255 @ weights
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("batch", ["batch_size", 1, 4])
def test_a_wd_tagger_equals_its_file_asked_as_its_makers_ask_it(tmp_path: Path, batch: int | str) -> None:
    directory, weights = save_tiny_wd(tmp_path, batch=batch)
    found = tagger(directory).score(IMAGES)
    expected = np.stack([as_its_makers_ask(image, weights) for image in IMAGES])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (np.ptp(expected, axis=1) > 0.1).all()
    assert np.ptp(expected[:, 1]) > 0.05
    assert tagger(directory).score([]).shape == (0, len(WD_TAGS))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    directory, _ = save_tiny_wd(tmp_path)
    clear = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    white = Image.new("RGB", (20, 10), "white")
    assert np.array_equal(tagger(directory).score([clear]), tagger(directory).score([white]))


def test_tags_are_read_with_their_categories_and_thresholds(tmp_path: Path) -> None:
    directory, _ = save_tiny_wd(tmp_path)
    tags = tagger(directory).tag_list
    assert tags.names == ("general", "1girl", "oil lamp", "^_^", "hatsune miku", "vase")
    assert tags.categories == ("rating", "general", "general", "general", "character", "general")
    np.testing.assert_allclose(tags.thresholds, [0.5, 0.35, 0.35, 0.35, 0.85, 0.35])
    np.testing.assert_allclose(tagger(directory, threshold=0.2).tag_list.thresholds, [0.2] * 6)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("long_hair", "long hair"),
        ("0_0", "0_0"),
        (">_<", ">_<"),
        ("o_o", "o_o"),
        ("<|>_<|>", "<|>_<|>"),
        ("c.c._(code_geass)", "c.c. (code geass)"),
        ("vase", "vase"),
    ],
)
def test_tags_become_words_and_faces_stay(name: str, shown: str) -> None:
    assert readable(name) == shown


def test_a_line_of_the_tier_names_one_of_the_hub() -> None:
    spec = TaggerSpec.model_validate("SmilingWolf/wd-vit-tagger-v3")
    assert (spec.family, spec.licence) == ("wd", "Apache-2.0")
    assert TaggerSpec.model_validate("wd").model == "SmilingWolf/wd-vit-tagger-v3"
    with pytest.raises(ValueError, match="'wd-14' is no tagger of the registry"):
        TaggerSpec.model_validate("wd-14")
    with pytest.raises(ValueError, match="wd has tags of its own alone"):
        TaggerSpec.model_validate({"model": "SmilingWolf/wd-vit-tagger-v3", "open_set": True})


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    short, _ = save_tiny_wd(tmp_path / "short", tags=WD_TAGS[:4])
    with pytest.raises(
        ModelUnavailableError, match=r"selected_tags\.csv has 4 tags, and model\.onnx gives 6 scores"
    ):
        tagger(short).score(IMAGES[:1])
    odd, _ = save_tiny_wd(tmp_path / "odd")
    with (odd / "selected_tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["tag_id", "name"], ["1", "vase"]])
    with pytest.raises(ModelUnavailableError, match="columns name and category are wanted"):
        _ = tagger(odd).tag_list
    (odd / "model.onnx").write_bytes(b"<html>")
    with pytest.raises(ModelUnavailableError, match=r"model\.onnx is no model that onnxruntime reads"):
        tagger(odd, batch_size=2).load()
    (odd / "model.onnx").unlink()
    with pytest.raises(ModelUnavailableError, match=r"holds no model\.onnx"):
        tagger(odd, batch_size=5)
    with pytest.raises(ModelUnavailableError, match=r"selected_tags\.csv is missing"):
        tagger(tmp_path)
    with pytest.raises(ValueError, match="its own tags alone"):
        tagger(save_tiny_wd(tmp_path / "fine")[0]).score(IMAGES, (AskedTag(("vase",), ("a vase",)),))


def test_a_gpu_that_onnxruntime_cannot_use_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    directory, _ = save_tiny_wd(tmp_path)
    ours = WdTagger(TaggerSpec(family="wd", model=str(directory), licence="own"), "cuda")
    with pytest.raises(DeviceUnavailableError, match="no CUDAExecutionProvider"):
        ours.load()
