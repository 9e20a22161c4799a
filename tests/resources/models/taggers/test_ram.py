"""RAM++, RAM and Tag2Text against a forward of their own state dict that is written out here, plainly."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_zoo import picture
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_encoders import save_tiny_clip
from tiny_taggers import (
    DEPTHS,
    DESCRIPTIONS,
    HEADS,
    LABEL_WIDTH,
    SIDE_PX,
    TAGS,
    WINDOW,
    ram_state_dict,
    save_tiny_ram,
)
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, normalize, relu, softmax

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.encoders import EncoderSpec
from resources.models.taggers import AskedTag, TaggerSpec
from resources.models.taggers.ram import RamTagger

FAMILIES = ("ram-plus", "ram", "tag2text")
SIZES = [(64, 64), (97, 61), (300, 31), (33, 201), (17, 23)]
IMAGES = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]


# ---- the reference: one image, one window, one head, one tag at a time


def dense(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w: dict[str, Tensor], name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    return softmax(q @ k.T / math.sqrt(q.shape[1]) + bias, dim=-1) @ v


def window_attention(
    w: dict[str, Tensor], name: str, x: Tensor, heads: int, cells: list[tuple[int, int]], same: Tensor
) -> Tensor:
    """x [cells, width] of one window; `same`: which cells may look at each other."""
    q, k, v = dense(w, f"{name}.qkv", x).chunk(3, dim=-1)
    table, side = w[f"{name}.relative_position_bias_table"], 2 * WINDOW - 1
    parts = []
    for head in range(heads):
        bias = torch.tensor(
            [
                [table[(a - c + WINDOW - 1) * side + b - d + WINDOW - 1, head] for c, d in cells]
                for a, b in cells
            ]
        )
        part = slice(head * q.shape[1] // heads, (head + 1) * q.shape[1] // heads)
        parts.append(attend(q[:, part], k[:, part], v[:, part], bias + (~same) * -100.0))
    return dense(w, f"{name}.proj", torch.cat(parts, dim=1))


def swin(w: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """[1 + cells, width]: the mean of the last cells, then these, of pixels [3, side, side]."""
    x = torch.nn.functional.conv2d(
        pixels[None],
        w["visual_encoder.patch_embed.proj.weight"],
        w["visual_encoder.patch_embed.proj.bias"],
        stride=4,
    )[0].permute(1, 2, 0)
    x = norm(w, "visual_encoder.patch_embed.norm", x)
    cells = [(a, b) for a in range(WINDOW) for b in range(WINDOW)]
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        side = x.shape[0]
        for number in range(depth):
            block = f"visual_encoder.layers.{stage}.blocks.{number}"
            shift = WINDOW // 2 if number % 2 and side > WINDOW else 0
            normed = norm(w, f"{block}.norm1", x)
            looked = torch.zeros_like(x)
            for top in range(0, side, WINDOW):
                for left in range(0, side, WINDOW):
                    # where the cells of this window come from, and whether they went around the edge on the way
                    places = [((top + a + shift) % side, (left + b + shift) % side) for a, b in cells]
                    around = [(top + a + shift >= side, left + b + shift >= side) for a, b in cells]
                    same = torch.tensor([[one == other for other in around] for one in around])
                    found = window_attention(
                        w,
                        f"{block}.attn",
                        torch.stack([normed[place] for place in places]),
                        heads,
                        cells,
                        same,
                    )
                    for place, value in zip(places, found, strict=True):
                        looked[place] = value
            x = x + looked
            x = x + dense(
                w, f"{block}.mlp.fc2", gelu(dense(w, f"{block}.mlp.fc1", norm(w, f"{block}.norm2", x)))
            )
        if stage + 1 < len(DEPTHS):
            merge = f"visual_encoder.layers.{stage}.downsample"
            four = torch.cat([x[a::2, b::2] for b in (0, 1) for a in (0, 1)], dim=-1)
            x = dense(w, f"{merge}.reduction", norm(w, f"{merge}.norm", four))
    x = norm(w, "visual_encoder.norm", x).flatten(0, 1)
    return torch.cat([x.mean(dim=0, keepdim=True), x])


def decode(w: dict[str, Tensor], queries: Tensor, tokens: Tensor) -> Tensor:
    for number in range(2):
        layer = f"tagging_head.encoder.layer.{number}"
        q, k, v = (
            dense(w, f"{layer}.crossattention.self.{part}", x)
            for part, x in (("query", queries), ("key", tokens), ("value", tokens))
        )
        heads = [
            attend(a, b, c) for a, b, c in zip(*(each.chunk(4, dim=1) for each in (q, k, v)), strict=True)
        ]
        mixed = dense(w, f"{layer}.crossattention.output.dense", torch.cat(heads, dim=1))
        found = norm(w, f"{layer}.crossattention.output.LayerNorm", mixed + queries, 1e-12)
        wide = gelu(dense(w, f"{layer}.intermediate.dense", found))
        queries = norm(w, f"{layer}.output.LayerNorm", dense(w, f"{layer}.output.dense", wide) + found, 1e-12)
    return queries


def reference(
    family: str, w: dict[str, Tensor], image: Image.Image, texts: list[Tensor] | None = None
) -> np.ndarray:
    """[tags], 0..1. `texts`: vectors [texts, label width] of each tag in place of its own."""
    seen = (
        np.asarray(image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR), np.float32)
        / 255
    )
    seen = (seen - np.array([0.485, 0.456, 0.406], np.float32)) / np.array([0.229, 0.224, 0.225], np.float32)
    tokens = swin(w, torch.from_numpy(seen).permute(2, 0, 1))
    if family == "tag2text":
        answer = decode(w, w["label_embed.weight"], tokens)
        return torch.sigmoid((answer * w["fc.W"][0]).sum(dim=1) + w["fc.b"][0]).numpy()
    tokens = dense(w, "image_proj", tokens)
    if texts is None:
        texts = list(w["label_embed"].split(DESCRIPTIONS if family == "ram-plus" else 1))
    said = []
    for own in texts:
        if family == "ram-plus":
            likeness = w["reweight_scale"].exp() * (own @ normalize(tokens[0], dim=0))
            said.append(softmax(likeness, dim=0) @ own)
        else:
            said.append(own[0])
    answer = decode(w, relu(dense(w, "wordvec_proj", torch.stack(said))), tokens)
    return torch.sigmoid(dense(w, "fc", answer))[:, 0].numpy()


# ---- against it


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: save_tiny_ram(family, tmp_path_factory.mktemp("ram") / family) for family in FAMILIES}


def tagger(family: str, directory: Path, **changes: object) -> RamTagger:
    fields = {
        "family": family,
        "model": str(directory),
        "batch_size": 3,
        "licence": "Apache-2.0",
        "dtype": "float32",
    }
    made = make_model(TaggerSpec.model_validate(fields | changes), "cpu")
    assert isinstance(made, RamTagger)
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_ram_equals_a_plain_forward_of_its_own_state_dict(family: str, checkpoints: dict[str, Path]) -> None:
    weights = ram_state_dict(family)
    ours = tagger(family, checkpoints[family])
    found = ours.score(IMAGES)
    expected = np.stack([reference(family, weights, image) for image in IMAGES])
    assert found.dtype == np.float32
    assert found.shape == (len(IMAGES), len(TAGS))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # random weights, and yet the answers depend on the tag and on the image
    assert (np.ptp(expected, axis=1) > 0.05).all()
    assert (np.ptp(expected, axis=0) > 0.01).any()
    assert ours.tag_list.names == TAGS


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_does_not_notice_its_batch_mates(family: str, checkpoints: dict[str, Path]) -> None:
    alone, together = (tagger(family, checkpoints[family], batch_size=size) for size in (1, 64))
    np.testing.assert_allclose(alone.score(IMAGES), together.score(IMAGES), atol=1e-6)
    assert alone.score([]).shape == (0, len(TAGS))


@pytest.mark.slow
def test_sixteen_bits_change_little(checkpoints: dict[str, Path]) -> None:
    full, half = (
        tagger("ram-plus", checkpoints["ram-plus"], dtype=dtype) for dtype in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(half.score(IMAGES), full.score(IMAGES), atol=0.1)
    assert half.fingerprint != full.fingerprint


# ---- the vocabulary in the place of its own tags

ASKED = (
    AskedTag(("bowl",), ("a photo of a bowl.", "a photo of the bowl.")),
    AskedTag(("Vase", "urn"), ("a photo of a vase.",)),
    AskedTag(("lamp",), ("a lamp", "the lamp", "an oil lamp", "a broken lamp")),
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


def embedded(clip: Path, texts: tuple[str, ...]) -> Tensor:
    encoder = make_model(EncoderSpec(family="clip", model=str(clip), licence="own"), "cpu")
    return torch.from_numpy(encoder.embed_texts(texts))


@pytest.mark.parametrize("family", ["ram-plus", "ram"])
def test_open_set_asks_the_texts_in_the_place_of_its_own_tags(
    family: str, checkpoints: dict[str, Path], clip: Path
) -> None:
    ours = tagger(family, checkpoints[family], open_set=True, text_model=str(clip))
    vectors = [embedded(clip, each.phrases) for each in ASKED]
    assert vectors[0].shape[1] == LABEL_WIDTH
    if family == "ram":
        vectors = [normalize(own.mean(dim=0, keepdim=True), dim=1) for own in vectors]
    expected = np.stack([reference(family, ram_state_dict(family), image, vectors) for image in IMAGES])
    found = ours.score(IMAGES, ASKED)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # its own tags stay what they were, and the order of what is asked is the order of the answers
    np.testing.assert_allclose(
        ours.score(IMAGES), tagger(family, checkpoints[family]).score(IMAGES), atol=1e-6
    )
    np.testing.assert_allclose(ours.score(IMAGES, ASKED[::-1]), found[:, ::-1], atol=1e-5)


@pytest.mark.slow
def test_descriptions_beside_the_weights_stand_for_the_phrases(
    checkpoints: dict[str, Path], clip: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(checkpoints["ram-plus"], tmp_path / "ram-plus")
    told = ["a tall vessel with a narrow neck", "a vessel for flowers", "glazed"]
    (directory / "llm_tag_descriptions.json").write_text(json.dumps([{"URN": told}, {"teapot": ["no"]}]))
    ours = tagger("ram-plus", directory, open_set=True, text_model=str(clip))
    vectors = [embedded(clip, texts) for texts in (ASKED[0].phrases, tuple(told), ASKED[2].phrases)]
    expected = np.stack(
        [reference("ram-plus", ram_state_dict("ram-plus"), image, vectors) for image in IMAGES]
    )
    np.testing.assert_allclose(ours.score(IMAGES, ASKED), expected, atol=1e-5)
    plain = tagger("ram-plus", checkpoints["ram-plus"], open_set=True, text_model=str(clip))
    assert plain.fingerprint != ours.fingerprint
    (directory / "llm_tag_descriptions.json").write_text('{"vase": "tall"}')
    with pytest.raises(ModelUnavailableError, match=r"llm_tag_descriptions.json: a list of names"):
        tagger("ram-plus", directory, open_set=True, text_model=str(clip), batch_size=2).score(IMAGES, ASKED)


@pytest.mark.slow
def test_a_text_model_of_another_width_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoints["ram"], tmp_path / "ram")
    weights = load_file(directory / "model.safetensors")
    weights["label_embed"] = torch.zeros(len(TAGS), LABEL_WIDTH + 4)
    weights["wordvec_proj.weight"] = torch.zeros(weights["wordvec_proj.weight"].shape[0], LABEL_WIDTH + 4)
    save_file(weights, directory / "model.safetensors")
    ours = tagger("ram", directory, open_set=True, text_model=str(save_tiny_clip(tmp_path / "clip")))
    with pytest.raises(
        ModelUnavailableError, match=rf"vectors of {LABEL_WIDTH}, and .* {LABEL_WIDTH + 4}: name the CLIP"
    ):
        ours.score(IMAGES, ASKED)


def test_open_set_is_for_those_that_can() -> None:
    with pytest.raises(ValueError, match="tag2text has tags of its own alone"):
        TaggerSpec(family="tag2text", model="./t", licence="own", open_set=True)
    with pytest.raises(ValueError, match="text_model is read with `open_set: true` alone"):
        TaggerSpec(family="ram", model="./t", licence="own", text_model="./clip")


# ---- files


def test_thresholds_are_their_makers_or_the_tiers(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    assert set(tagger("ram", checkpoints["ram"]).tag_list.thresholds.tolist()) == {np.float32(0.68)}
    own = [0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    directory = save_tiny_ram("ram-plus", tmp_path / "own", thresholds=own)
    np.testing.assert_allclose(tagger("ram-plus", directory).tag_list.thresholds, own)
    assert set(tagger("ram-plus", directory, threshold=0.5).tag_list.thresholds.tolist()) == {0.5}
    people = save_tiny_ram("tag2text", tmp_path / "people", tags=["man", "vase", "person"])
    np.testing.assert_allclose(tagger("tag2text", people).tag_list.thresholds, [0.7, 0.68, 0.7])
    (directory / "ram_tag_list_threshold.txt").write_text("0.5\n")
    with pytest.raises(ModelUnavailableError, match=r"has 1 thresholds, and ram_tag_list\.txt 6 tags"):
        _ = tagger("ram-plus", directory).tag_list


def test_embeddings_may_lie_in_a_file_of_their_own(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoints["ram-plus"], tmp_path / "apart")
    weights = load_file(directory / "model.safetensors")
    save_file(
        {"tensor": weights.pop("label_embed")},
        directory / "ram_plus_tag_embedding_class_4585_des_51.safetensors",
    )
    save_file(weights, directory / "model.safetensors")
    np.testing.assert_allclose(
        tagger("ram-plus", directory).score(IMAGES),
        tagger("ram-plus", checkpoints["ram-plus"]).score(IMAGES),
        atol=1e-6,
    )


def test_an_older_checkpoint_calls_its_decoder_otherwise(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    directory = shutil.copytree(checkpoints["ram"], tmp_path / "older")
    weights = load_file(directory / "model.safetensors")
    renamed = {name.replace("tagging_head.", "vision_multi."): value for name, value in weights.items()}
    save_file(renamed, directory / "model.safetensors")
    np.testing.assert_allclose(
        tagger("ram", directory).score(IMAGES), tagger("ram", checkpoints["ram"]).score(IMAGES), atol=1e-6
    )


def test_a_folder_that_is_not_ready_says_how_to_make_it_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    monkeypatch.setenv("VISTAG_MODELS", str(tmp_path))
    spec = TaggerSpec.model_validate("ram-plus")  # a line of a tier
    assert (spec.family, spec.model, spec.licence) == ("ram-plus", "ram-plus", "Apache-2.0")
    with pytest.raises(
        ModelUnavailableError,
        match=r"ram_tag_list.txt and \*.safetensors missing.*vistag convert FILE.pth --to ram-plus/",
    ):
        make_model(spec, "cpu")
    shutil.copytree(checkpoints["ram-plus"], tmp_path / "ram-plus")
    assert (
        make_model(TaggerSpec.model_validate({"model": "ram-plus", "batch_size": 5}), "cpu")
        .score(IMAGES)
        .shape[1]
        == 6
    )


def test_weights_and_lists_that_do_not_belong_together_are_refused(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    other = shutil.copytree(checkpoints["ram"], tmp_path / "other")
    (other / "ram_tag_list.txt").write_text("vase\nbowl")
    with pytest.raises(ModelUnavailableError, match="has 2 tags, and the weights beside it 6 embeddings"):
        tagger("ram", other).score(IMAGES)
    shutil.copy(other / "ram_tag_list.txt", other / "tag2text_ori_tag_list.txt")
    with pytest.raises(ModelUnavailableError, match="holds no weights of tag2text"):
        tagger("tag2text", other).load()
    weights = load_file(other / "model.safetensors")
    del weights["tagging_head.encoder.layer.1.output.dense.bias"]
    save_file(weights, other / "model.safetensors")
    with pytest.raises(ModelUnavailableError, match=r"lacks weights of its model: layers\.1\.narrow\.bias"):
        tagger("ram", other, batch_size=9).load()
