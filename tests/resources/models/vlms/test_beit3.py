"""BEiT-3 against a forward that is written out here, over the names of the published weights, one picture at a time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_parity import ATOL, assert_same, pictures, spec_of
from PIL import Image
from plain_decoding import by_beams, greedily
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from tiny_beit3 import LAYERS, PATCH_PX, SIDE, WIDTH, save_pieces, tiny_weights
from torch import Tensor
from torch.nn import functional

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.convert import convert
from resources.models.vlms import Vlm
from resources.models.vlms.beit3.checkpoint import WEIGHTS, processor

TOKENS = 10
CLS, END, HEADS = 0, 2, 2


class Plain:
    """The published names over picture, words and mask in one sequence, without a cache."""

    def __init__(self, weights: dict[str, Tensor], mask: int) -> None:
        self.weights = {name: value.double() for name, value in weights.items()}
        self.mask = mask

    def __call__(self, image: Image.Image, words: list[int]) -> Tensor:
        """Log-probabilities [vocabulary] of the word after `words`."""
        px = SIDE * PATCH_PX
        pixels = torch.tensor(
            np.asarray(image.convert("RGB").resize((px, px), Image.Resampling.BICUBIC)) / 127.5 - 1
        )
        kernel = self.weights["beit3.vision_embed.proj.weight"].flatten(1)
        cells = [
            kernel
            @ pixels[r * PATCH_PX : (r + 1) * PATCH_PX, c * PATCH_PX : (c + 1) * PATCH_PX]
            .permute(2, 0, 1)
            .flatten()
            + self.weights["beit3.vision_embed.proj.bias"]
            for r in range(SIDE)
            for c in range(SIDE)
        ]
        picture = torch.stack([self.weights["beit3.vision_embed.cls_token"][0, 0], *cells])
        picture = picture + self.weights["beit3.encoder.embed_positions.A.weight"][2 : 2 + len(picture)]
        text = self.weights["beit3.text_embed.weight"][[*words, self.mask]]
        text = text + self.weights["beit3.encoder.embed_positions.B.weight"][2 : 2 + len(text)]
        self.split = len(picture)
        x = torch.cat([picture, text])
        unseen = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        unseen[: self.split, : self.split] = False
        for layer in range(LAYERS):
            start = f"beit3.encoder.layers.{layer}"
            y = self.both(f"{start}.self_attn_layer_norm.{{}}", x, self.norm)
            x = x + self.attend(f"{start}.self_attn", y, unseen)
            x = x + self.both(
                f"{start}.ffn.{{}}", self.both(f"{start}.final_layer_norm.{{}}", x, self.norm), self.think
            )
        last = self.norm("beit3.encoder.layer_norm.B", x[-1:])
        return self.linear("mlm_head", last)[0].log_softmax(0)

    def both(self, name: str, x: Tensor, way: Callable[[str, Tensor], Tensor]) -> Tensor:
        return torch.cat([way(name.format("A"), x[: self.split]), way(name.format("B"), x[self.split :])])

    def attend(self, start: str, x: Tensor, unseen: Tensor) -> Tensor:
        q, k, v = (
            self.both(f"{start}.{name}_proj.{{}}", x, self.linear).chunk(HEADS, dim=1) for name in "qkv"
        )
        found = []
        for head in range(HEADS):
            scores = (q[head] @ k[head].T / math.sqrt(WIDTH // HEADS)).masked_fill(unseen, -math.inf)
            found.append(scores.softmax(-1) @ v[head])
        return self.both(
            f"{start}.out_proj.{{}}",
            self.both(f"{start}.inner_attn_ln.{{}}", torch.cat(found, 1), self.norm),
            self.linear,
        )

    def think(self, name: str, x: Tensor) -> Tensor:
        return self.linear(
            f"{name}.fc2", self.norm(f"{name}.ffn_layernorm", functional.gelu(self.linear(f"{name}.fc1", x)))
        )

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        apart = x - x.mean(-1, keepdim=True)
        spread = (apart.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return apart / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pickle as it is published, converted, and the sentence pieces."""
    directory = tmp_path_factory.mktemp("beit3")
    save_pieces(directory)
    torch.save({"model": tiny_weights()}, directory / "beit3_base_patch16_480_coco_captioning.pth")
    convert(directory / "beit3_base_patch16_480_coco_captioning.pth", directory / WEIGHTS)
    return directory


def captioner(directory: Path, **changes: object) -> Vlm:
    return make_model(spec_of(directory, family="beit-3", batch_size=3, **changes), "cpu")


def plain_of(directory: Path) -> Plain:
    return Plain(load_file(directory / WEIGHTS), pieces_of(directory).vocab_size() + 1)


def pieces_of(directory: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(directory / "beit3.spm"))


def text_of(directory: Path, ids: list[int]) -> str:
    """By the rule of XLM-R: ids of fairseq, one above those of the pieces, specials left out."""
    pieces = pieces_of(directory)
    return str(pieces.decode([id_ - 1 for id_ in ids if 4 <= id_ <= pieces.vocab_size()])).strip()


def test_captions_equal_a_plain_forward_of_the_published_names(published: Path) -> None:
    plain = plain_of(published)
    answers = captioner(published).answer(pictures(), [""] * 8, max_tokens=TOKENS)
    texts = set()
    for answer, image in zip(answers, pictures(), strict=True):
        ids, logprobs = greedily(partial(plain, image), CLS, END, TOKENS)
        length = ids.index(END) if END in ids else len(ids)
        assert answer.text == text_of(published, ids[:length])  # type: ignore[union-attr]
        np.testing.assert_allclose(answer.logprobs, logprobs[:length], atol=ATOL)  # type: ignore[union-attr]
        assert answer.finished == (END in ids)  # type: ignore[union-attr]
        texts.add(answer.text)  # type: ignore[union-attr]
    assert len(texts) > 2


def test_beams_equal_those_of_the_plain_forward(published: Path) -> None:
    plain, images = plain_of(published), pictures()[:3]
    answers = captioner(published, beams=3).answer(images, [""] * 3, max_tokens=TOKENS)
    for answer, image in zip(answers, images, strict=True):
        ids = by_beams(partial(plain, image), CLS, END, TOKENS, beams=3)
        assert answer.text == text_of(published, [id_ for id_ in ids if id_ != END])  # type: ignore[union-attr]


def test_a_picture_does_not_depend_on_its_batch_mates(published: Path) -> None:
    ours = captioner(published)
    together = ours.answer(pictures(), [""] * 8, max_tokens=TOKENS)
    for image, answer in zip(pictures(), together, strict=True):
        [alone] = ours.answer([image], [""], max_tokens=TOKENS)
        assert_same(alone, answer)  # type: ignore[arg-type]


def test_the_side_of_pictures_is_that_of_the_positions(published: Path) -> None:
    assert processor(published).side_px == SIDE * PATCH_PX


def test_a_folder_without_its_files_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailableError,
        match=r"needs beit3\.safetensors and beit3\.spm.*vistag convert .*--to beit3\.safe",
    ):
        captioner(tmp_path)


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        ("mlm_head.weight", r"is a BEiT-3 without mlm_head\.weight: not one of its captioners"),
        ("beit3.vision_embed.proj.weight", r"holds no weights of BEiT-3 \('beit3\.vision_embed"),
        (
            "beit3.encoder.layers.1.self_attn.q_proj.B.bias",
            r"lacks weights of its model: beit3\.encoder\.layers\.1",
        ),
    ],
)
def test_weights_that_are_none_of_a_captioner_are_refused(
    taken: str, told: str, published: Path, tmp_path: Path
) -> None:
    shutil.copy(published / "beit3.spm", tmp_path)
    save_file({name: value for name, value in tiny_weights().items() if name != taken}, tmp_path / WEIGHTS)
    with pytest.raises(ModelUnavailableError, match=told):
        captioner(tmp_path).load()


def test_pieces_that_cannot_be_read_are_told(published: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(published, tmp_path / "broken")
    (broken / "beit3.spm").write_bytes(b"no pieces")
    with pytest.raises(ModelUnavailableError, match=r"beit3\.spm holds no sentence pieces"):
        captioner(broken).load()
