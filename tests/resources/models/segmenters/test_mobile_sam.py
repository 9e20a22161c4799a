"""MobileSAM against a forward of its own state dict that is written out here, plainly, a box at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from image_zoo import picture
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_mobile_sam import DEPTHS, HEADS, WIDTHS, WINDOWS, mobile_sam_state_dict, save_tiny_mobile_sam
from torch import Tensor
from torch.nn import functional as f

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.segmenters import SegmenterSpec
from resources.models.segmenters.mobile_sam import MobileSam

SIDE_PX = 1024
SIZES = [(128, 128), (97, 201)]
IMAGES = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
BOXES = np.array([[0.1, 0.2, 0.3, 0.6], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], dtype=np.float32)
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_mobile_sam(tmp_path_factory.mktemp("mobile-sam"))


def segmenter(checkpoint: Path, **changes: object) -> MobileSam:
    fields = {
        "family": "mobile-sam",
        "model": str(checkpoint),
        "batch_size": 2,
        "licence": "Apache-2.0",
        "dtype": "float32",
    }
    made = make_model(SegmenterSpec.model_validate(fields | changes), "cpu")
    assert isinstance(made, MobileSam)
    return made


# ---- the reference


def dense(w: Weights, name: str, x: Tensor) -> Tensor:
    return f.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return f.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def norm_2d(w: Weights, name: str, x: Tensor) -> Tensor:
    """Over the channels of [n, channels, rows, columns]."""
    centred = x - x.mean(dim=1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(dim=1, keepdim=True) + 1e-6).sqrt()
    return scaled * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def conv_bn(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel = w[f"{name}.c.weight"]
    groups = x.shape[1] if kernel.shape[1] == 1 and x.shape[1] > 1 else 1
    x = f.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
    mean, var = w[f"{name}.bn.running_mean"], w[f"{name}.bn.running_var"]
    scale = w[f"{name}.bn.weight"] / (var + 1e-5).sqrt()
    return x * scale[:, None, None] + (w[f"{name}.bn.bias"] - mean * scale)[:, None, None]


def windowed(w: Weights, name: str, x: Tensor, window: int, heads: int) -> Tensor:
    """Attention within windows of [channels, rows, columns], padded with zeros at the right and below."""
    _, rows, columns = x.shape
    padded = f.pad(x, (0, -columns % window, 0, -rows % window))
    cells = [(a, b) for a in range(window) for b in range(window)]
    offsets: dict[tuple[int, int], int] = {}
    places = [
        [offsets.setdefault((abs(a - c), abs(b - d)), len(offsets)) for c, d in cells] for a, b in cells
    ]
    bias = w[f"{name}.attention_biases"][:, torch.tensor(places)]
    answer = torch.zeros_like(padded)
    for top in range(0, padded.shape[1], window):
        strip = padded[:, top : top + window].unflatten(2, (-1, window)).permute(2, 1, 3, 0).flatten(1, 2)
        qkv = dense(w, f"{name}.qkv", norm(w, f"{name}.norm", strip)).unflatten(2, (heads, -1))
        q, k, v = (part.transpose(1, 2) for part in qkv.chunk(3, dim=3))
        found = f.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + bias, dim=-1) @ v
        mixed = dense(w, f"{name}.proj", found.transpose(1, 2).flatten(2))
        answer[:, top : top + window] = mixed.unflatten(1, (window, window)).permute(3, 1, 0, 2).flatten(2)
    return answer[:, :rows, :columns]


def encode(w: Weights, pixels: Tensor) -> Tensor:
    """[1, hidden, 64, 64] of [1, 3, 1024, 1024]."""
    name = "image_encoder"
    x = conv_bn(w, f"{name}.patch_embed.seq.2", f.gelu(conv_bn(w, f"{name}.patch_embed.seq.0", pixels, 2)), 2)
    for stage in range(len(WIDTHS)):
        for number in range(DEPTHS[stage]):
            block = f"{name}.layers.{stage}.blocks.{number}"
            if stage == 0:
                inner = f.gelu(conv_bn(w, f"{block}.conv1", x))
                x = f.gelu(x + conv_bn(w, f"{block}.conv3", f.gelu(conv_bn(w, f"{block}.conv2", inner))))
                continue
            x = x + windowed(w, f"{block}.attn", x[0], WINDOWS[stage], HEADS[stage])
            x = conv_bn(w, f"{block}.local_conv", x)
            rows = norm(w, f"{block}.mlp.norm", x.movedim(1, 3))
            x = x + dense(w, f"{block}.mlp.fc2", f.gelu(dense(w, f"{block}.mlp.fc1", rows))).movedim(3, 1)
        if stage + 1 < len(WIDTHS):
            merge = f"{name}.layers.{stage}.downsample"
            x = f.gelu(conv_bn(w, f"{merge}.conv1", x))
            x = f.gelu(conv_bn(w, f"{merge}.conv2", x, stride=1 if stage == len(WIDTHS) - 2 else 2))
            x = conv_bn(w, f"{merge}.conv3", x)
    x = norm_2d(w, f"{name}.neck.1", f.conv2d(x, w[f"{name}.neck.0.weight"]))
    return norm_2d(w, f"{name}.neck.3", f.conv2d(x, w[f"{name}.neck.2.weight"], padding=1))


def placed(w: Weights, points: Tensor) -> Tensor:
    """[..., hidden] of x and y in 0..1."""
    turns = 2 * math.pi * (2 * points - 1) @ w["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    return torch.cat([turns.sin(), turns.cos()], dim=-1)


def attention(w: Weights, name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (
        dense(w, f"{name}.{part}_proj", x).unflatten(1, (8, -1)).transpose(0, 1)
        for part, x in (("q", q), ("k", k), ("v", v))
    )
    found = f.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1) @ v
    return dense(w, f"{name}.out_proj", found.transpose(0, 1).flatten(1))


def mlp(w: Weights, name: str, x: Tensor) -> Tensor:
    for place in range(2):
        x = f.relu(dense(w, f"{name}.layers.{place}", x))
    return dense(w, f"{name}.layers.2", x)


def decode(w: Weights, image: Tensor, corners: Tensor) -> tuple[Tensor, float]:
    """(logits [256, 256], estimated IoU) for a box whose corners [2, 2] are pixels of the square."""
    points = placed(w, (corners + 0.5) / SIDE_PX)
    points = points + torch.cat([w[f"prompt_encoder.point_embeddings.{n}.weight"] for n in (2, 3)])
    tokens = torch.cat([w["mask_decoder.iou_token.weight"], w["mask_decoder.mask_tokens.weight"], points])
    side = image.shape[-1]
    middles = (torch.arange(side) + 0.5) / side
    where = placed(w, torch.stack(torch.meshgrid(middles, middles, indexing="xy"), dim=-1)).flatten(0, 1)
    keys = (image + w["prompt_encoder.no_mask_embed.weight"][0][:, None, None])[0].flatten(1).T
    queries = tokens
    for number in range(2):
        layer = f"mask_decoder.transformer.layers.{number}"
        own = queries if number == 0 else queries + tokens
        looked = attention(w, f"{layer}.self_attn", own, own, queries)
        queries = norm(w, f"{layer}.norm1", looked if number == 0 else queries + looked)
        name = f"{layer}.cross_attn_token_to_image"
        queries = norm(
            w, f"{layer}.norm2", queries + attention(w, name, queries + tokens, keys + where, keys)
        )
        inner = f.relu(dense(w, f"{layer}.mlp.lin1", queries))
        queries = norm(w, f"{layer}.norm3", queries + dense(w, f"{layer}.mlp.lin2", inner))
        name = f"{layer}.cross_attn_image_to_token"
        keys = norm(w, f"{layer}.norm4", keys + attention(w, name, keys + where, queries + tokens, queries))
    name = "mask_decoder.transformer.final_attn_token_to_image"
    queries = queries + attention(w, name, queries + tokens, keys + where, keys)
    queries = norm(w, "mask_decoder.transformer.norm_final_attn", queries)
    up, x = "mask_decoder.output_upscaling", keys.T.unflatten(1, (side, side))[None]
    x = f.conv_transpose2d(x, w[f"{up}.0.weight"], w[f"{up}.0.bias"], stride=2)
    x = f.gelu(
        f.conv_transpose2d(f.gelu(norm_2d(w, f"{up}.1", x)), w[f"{up}.3.weight"], w[f"{up}.3.bias"], stride=2)
    )
    drawn = torch.tensordot(mlp(w, "mask_decoder.output_hypernetworks_mlps.0", queries[1]), x[0], dims=1)
    return drawn, float(mlp(w, "mask_decoder.iou_prediction_head", queries[0])[0])


def reference(w: Weights, image: Image.Image) -> tuple[np.ndarray, list[float], Tensor]:
    """(masks [boxes, height, width], IoUs, logits [boxes, 256, 256]): SAM's own way from pixels to pixels."""
    scale = SIDE_PX / max(image.size)
    width, height = (int(side * scale + 0.5) for side in image.size)
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized, np.float32)).permute(2, 0, 1)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    square = f.pad((pixels - mean) / std, (0, SIDE_PX - width, 0, SIDE_PX - height))[None]
    embedded = encode(w, square)
    masks, scores, logits = [], [], []
    for x, y, box_width, box_height in BOXES.tolist():
        corners = torch.tensor(
            [[x * width, y * height], [(x + box_width) * width, (y + box_height) * height]]
        )
        drawn, score = decode(w, embedded, corners)
        large = f.interpolate(drawn[None, None], (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
        small = f.interpolate(
            large[..., :height, :width], image.size[::-1], mode="bilinear", align_corners=False
        )
        masks.append((small[0, 0] > 0).numpy())
        scores.append(score)
        logits.append(drawn)
    return np.stack(masks), scores, torch.stack(logits)


# ---- against it


@pytest.mark.slow
def test_mobile_sam_equals_a_plain_forward_of_its_own_state_dict(checkpoint: Path) -> None:
    weights, ours = mobile_sam_state_dict(), segmenter(checkpoint)
    spread, varied = [], []
    with torch.inference_mode():
        for image in IMAGES:
            masks, scores, logits = reference(weights, image)
            found = ours.segment(image, BOXES)
            # resizing rounds to a level in another place
            np.testing.assert_allclose(found.scores, np.clip(scores, 0, 1), atol=2e-3)
            assert found.masks.shape == masks.shape
            assert (found.masks != masks).mean() < 5e-3
            assert found.methods == ("mobile-sam",) * len(BOXES)
            spread.append(np.ptp(scores))
            varied.append(float(logits.std(dim=(1, 2)).min()))
            assert 0.01 < masks.mean() < 0.99
    assert max(spread) > 0.01  # random weights, and yet the answers depend on the box
    assert min(varied) > 0.05


def test_the_encoder_and_the_decoder_equal_it_number_by_number(checkpoint: Path) -> None:
    weights, model = mobile_sam_state_dict(), segmenter(checkpoint).model
    pixels = torch.randn(1, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        expected = encode(weights, pixels)
        found = model.get_image_embeddings(pixels)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert found.shape[-2:] == (64, 64)
        corners = torch.tensor([[100.0, 60.0], [700.0, 900.0]])
        drawn, score = decode(weights, expected, corners)
        answer = model(image_embeddings=found, input_boxes=corners.view(1, 1, 4), multimask_output=False)
        torch.testing.assert_close(answer.pred_masks[0, 0, 0], drawn, atol=1e-4, rtol=1e-3)
        assert float(answer.iou_scores[0, 0, 0]) == pytest.approx(score, abs=1e-4)


@pytest.mark.slow
def test_a_box_has_the_same_mask_in_every_batch(checkpoint: Path) -> None:
    one, many = (segmenter(checkpoint, batch_size=size).segment(IMAGES[0], BOXES) for size in (1, 64))
    np.testing.assert_allclose(one.scores, many.scores, atol=1e-5)
    assert (one.masks != many.masks).mean() < 1e-3
    none = segmenter(checkpoint).segment(IMAGES[0], np.zeros((0, 4), np.float32))
    assert none.masks.shape == (0, *IMAGES[0].size[::-1])


def test_what_is_not_there_says_how_to_make_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISTAG_MODELS", str(tmp_path))
    spec = SegmenterSpec.model_validate("mobile-sam")
    assert (spec.family, spec.licence) == ("mobile-sam", "Apache-2.0")
    with pytest.raises(
        ModelUnavailableError, match=r"no mobile_sam\.safetensors.*vistag convert mobile_sam\.pt"
    ):
        make_model(spec, "cpu")
    weights = load_file(checkpoint / "mobile_sam.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    (tmp_path / "mobile-sam").mkdir()
    save_file(weights, tmp_path / "mobile-sam" / "mobile_sam.safetensors")
    with pytest.raises(
        ModelUnavailableError, match=r"lacks weights of its model: mask_decoder\.iou_token\.weight"
    ):
        make_model(spec, "cpu").load()
    save_file({"a": torch.zeros(1)}, tmp_path / "mobile-sam" / "mobile_sam.safetensors")
    with pytest.raises(ModelUnavailableError, match="holds no weights of MobileSAM"):
        make_model(spec.model_copy(update={"batch_size": 3}), "cpu").load()
