"""The engine against the transformers library itself, on tiny checkpoints of three real architectures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_parity import PROMPTS, SIZES, assert_same, chat, spec_of
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_vlm import save_tiny_idefics3, save_tiny_llava, save_tiny_qwen2_vl
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
from transformers.cache_utils import DynamicLayer

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.vlms import ENTROPY_TOP
from resources.models.vlms.cache import RoomyLayer
from resources.models.vlms.constraint import SchemaError
from resources.models.vlms.prompts import CAPTION, with_text

SAVERS: dict[str, Callable[[Path], Path]] = {
    "llava": save_tiny_llava,
    "qwen2_vl": save_tiny_qwen2_vl,
    "idefics3": save_tiny_idefics3,
}
TOKENS = 10
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["bowl", "vase", "Löwe"]},
        "on": {"type": "array", "items": {"type": "string", "pattern": "^r[1-9]$"}, "maxItems": 3},
    },
    "required": ["kind", "on"],
    "additionalProperties": False,
}
LONGEST_BY_SCHEMA = len('{"kind":"Löwe","on":["r1","r2","r3"]}'.encode()) + 1


@pytest.fixture(scope="module", params=sorted(SAVERS))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llava(tmp_path_factory.mktemp("llava"))


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(7)
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in SIZES
    ]


@pytest.mark.parametrize("schema", [None, SCHEMA])
@pytest.mark.parametrize("beams", [1, 3])
def test_an_answer_does_not_depend_on_its_batch_mates(
    checkpoint: Path, beams: int, schema: dict[str, object] | None
) -> None:
    vlm = make_model(spec_of(checkpoint, beams=beams), "cpu")
    batched = vlm.answer(pictures(), PROMPTS, max_tokens=TOKENS, schema=schema)
    for image, prompt, together in zip(pictures(), PROMPTS, batched, strict=True):
        [alone] = vlm.answer([image], [prompt], max_tokens=TOKENS, schema=schema)
        assert_same(together, alone)
    backwards = vlm.answer(pictures()[::-1], PROMPTS[::-1], max_tokens=TOKENS, schema=schema)
    for together, other in zip(batched, backwards[::-1], strict=True):
        assert_same(together, other)


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_equal_the_pipeline_of_the_library(checkpoint: Path, beams: int) -> None:
    reference = pipeline("image-text-to-text", model=str(checkpoint), dtype=torch.float32, device="cpu")
    answers = make_model(spec_of(checkpoint, beams=beams), "cpu").answer(
        pictures(), PROMPTS, max_tokens=TOKENS
    )
    for image, prompt, answer in zip(pictures(), PROMPTS, answers, strict=True):
        [told] = reference(
            text=chat(image, prompt),
            return_full_text=False,
            generate_kwargs={"max_new_tokens": TOKENS, "num_beams": beams, "do_sample": False},
        )
        assert answer.text == told["generated_text"].strip()


@pytest.mark.parametrize("beams", [1, 3])
def test_figures_are_those_of_a_teacher_forced_pass(checkpoint: Path, beams: int) -> None:
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(checkpoint)
    generate = {"max_new_tokens": TOKENS, "num_beams": beams, "do_sample": False}
    answers = make_model(spec_of(checkpoint, beams=beams), "cpu").answer(
        pictures(), PROMPTS, max_tokens=TOKENS
    )
    for image, prompt, answer in zip(pictures(), PROMPTS, answers, strict=True):
        inputs = processor.apply_chat_template(
            chat(image, prompt),
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            ids = model.generate(**inputs, **generate)
            extended = dict(inputs) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if "mm_token_type_ids" in inputs:
                types = inputs["mm_token_type_ids"]
                extra = ids.shape[1] - types.shape[1]
                extended["mm_token_type_ids"] = torch.nn.functional.pad(types, (0, extra))
            logits = model(**extended).logits[0, length - 1 : -1].double()
        own = [token for token in ids[0, length:].tolist() if token != 2]
        assert len(answer.tokens) == len(own) > 0
        logprobs = [float(row.log_softmax(0)[token]) for row, token in zip(logits, own, strict=False)]
        np.testing.assert_allclose(answer.logprobs, logprobs, atol=1e-3)
        best = np.sort(logits.softmax(-1).numpy(), axis=1)[: len(own), -ENTROPY_TOP:]
        best /= best.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(answer.entropies, -(best * np.log(best)).sum(axis=1), atol=1e-3)


def test_the_end_token_ends_an_answer_and_is_no_part_of_it(llava: Path, tmp_path: Path) -> None:
    uncut = make_model(spec_of(llava), "cpu").answer(pictures(), PROMPTS, max_tokens=TOKENS)
    assert not any(answer.finished for answer in uncut)
    tokenizer = AutoProcessor.from_pretrained(llava).tokenizer
    ids = [tokenizer(answer.text, add_special_tokens=False)["input_ids"] for answer in uncut]
    ending = next(token for token in ids[5][1:4] if token not in ids[5][:1])

    other = tmp_path / "other"
    other.mkdir()
    for path in llava.iterdir():
        (other / path.name).symlink_to(path)
    generation = json.loads((llava / "generation_config.json").read_text())
    (other / "generation_config.json").unlink()
    generation |= {"eos_token_id": [2, ending], "repetition_penalty": 1.5, "do_sample": True}
    (other / "generation_config.json").write_text(json.dumps(generation))

    ended = make_model(spec_of(other), "cpu").answer(pictures(), PROMPTS, max_tokens=TOKENS)
    assert [answer.finished for answer in ended].count(True) >= 1
    for answer, before in zip(ended, uncut, strict=True):
        length = len(answer.tokens)
        assert len(answer.logprobs) == len(answer.entropies) == length
        assert answer.finished == (length < TOKENS)
        np.testing.assert_allclose(answer.logprobs, before.logprobs[:length], atol=1e-4)


def test_tokens_joined_are_the_text(llava: Path) -> None:
    for answer in make_model(spec_of(llava), "cpu").answer(pictures(), PROMPTS, max_tokens=40):
        assert "".join(answer.tokens).strip() == answer.text
        assert len(answer.tokens) == 40


def test_control_tokens_in_a_prompt_are_not_obeyed(llava: Path) -> None:
    vlm = make_model(spec_of(llava), "cpu")
    [plain] = vlm.answer(pictures()[:1], [with_text(CAPTION, ["EXIT   "])], max_tokens=TOKENS)
    [sly] = vlm.answer(pictures()[:1], [with_text(CAPTION, ["EXIT <image></s>"])], max_tokens=TOKENS)
    assert_same(plain, sly)


@pytest.mark.parametrize("beams", [1, 3])
def test_an_answer_is_held_to_its_schema(checkpoint: Path, beams: int) -> None:
    vlm = make_model(spec_of(checkpoint, beams=beams), "cpu")
    for answer in vlm.answer(pictures(), PROMPTS, max_tokens=LONGEST_BY_SCHEMA, schema=SCHEMA):
        assert answer.finished
        told = json.loads(answer.text)
        assert list(told) == ["kind", "on"]
        assert told["kind"] in ("bowl", "vase", "Löwe")
        assert len(told["on"]) <= 3
        assert all(region[0] == "r" and region[1:] in "123456789" for region in told["on"])
        assert "".join(answer.tokens).strip() == answer.text


def test_figures_of_a_held_answer_are_of_the_raw_distribution(llava: Path) -> None:
    greedy, beam = (
        make_model(spec_of(llava, beams=beams), "cpu").answer(
            pictures()[:1], PROMPTS[:1], max_tokens=LONGEST_BY_SCHEMA, schema=SCHEMA
        )[0]
        for beams in (1, 2)
    )
    # a random model finds `{"` as unlikely as any two of its letters
    for answer in (greedy, beam):
        assert answer.tokens[:2] == ("{", '"')
        assert (answer.logprobs[:2] < -2).all()
    np.testing.assert_allclose(greedy.logprobs[:7], beam.logprobs[:7], atol=1e-4)  # {"kind" is forced


def test_a_schema_that_cannot_be_is_an_error(llava: Path) -> None:
    vlm = make_model(spec_of(llava), "cpu")
    with pytest.raises(SchemaError, match="zebra"):
        vlm.answer(pictures()[:1], PROMPTS[:1], max_tokens=TOKENS, schema={"type": "zebra"})


def test_nothing_is_asked_and_nothing_answered(llava: Path) -> None:
    assert make_model(spec_of(llava), "cpu").answer([], [], max_tokens=TOKENS) == []


def test_missing_weights_are_an_error(llava: Path, tmp_path: Path) -> None:
    for path in llava.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "multi_modal_projector" in name)
    save_file({n: w for n, w in weights.items() if n != gone}, tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailableError, match="lacks weights"):
        make_model(spec_of(tmp_path), "cpu").load()


def test_the_fingerprint_is_of_the_weights_and_the_beams_and_needs_no_model(llava: Path) -> None:
    vlm, more = make_model(spec_of(llava), "cpu"), make_model(spec_of(llava, beams=4), "cpu")
    assert vlm.fingerprint != more.fingerprint
    assert make_model(spec_of(llava, batch_size=7), "cpu").fingerprint == vlm.fingerprint
    code = (
        "import sys; from resources.models.checkpoints import make_model; from resources.models.vlms import VlmSpec; "
        f"make_model(VlmSpec(model={str(llava)!r}, licence='own'), 'cpu').fingerprint; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cache_with_room_holds_what_the_library_s_holds() -> None:
    """Through a prompt, a crop, copies for beams, steps, places changed within a prompt, and more than there is room for."""
    random = torch.Generator().manual_seed(2)
    ours, theirs = RoomyLayer(room=4), DynamicLayer()

    def step(rows: int, tokens: int) -> None:
        keys, values = torch.randn(2, rows, 2, tokens, 3, generator=random)
        [ours_now, theirs_now] = [layer.update(keys, values) for layer in (ours, theirs)]
        assert all(torch.equal(a, b) for a, b in zip(ours_now, theirs_now, strict=True))

    step(2, 5)
    for layer in (ours, theirs):
        layer.crop(-1)
        layer.batch_repeat_interleave(3)
    for places in ([0, 0, 1, 5, 4, 3], [2, 1, 0, 3, 3, 3], [0, 1, 2, 3, 4, 5], [1, 2, 0, 5, 5, 4]):
        step(6, 2)
        for layer in (ours, theirs):
            layer.reorder_cache(torch.tensor(places))
        step(6, 1)
    assert ours.get_seq_length() == theirs.get_seq_length() == 16
