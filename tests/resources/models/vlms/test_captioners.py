"""Models that caption and do not chat, against the snippets that they were published with, one picture at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chat_parity import ATOL, assert_same, pictures, spec_of
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_captioners import SAVERS, save_tiny_florence2, save_tiny_original_florence2
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    DonutProcessor,
    VisionEncoderDecoderModel,
)

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.registry import registry
from resources.models.vlms import Vlm
from resources.models.vlms.captioner import FORMS
from resources.models.vlms.florence2 import is_original
from resources.models.vlms.tasks import Question

TOKENS = 8
Written = tuple[str, list[float]]
"""What a snippet writes, and the log-probability of each token of it."""


def written(model: Any, decode: Callable[[Any], str], ends: list[int], **inputs: Any) -> Written:
    """What the library generates, with the checkpoint's own settings but for the number of tokens and beams."""
    with torch.inference_mode():
        out = model.generate(
            **inputs, max_new_tokens=TOKENS, num_beams=1, do_sample=False,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    ids = out.sequences[0, -len(out.logits) :].tolist()
    logprobs = [
        float(logits[0].double().log_softmax(0)[token]) for logits, token in zip(out.logits, ids, strict=True)
    ]
    length = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return decode(out.sequences[:, -len(out.logits) :]).strip(), logprobs[:length]


def plain(processor: Any) -> Callable[[Any], str]:
    return lambda ids: str(processor.batch_decode(ids, skip_special_tokens=True)[0])


@lru_cache(maxsize=1)
def auto(directory: Path) -> tuple[Any, Any]:
    model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(directory)


def snippet_of_pixels(directory: Path, image: Image.Image, prompt: str) -> Written:
    """BLIP's and GIT's."""
    model, processor = auto(directory)
    return written(
        model, plain(processor), [2], pixel_values=processor(images=image, return_tensors="pt").pixel_values
    )


def snippet_of_blip2(directory: Path, image: Image.Image, prompt: str) -> Written:
    model, processor = auto(directory)
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    return written(model, plain(processor), [2], **inputs)


@lru_cache(maxsize=1)
def encoder_and_decoder(directory: Path) -> Any:
    model = VisionEncoderDecoderModel.from_pretrained(directory, dtype=torch.float32).eval()
    model.generation_config.forced_eos_token_id = None  # an answer of ours that was cut says so
    return model


def snippet_of_vit_gpt2(directory: Path, image: Image.Image, prompt: str) -> Written:
    pixels = AutoImageProcessor.from_pretrained(directory)(images=[image], return_tensors="pt").pixel_values
    decode = plain(AutoTokenizer.from_pretrained(directory))
    return written(encoder_and_decoder(directory), decode, [2], pixel_values=pixels)


def snippet_of_donut(directory: Path, image: Image.Image, prompt: str) -> Written:
    processor = DonutProcessor.from_pretrained(directory)
    task = processor.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    return written(
        encoder_and_decoder(directory),
        plain(processor),
        [2],
        pixel_values=processor(image, return_tensors="pt").pixel_values,
        decoder_input_ids=task,
        bad_words_ids=[[processor.tokenizer.unk_token_id]],
    )


def snippet_of_florence2(directory: Path, image: Image.Image, prompt: str) -> Written:
    model, processor = auto(directory)
    inputs = processor(text=prompt, images=image, return_tensors="pt")

    def parsed(ids: Any) -> str:
        text = processor.batch_decode(ids, skip_special_tokens=False)[0]
        told = processor.post_process_generation(text, task=prompt, image_size=image.size)
        return str(told[prompt]).replace("<pad>", "").replace("<mask>", "")

    text, logprobs = written(model, parsed, [2], **inputs)
    return text, logprobs[1:]  # the first is <s>, which the model has to begin with


SNIPPETS: dict[str, tuple[str, Callable[[Path, Image.Image, str], Written]]] = {
    "blip": ("", snippet_of_pixels),
    "blip-2": ("a photo of", snippet_of_blip2),
    "blip-2-t5": ("a photo of", snippet_of_blip2),
    "git": ("", snippet_of_pixels),
    "vit-gpt2": ("", snippet_of_vit_gpt2),
    "donut": ("<s_synthdog>", snippet_of_donut),
    "florence-2": ("<CAPTION>", snippet_of_florence2),
}


@pytest.fixture(scope="module", params=sorted(SNIPPETS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, SAVERS[request.param](tmp_path_factory.mktemp("captioner"))


def captioner(name: str, checkpoint: Path, **changes: object) -> Vlm:
    return make_model(spec_of(checkpoint, family=name.removesuffix("-t5"), batch_size=5, **changes), "cpu")


def test_captions_equal_the_snippet_of_the_library(case: tuple[str, Path]) -> None:
    name, checkpoint = case
    prompt, snippet = SNIPPETS[name]
    answers = captioner(name, checkpoint).answer(pictures(), [prompt] * 8, max_tokens=TOKENS)
    assert np.ptp([float(answer.logprobs[0]) for answer in answers]) > 100 * ATOL
    for image, answer in zip(pictures(), answers, strict=True):
        text, logprobs = snippet(checkpoint, image, prompt)
        assert answer.text == text
        np.testing.assert_allclose(answer.logprobs, logprobs, atol=ATOL)
        assert "".join(answer.tokens).strip() == answer.text
        assert len(answer.tokens) == len(answer.entropies) == len(answer.logprobs) > 0


def test_a_caption_does_not_depend_on_its_batch_mates(case: tuple[str, Path]) -> None:
    name, checkpoint = case
    prompt, _ = SNIPPETS[name]
    model = captioner(name, checkpoint, beams=3)
    for image, together in zip(
        pictures(), model.answer(pictures(), [prompt] * 8, max_tokens=TOKENS), strict=True
    ):
        assert_same(together, model.answer([image], [prompt], max_tokens=TOKENS)[0])


PROMPTGEN = {
    "<CAPTION>": "<CAPTION>",
    "<GENERATE_TAGS>": "<GENERATE_TAGS>",
    "detailed": "<DETAILED_CAPTION>",
    "more_detailed": "<MORE_DETAILED_CAPTION>",
    "mixed": "<MIXED_CAPTION>",
}


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same weights as they were published, and in the format of transformers."""
    original = save_tiny_original_florence2(tmp_path_factory.mktemp("original"))
    native = save_tiny_florence2(tmp_path_factory.mktemp("native"))
    assert (is_original(original), is_original(native)) == (True, False)
    return original, native


@pytest.mark.parametrize("mode", sorted(PROMPTGEN))
def test_promptgen_is_read_in_the_format_that_it_was_published_in(
    formats: tuple[Path, Path], mode: str
) -> None:
    original, native = formats
    spec = spec_of(original, family="florence-2-promptgen", prompts={"tags": mode})
    question = spec.question("tags")
    assert question == Question(PROMPTGEN[mode], free=False)
    answers = make_model(spec, "cpu").answer(pictures(), [question.prompt] * 8, max_tokens=TOKENS)
    for image, answer in zip(pictures(), answers, strict=True):
        text, logprobs = snippet_of_florence2(native, image, question.prompt)
        assert answer.text == text
        np.testing.assert_allclose(
            answer.logprobs, logprobs, atol=1e-3
        )  # the native one has a row for <image>


def test_weights_missing_in_the_original_format_are_an_error(tmp_path: Path) -> None:
    save_tiny_original_florence2(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["image_proj_norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailableError, match="image_proj_norm"):
        captioner("florence-2", tmp_path).load()


def test_a_model_that_takes_no_words_is_given_none(tmp_path: Path) -> None:
    model = captioner("blip", SAVERS["blip"](tmp_path))
    with pytest.raises(ValueError, match="asked nothing"):
        model.answer(pictures()[:1], ["Describe this."], max_tokens=TOKENS)


@pytest.mark.parametrize("place", [0, 1])
def test_two_lanes_of_one_checkpoint_share_its_weights_and_not_each_others_settings(
    formats: tuple[Path, Path], place: int
) -> None:
    fast, heavy = (captioner("florence-2", formats[place], beams=beams) for beams in (1, 3))
    before = fast.answer(pictures()[:2], ["<CAPTION>"] * 2, max_tokens=TOKENS)
    heavy.answer(pictures()[:2], ["<CAPTION>"] * 2, max_tokens=TOKENS)
    assert heavy.model is fast.model  # type: ignore[attr-defined]
    again = captioner("florence-2", formats[place], dtype="float32", beams=1, caption_tokens=5)
    for first, second in zip(
        before, again.answer(pictures()[:2], ["<CAPTION>"] * 2, max_tokens=TOKENS), strict=True
    ):
        assert_same(first, second)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    save_tiny_florence2(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailableError, match="no weights as safetensors"):
        captioner("florence-2", tmp_path).load()


def test_every_family_of_captioners_has_its_form() -> None:
    code = "resources.models.vlms.captioner:Captioner"
    assert FORMS.keys() == {family.name for family in registry().families if family.code == code}
