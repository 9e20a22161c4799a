"""OFA against a forward that is written out here, over the names of the published weights, one picture at a time."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chat_parity import ATOL, assert_same, pictures, spec_of
from PIL import Image
from plain_decoding import by_beams, greedily
from safetensors.torch import load_file, save_file
from tiny_ofa import (
    BUCKETS,
    HEADS,
    IMAGE_PX,
    IMAGE_SIDE,
    LAYERS,
    VOCABULARY,
    WIDTH,
    in_the_fork,
    save_fairseq_text,
    save_hub_text,
    save_pickle,
    tiny_weights,
)
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Tokenizer

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.convert import convert
from resources.models.vlms import Vlm
from resources.models.vlms.ofa.checkpoint import WEIGHTS, processor

QUESTION = "what does the image describe?"
TOKENS = 12
BEGIN, PAD, END = 0, 1, 2


class Plain:
    """The published names, asked word by word without a cache."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {name: value.double() for name, value in weights.items()}
        self.kept: dict[int, tuple[Image.Image, tuple[Tensor, Tensor]]] = {}

    def __call__(self, image: Image.Image, question: list[int], words: list[int]) -> Tensor:
        """Log-probabilities [vocabulary] of the word after `words`."""
        if id(image) not in self.kept:
            self.kept[id(image)] = image, self.encode(image, question)
        seen, places = self.kept[id(image)][1]
        x = self.norm("decoder.layernorm_embedding", self.weights["decoder.embed_tokens.weight"][words])
        mine = self.norm("decoder.pos_ln", self.weights["decoder.embed_positions.weight"][: len(words)])
        own, cross = self.looks("decoder.self_pos", mine, mine), self.looks("decoder.cross_pos", mine, places)
        for layer in range(LAYERS):
            start = f"decoder.layers.{layer}"
            bias = own + self.by_distance("decoder", layer, len(words))
            for row in range(len(words)):
                bias[:, row, row + 1 :] = -math.inf
            y = self.norm(f"{start}.self_attn_layer_norm", x)
            x = x + self.norm(f"{start}.self_attn_ln", self.attend(f"{start}.self_attn", y, y, bias))
            y = self.norm(f"{start}.encoder_attn_layer_norm", x)
            x = x + self.norm(f"{start}.cross_attn_ln", self.attend(f"{start}.encoder_attn", y, seen, cross))
            x = self.think(start, x)
        last = self.norm("decoder.layer_norm", x)[-1]
        return (self.weights["decoder.output_projection.weight"] @ last).log_softmax(0)

    def encode(self, image: Image.Image, question: list[int]) -> tuple[Tensor, Tensor]:
        """What is seen [places, width], the picture first, and the places themselves."""
        pixels = image.convert("RGB").resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC)
        picture = self.resnet(torch.tensor(np.asarray(pixels) / 127.5 - 1).permute(2, 0, 1)[None])[0]
        side = picture.shape[1]
        x = (
            self.linear("encoder.image_proj", picture.flatten(1).T)
            + self.weights["encoder.type_embedding.weight"][1]
        )
        words = (
            self.weights["encoder.embed_tokens.weight"][question]
            + self.weights["encoder.type_embedding.weight"][0]
        )
        x = torch.cat(
            [
                self.norm("encoder.patch_layernorm_embedding", x),
                self.norm("encoder.layernorm_embedding", words),
            ]
        )
        at = [row * IMAGE_SIDE + column + 1 for row in range(side) for column in range(side)]
        of_picture = self.norm(
            "encoder.image_pos_ln", self.weights["encoder.embed_image_positions.weight"][at]
        )
        of_words = self.norm(
            "encoder.pos_ln", self.weights["encoder.embed_positions.weight"][: len(question)]
        )
        places = torch.cat([of_picture, of_words])
        looks = self.looks("encoder.pos", places, places)
        for layer in range(LAYERS):
            start = f"encoder.layers.{layer}"
            bias = looks.clone()
            bias[:, : side**2, : side**2] += self.by_distance_in_picture(layer, side)
            bias[:, side**2 :, side**2 :] += self.by_distance("encoder", layer, len(question))
            y = self.norm(f"{start}.self_attn_layer_norm", x)
            x = self.think(
                start, x + self.norm(f"{start}.attn_ln", self.attend(f"{start}.self_attn", y, y, bias))
            )
        return self.norm("encoder.layer_norm", x), places

    def think(self, start: str, x: Tensor) -> Tensor:
        y = functional.gelu(self.linear(f"{start}.fc1", self.norm(f"{start}.final_layer_norm", x)))
        return x + self.linear(f"{start}.fc2", self.norm(f"{start}.ffn_layernorm", y))

    def attend(self, start: str, x: Tensor, seen: Tensor, bias: Tensor) -> Tensor:
        queries, keys, values = (
            self.linear(f"{start}.{name}_proj", of).unflatten(1, (HEADS, -1))
            for name, of in (("q", x), ("k", seen), ("v", seen))
        )
        weight = self.weights.get(f"{start}.c_attn", torch.ones(HEADS, dtype=torch.double))
        heads = []
        for head in range(HEADS):
            scores = queries[:, head] @ keys[:, head].T / math.sqrt(2 * WIDTH // HEADS) + bias[head]
            heads.append(scores.softmax(-1) @ values[:, head] * weight[head])
        return self.linear(f"{start}.out_proj", torch.cat(heads, dim=1))

    def looks(self, start: str, places: Tensor, others: Tensor) -> Tensor:
        q = self.linear(f"{start}_q_linear", places).unflatten(1, (HEADS, -1)) / math.sqrt(2 * WIDTH // HEADS)
        k = self.linear(f"{start}_k_linear", others).unflatten(1, (HEADS, -1))
        return torch.einsum("ihd,jhd->hij", q, k)

    def by_distance(self, side: str, layer: int, length: int) -> Tensor:
        table = self.weights[f"{side}.token_rel_pos_table_list.{layer}.weight"]
        return torch.stack(
            [torch.stack([table[bucket(i - j)] for j in range(length)]) for i in range(length)]
        ).permute(2, 0, 1)

    def by_distance_in_picture(self, layer: int, side: int) -> Tensor:
        table = self.weights[f"encoder.image_rel_pos_table_list.{layer}.weight"]
        cells = [(row, column) for row in range(side) for column in range(side)]
        rows = [
            [(a - c + IMAGE_SIDE - 1) * (2 * IMAGE_SIDE - 1) + b - d + IMAGE_SIDE - 1 for c, d in cells]
            for a, b in cells
        ]
        return table[torch.tensor(rows)].permute(2, 0, 1)

    def resnet(self, x: Tensor) -> Tensor:
        x = self.conv("conv1", "bn1", x, stride=2, padding=3).relu()
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage, blocks in ((1, 2), (2, 1), (3, 1)):
            for block in range(blocks):
                start = f"layer{stage}.{block}"
                stride = 2 if stage > 1 and block == 0 else 1
                y = self.conv(f"{start}.conv1", f"{start}.bn1", x).relu()
                y = self.conv(f"{start}.conv2", f"{start}.bn2", y, stride, padding=1).relu()
                y = self.conv(f"{start}.conv3", f"{start}.bn3", y)
                if block == 0:
                    x = self.conv(f"{start}.downsample.0", f"{start}.downsample.1", x, stride)
                x = (x + y).relu()
        return x

    def conv(self, name: str, bn: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        of = {
            part: self.weights.get(f"encoder.embed_images.{bn}.{part}")
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        y = functional.conv2d(
            x, self.weights[f"encoder.embed_images.{name}.weight"], stride=stride, padding=padding
        )
        return functional.batch_norm(y, of["running_mean"], of["running_var"], of["weight"], of["bias"])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        """The value itself where the weights have no such layer."""
        if f"{name}.weight" not in self.weights:
            return x
        apart = x - x.mean(-1, keepdim=True)
        spread = (apart.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return apart / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def bucket(apart: int) -> int:
    half = BUCKETS // 2
    if abs(apart) <= half:
        return apart + BUCKETS - 1
    far = math.ceil(math.log(abs(apart) / half) / math.log(1023 / half) * (half - 1)) + half
    return int(math.copysign(far, apart)) + BUCKETS - 1


def allowed(logprobs: Tensor, words: list[int]) -> Tensor:
    """No padding, no end before the first word, no three words twice."""
    logprobs = logprobs.clone()
    logprobs[PAD] = -math.inf
    if len(words) == 1:
        logprobs[END] = -math.inf
    for place in range(len(words) - 2):
        if words[place : place + 2] == words[-2:] and len(words) >= 3:
            logprobs[words[place + 2]] = -math.inf
    return logprobs


@pytest.fixture(scope="module")
def fairseq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it is published: a pickle with settings of fairseq beside the weights, converted."""
    directory = tmp_path_factory.mktemp("ofa")
    save_fairseq_text(directory)
    made, new = convert(save_pickle(directory / "caption_base_best.pt", tiny_weights()), directory / WEIGHTS)
    assert new
    assert made.taken_from == "model"
    return directory


def captioner(directory: Path, **changes: object) -> Vlm:
    return make_model(spec_of(directory, family="ofa", batch_size=3, **changes), "cpu")


def question_of(directory: Path) -> list[int]:
    ids = processor(directory).tokenizer(f" {QUESTION}")["input_ids"]
    return [BEGIN, *ids, END]


def text_of(directory: Path, ids: list[int]) -> str:
    return str(processor(directory).tokenizer.decode(ids, skip_special_tokens=True)).strip()


def test_captions_equal_a_plain_forward_of_the_published_names(fairseq: Path) -> None:
    plain = Plain(load_file(fairseq / WEIGHTS))
    answers = captioner(fairseq).answer(pictures(), [QUESTION] * 8, max_tokens=TOKENS)
    texts = set()
    for answer, image in zip(answers, pictures(), strict=True):
        ids, logprobs = greedily(partial(plain, image, question_of(fairseq)), BEGIN, END, TOKENS, allowed)
        length = ids.index(END) if END in ids else len(ids)
        assert answer.text == text_of(fairseq, ids)
        np.testing.assert_allclose(answer.logprobs, logprobs[:length], atol=ATOL)
        assert answer.finished == (END in ids)
        texts.add(answer.text)
    assert len(texts) > 2


def test_beams_equal_those_of_the_plain_forward(fairseq: Path) -> None:
    plain = Plain(load_file(fairseq / WEIGHTS))
    images = pictures()[:3]
    answers = captioner(fairseq, beams=3).answer(images, [QUESTION] * 3, max_tokens=TOKENS)
    for answer, image in zip(answers, images, strict=True):
        assert answer.text == text_of(
            fairseq, by_beams(partial(plain, image, question_of(fairseq)), BEGIN, END, TOKENS, 3, allowed)
        )


def test_the_layout_of_the_fork_says_the_same(fairseq: Path, tmp_path: Path) -> None:
    save_hub_text(tmp_path)
    torch.save(in_the_fork(tiny_weights()), tmp_path / "pytorch_model.bin")
    convert(tmp_path / "pytorch_model.bin", tmp_path / WEIGHTS)
    assert any("mid_layer_norm" in name for name in load_file(tmp_path / WEIGHTS))
    asked = {"images": pictures(), "prompts": [QUESTION] * 8, "max_tokens": TOKENS}
    for ours, theirs in zip(
        captioner(fairseq).answer(**asked), captioner(tmp_path).answer(**asked), strict=True
    ):  # type: ignore[arg-type]
        assert_same(ours, theirs)


def test_one_without_inner_norms_is_read_too(tmp_path: Path) -> None:
    save_hub_text(tmp_path)
    save_file(_apart(tiny_weights(scaled=False)), tmp_path / WEIGHTS)
    plain, image = Plain(load_file(tmp_path / WEIGHTS)), pictures()[0]
    [answer] = captioner(tmp_path).answer([image], [QUESTION], max_tokens=TOKENS)
    assert answer.text == text_of(
        tmp_path, greedily(partial(plain, image, question_of(tmp_path)), BEGIN, END, TOKENS, allowed)[0]
    )


def test_a_picture_does_not_depend_on_its_batch_mates(fairseq: Path) -> None:
    ours = captioner(fairseq)
    together = ours.answer(pictures(), [QUESTION] * 8, max_tokens=TOKENS)
    for image, answer in zip(pictures(), together, strict=True):
        [alone] = ours.answer([image], [QUESTION], max_tokens=TOKENS)
        assert_same(alone, answer)  # type: ignore[arg-type]


def test_pieces_have_the_ids_of_gpt2_in_the_order_of_the_dictionary(fairseq: Path) -> None:
    gpt2 = GPT2Tokenizer(str(fairseq / "encoder.json"), str(fairseq / "vocab.bpe"))
    order = [line.split()[0] for line in (fairseq / "dict.txt").read_text().splitlines()]
    tokenizer = processor(fairseq).tokenizer
    for text in (f" {QUESTION}", "what a wham, Löwe!", " imag imagining 4"):
        expected = [order.index(str(number)) + 4 for number in gpt2(text)["input_ids"]]
        assert tokenizer(text)["input_ids"] == expected
        assert tokenizer.decode(expected) == text
    assert max(expected) < VOCABULARY
    assert all(first != second for first, second in pairwise(order))


def test_sixteen_bits_say_nearly_the_same(fairseq: Path) -> None:
    full = captioner(fairseq).answer(pictures(), [QUESTION] * 8, max_tokens=1)
    half = captioner(fairseq, dtype="bfloat16").answer(pictures(), [QUESTION] * 8, max_tokens=1)
    for one, other in zip(full, half, strict=True):
        np.testing.assert_allclose(one.entropies, other.entropies, atol=0.2)  # type: ignore[union-attr]


def test_a_folder_without_its_files_says_what_it_needs(tmp_path: Path) -> None:
    told = r"holds no OFA. It needs ofa\.safetensors and, beside it, encoder\.json, .*vistag convert .* --to ofa\.safetensors"
    with pytest.raises(ModelUnavailableError, match=told):
        captioner(tmp_path)
    save_file(_apart(tiny_weights()), tmp_path / WEIGHTS)
    with pytest.raises(ModelUnavailableError, match=told):
        captioner(tmp_path)


def test_the_name_of_a_checkpoint_is_looked_for_among_the_models(
    fairseq: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fairseq, tmp_path / "ofa-caption-base")
    monkeypatch.setenv("VISTAG_MODELS", str(tmp_path))
    made = make_model(spec_of(Path("ofa-caption-base"), family="ofa"), "cpu")
    assert made.fingerprint == captioner(fairseq).fingerprint


@pytest.mark.parametrize(
    ("taken", "given", "told"),
    [
        ("decoder.layers.1.encoder_attn.q_proj.bias", None, r"lacks weights of its model: decoder\.layers\.1\.encoder_attn"),
        ("encoder.token_rel_pos_table_list.0.weight", None, r"holds no weights of OFA \('encoder\.token_rel_pos"),
        (None, "encoder.layers.0.adapter.up_proj.weight", r"with more in it than vistag runs .*adapter"),
    ],
)  # fmt: skip
def test_weights_that_are_of_another_network_are_refused(
    taken: str | None, given: str | None, told: str, tmp_path: Path
) -> None:
    save_hub_text(tmp_path)
    weights = {name: value for name, value in tiny_weights().items() if name != taken}
    save_file(_apart(weights | ({given: torch.zeros(2, 2)} if given else {})), tmp_path / WEIGHTS)
    with pytest.raises(ModelUnavailableError, match=told):
        captioner(tmp_path).load()


def test_settings_that_cannot_be_read_are_told(fairseq: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(fairseq, tmp_path / "broken")
    (broken / "dict.txt").write_text("0 1\n")
    with pytest.raises(ModelUnavailableError, match=r"broken: its tokenizer .* cannot be read"):
        captioner(broken).load()
    shutil.copy(fairseq / "dict.txt", broken)
    (broken / "preprocessor_config.json").write_text('{"size": 100}')
    with pytest.raises(ModelUnavailableError, match=r"images of 100 px, where a multiple of 16 is wanted"):
        captioner(broken).load()


@pytest.mark.slow
def test_a_pickle_that_asks_for_more_than_settings_is_refused(tmp_path: Path) -> None:
    """What fairseq keeps beside the weights is read; that is no door for anything else."""
    code = (
        "import argparse, os, sys, torch\n"
        "class Evil(argparse.Namespace):\n"
        "    def __reduce__(self): return os.system, ('touch ' + sys.argv[2],)\n"
        "torch.save({'model': {'w': torch.zeros(1)}, 'cfg': Evil()}, sys.argv[1])\n"
    )
    source, trace = tmp_path / "evil.pt", tmp_path / "ran"
    subprocess.run([sys.executable, "-c", code, str(source), str(trace)], check=True)
    with pytest.raises(Exception, match=r"asks for (posix|os)\.system"):
        convert(source, tmp_path / WEIGHTS)
    assert not trace.exists()


def _apart(weights: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in weights.items()}
