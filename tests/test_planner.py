"""What does not fit a card is refused, and what to change is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_checkpoint import save_tiny_siglip

from resources.checkpoints import DeviceUnavailableError, ModelSpec
from resources.encoders import EncoderSpec
from resources.registry import registry
from resources.tiers import TierError, load_tier, model_specs, tier_names
from resources.tiers.planner import CONTEXT_GIB, alone_gib, misfit, plan
from resources.workbench import require_card


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


def test_our_tiers_fit_their_cards_and_so_does_every_alternate() -> None:
    for name in tier_names():
        tier = load_tier(name)
        if tier.vram_gib is None:
            continue
        models = model_specs(tier)
        assert misfit(models, tier.vram_gib) is None
        for role, alternates in tier.alternates.items():
            for model in alternates:
                swapped = models[role].model_copy(update={"model": model})
                spec = type(swapped).model_validate(
                    swapped.model_dump(exclude={"family", "licence", "dtype", "batch_size", "revision"})
                )
                assert misfit(models | {role: spec}, tier.vram_gib) is None, (name, role, model)


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
