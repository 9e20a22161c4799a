"""Every family of chat models against the library, on tiny checkpoints of the real architectures and processors."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_parity import ATOL, PROMPTS, SIZES, assert_same, chat, pictures, spec_of
from tiny_chat_models import SAVERS, save_tiny_joycaption
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

from resources.models.checkpoints import make_model
from resources.models.registry import registry
from resources.models.vlms.prompts import CAPTION

TOKENS = 8

needs_num2words = pytest.mark.skipif(
    find_spec("num2words") is None, reason="SmolVLM2's processor does not load without the package num2words"
)
FAMILIES = [
    pytest.param(name, marks=needs_num2words) if name == "smolvlm" else name
    for name in SAVERS
    if name
    not in (
        "llava",
        "qwen2-vl",
        "idefics3",
    )  # tests/resources/models/vlms/test_vlms.py has them, with beams and schemas
]


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVERS[request.param](tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module")
def joycaption(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_joycaption(tmp_path_factory.mktemp("joycaption"))


def test_batched_answers_equal_the_pipeline_one_image_at_a_time(checkpoint: Path) -> None:
    reference = pipeline("image-text-to-text", model=str(checkpoint), dtype=torch.float32, device="cpu")
    answers = make_model(spec_of(checkpoint), "cpu").answer(pictures(), PROMPTS, max_tokens=TOKENS)
    for image, prompt, answer in zip(pictures(), PROMPTS, answers, strict=True):
        [told] = reference(
            text=chat(image, prompt),
            return_full_text=False,
            generate_kwargs={"max_new_tokens": TOKENS, "do_sample": False},
        )
        assert answer.text == told["generated_text"].strip()


def test_an_answer_depends_on_its_picture_and_not_on_its_batch_mates(checkpoint: Path) -> None:
    vlm = make_model(spec_of(checkpoint, beams=2), "cpu")
    batched = vlm.answer(pictures(), PROMPTS, max_tokens=TOKENS)
    for image, prompt, together in zip(pictures(), PROMPTS, batched, strict=True):
        [alone] = vlm.answer([image], [prompt], max_tokens=TOKENS)
        assert_same(together, alone)
    of_one_prompt = vlm.answer(pictures(), [CAPTION] * len(SIZES), max_tokens=1)
    assert np.ptp([float(answer.logprobs[0]) for answer in of_one_prompt]) > 100 * ATOL


def test_joycaption_equals_its_own_snippet(joycaption: Path) -> None:
    system = "You are a helpful image captioner."
    mode = registry().family("vlm", "joycaption").modes["straightforward"]
    processor = AutoProcessor.from_pretrained(joycaption)
    model = AutoModelForImageTextToText.from_pretrained(joycaption, dtype=torch.float32).eval()
    prompts = [mode, "Write a detailed description for this image."] * 4
    vlm = make_model(spec_of(joycaption, family="joycaption"), "cpu")
    for image, prompt, answer in zip(
        pictures(), prompts, vlm.answer(pictures(), prompts, max_tokens=TOKENS), strict=True
    ):
        conversation = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        text = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[text], images=[image], return_tensors="pt")
        assert (inputs["input_ids"] == processor.tokenizer.bos_token_id).sum() == 1
        with torch.inference_mode():
            [ids] = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
        told = processor.tokenizer.decode(
            ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert answer.text == told.strip()
