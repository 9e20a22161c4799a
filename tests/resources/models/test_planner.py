"""What does not fit a card is refused, and what to change is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoint import save_tiny_siglip

from benchmarks.memory import ARCHITECTURES, Architecture, parameters_m
from resources.models.checkpoints import DeviceUnavailableError, ModelSpec
from resources.models.detectors import DetectorSpec
from resources.models.encoders import EncoderSpec
from resources.models.registry import registry
from resources.models.segmenters import SegmenterSpec
from resources.models.tiers import Tier, TierError, load_tier, model_specs, tier_names
from resources.models.tiers.planner import CONTEXT_GIB, alone_gib, misfit, plan
from resources.models.vlms import VlmSpec
from resources.workspace import require_card


def encoder(model: str, **fields: object) -> dict[str, ModelSpec]:
    return {"encoder": EncoderSpec.model_validate({"model": model} | fields)}


def test_weights_are_the_parameters_at_their_precision() -> None:
    (half,) = plan(encoder("google/siglip2-base-patch16-256"), 16).shares
    (full,) = plan(encoder("google/siglip2-base-patch16-256", dtype="float32"), 16).shares
    assert half.weights_gib == pytest.approx(375e6 * 2 / 2**30)
    assert full.weights_gib == 2 * half.weights_gib


def test_weights_add_up_and_of_the_working_sets_the_largest_counts() -> None:
    one, other = "google/siglip2-base-patch16-256", "google/siglip2-giant-opt-patch16-384"
    both = plan(encoder(one) | {"second": encoder(other)["encoder"]}, 16)
    working = max(share.working_gib for share in both.shares)
    assert both.needed_gib == pytest.approx(sum(s.weights_gib for s in both.shares) + working + CONTEXT_GIB)
    twice = plan(encoder(one) | {"second": encoder(one)["encoder"]}, 16)
    assert twice.needed_gib == plan(encoder(one), 16).needed_gib


def test_a_directory_is_as_large_as_its_tensors(tmp_path: Path) -> None:
    from transformers import AutoModel

    directory = save_tiny_siglip(tmp_path / "tiny")
    (share,) = plan(encoder(str(directory), family="siglip", licence="own"), 16).shares
    parameters = AutoModel.from_pretrained(directory).num_parameters()
    assert share.weights_gib == pytest.approx(parameters * 4 / 2**30)
    assert share.known


def with_alternate(tier: Tier, role: str, alternate: str | dict[str, Any]) -> Tier:
    """The tier with one of its alternates: a model, or a few fields of the role's. Raises KeyError where it has no such role."""
    spec = model_specs(tier)[role]
    changes = {"model": alternate} if isinstance(alternate, str) else dict(alternate)
    kept = spec.model_dump(exclude_unset=True, exclude={"family", "licence", "revision", "dtype"})
    for field, value in changes.items():
        kept[field] = kept[field] | value if isinstance(value, dict) else value
    return tier.model_copy(update={role: type(spec).model_validate(kept)})


def test_our_tiers_fit_their_cards_and_so_does_every_alternate() -> None:
    for name in tier_names():
        tier = load_tier(name)
        if tier.vram_gib is None:
            continue
        models = model_specs(tier)
        assert misfit(models, tier.vram_gib) is None
        for role, alternates in tier.alternates.items():
            for alternate in alternates:
                swapped = model_specs(with_alternate(tier, role, alternate))
                assert registry().find(swapped[role].role, swapped[role].model), alternate
                assert misfit(swapped, tier.vram_gib) is None, (name, role, alternate)


def test_a_tier_for_a_gpu_says_how_large_the_card_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        json.dumps(
            {"description": "d", "device": "cuda", "encoder": {"model": "google/siglip2-base-patch16-256"}}
        )
    )
    with pytest.raises(TierError, match="vram_gib: say how many GiB"):
        load_tier(str(path))


def test_a_gpu_tier_without_its_gpu_is_refused_before_any_work() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    for name in tier_names():
        tier = load_tier(name)
        if tier.device == "cuda":
            with pytest.raises(DeviceUnavailableError, match="--tier cpu"):
                require_card(tier)


def test_every_row_needs_more_than_its_weights() -> None:
    for family in registry().families:
        for row in family.checkpoints:
            assert alone_gib(row) >= row.weights_gib + CONTEXT_GIB


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.model)
def test_parameters_of_the_table_are_those_of_the_architecture(architecture: Architecture) -> None:
    known = registry().find(architecture.role, architecture.model)
    assert known is not None
    assert known[1].parameters_m == pytest.approx(parameters_m(architecture), rel=0.02)


def test_72_billion_parameters_at_16_bits_do_not_fit_96_gb_and_what_does_is_said() -> None:
    large = VlmSpec.model_validate({"model": "Qwen/Qwen2.5-VL-72B-Instruct", "batch_size": 1})
    problem = misfit({"vlm": large}, 96)
    assert problem is not None
    assert "weights 136.7 GiB" in problem
    assert "vlm: model: RedHatAI/Qwen2.5-VL-72B-Instruct-FP8-dynamic" in problem
    assert "vlm: model: Qwen/Qwen2.5-VL-72B-Instruct-AWQ" in problem
    quantised = VlmSpec.model_validate({"model": "Qwen/Qwen2.5-VL-72B-Instruct-AWQ", "batch_size": 1})
    assert misfit({"vlm": quantised}, 96) is None


def test_yolo_sam_h_florence_l_and_a_vlm_do_not_fit_16_gb() -> None:
    crowd: dict[str, ModelSpec] = {
        "encoder": EncoderSpec.model_validate({"model": "google/siglip2-so400m-patch14-384"}),
        "detector": DetectorSpec.model_validate({"model": "yolov8x.onnx"}),
        "segmenter": SegmenterSpec.model_validate({"model": "facebook/sam-vit-huge"}),
        "vlm": VlmSpec.model_validate({"model": "florence-community/Florence-2-large", "batch_size": 8}),
        "heavy_vlm": VlmSpec.model_validate({"model": "Qwen/Qwen2.5-VL-7B-Instruct"}),
    }
    problem = misfit(crowd, 16)
    assert problem is not None
    assert problem.index("heavy_vlm: Qwen") < problem.index("vlm: florence")  # the largest first
    assert "leave heavy_vlm out" in problem
    assert misfit({role: spec for role, spec in crowd.items() if role != "heavy_vlm"}, 16) is None


def test_a_server_holds_its_share_and_a_model_that_its_share_does_not_hold_is_refused() -> None:
    served = {"model": "Qwen/Qwen3-VL-8B-Instruct-FP8", "engine": "openai"}
    roomy = VlmSpec.model_validate(served | {"server": {"gpu_memory_share": 0.8}})
    assert plan({"vlm": roomy}, 24).needed_gib == pytest.approx(0.8 * 24)
    tight = VlmSpec.model_validate(served | {"server": {"gpu_memory_share": 0.3}})
    problem = misfit({"vlm": tight}, 24)
    assert problem is not None
    assert problem.startswith("The server of vlm gets 7.2 GiB and needs")
    enough = re.search(r"gpu_memory_share: ([\d.]+)", problem)
    assert enough is not None
    mended = VlmSpec.model_validate(served | {"server": {"gpu_memory_share": float(enough[1])}})
    assert misfit({"vlm": mended}, 24) is None
    elsewhere = VlmSpec.model_validate(
        served | {"server": {"base_url": "http://10.0.0.2:8000/v1", "insecure": True}}
    )
    assert plan({"vlm": elsewhere}, 16).shares == ()


def test_a_server_that_takes_too_few_tokens_for_an_image_is_refused() -> None:
    short = {
        "model": "llava-hf/llava-v1.6-mistral-7b-hf",
        "engine": "openai",
        "server": {"max_model_len": 2048},
    }
    problem = misfit({"vlm": VlmSpec.model_validate(short)}, 24)
    assert problem is not None
    assert "server.max_model_len is 2048. Raise it to 4016 or more" in problem


def test_a_tier_that_does_not_fit_is_refused_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    tier = {
        "description": "d", "device": "cuda", "vram_gib": 16,
        "encoder": {"model": "google/siglip2-base-patch16-256"},
        "vlm": {"model": "Qwen/Qwen3-VL-32B-Instruct", "batch_size": 1},
    }  # fmt: skip
    path.write_text(json.dumps(tier))
    with pytest.raises(TierError, match=r"mine.yaml: The models need .* GiB(?s:.*)leave vlm out"):
        load_tier(str(path))
