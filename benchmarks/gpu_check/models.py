"""The models of the tiers on a card: memory beside the planner's figure, speed, half precision beside single, a full card."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.architectures import ARCHITECTURES, Architecture, parameters_m
from benchmarks.gpu_check.checks import Check, Failed, Figures, Skipped
from benchmarks.tiny_checkpoint import save_tiny_siglip
from resources.models.batch_sizes import FILE, BatchSizes
from resources.models.checkpoints import ModelSpec, make_model
from resources.models.encoders import EncoderSpec
from resources.models.registry import registry
from resources.models.tiers import load_tier, model_specs, tier_names
from resources.models.tiers.planner import plan
from vistag_assets.isolation import Batch, isolated

MOST_OVER = 1.15
"""Planned for at most so many times what is measured, and never less than that."""
LEAST_COSINE = 0.99
"""Of outputs in the tier's precision and in float32, of the same weights."""
FEW_LAYERS, FEW_ITEMS = 2, 2
_PASSES = 5
_MIB, _GIB = 2**20, 2**30


def model_checks(device: str) -> Iterator[Check]:
    """Each model that a tier for a GPU runs in vistag's own process, once for each batch size."""
    seen = set[tuple[str, int]]()
    known = {architecture.model: architecture for architecture in ARCHITECTURES}
    for name in tier_names():
        tier = load_tier(name)
        for role, spec in model_specs(tier).items():
            if tier.device != "cuda" or spec.is_served or (spec.model, spec.batch_size) in seen:
                continue
            seen.add((spec.model, spec.batch_size))
            architecture = known.get(spec.model)
            yield Check(
                f"{role}, {spec.dtype}, {spec.batch_size} at a time",
                spec.model,
                lambda spec=spec, of=architecture, vram=tier.vram_gib: _measured(spec, of, vram or 0, device),  # type: ignore[misc]
                needs_s=40,
            )


def _measured(
    spec: ModelSpec[Any], architecture: Architecture | None, vram_gib: float, device: str
) -> Figures:
    """Raises Skipped where the architecture's published sizes are not written down here."""
    if architecture is None:
        raise Skipped("its configuration is not in benchmarks/architectures.py")
    dtype = getattr(torch, spec.dtype)
    if device == "cpu":
        return _counted(spec, architecture)
    planned_gib = plan({"model": spec}, vram_gib).shares[0].total_gib
    with torch.device(device):
        model = architecture.build().to(dtype)
    _settle()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        architecture.run(model, spec.batch_size)
        torch.cuda.synchronize()
        peak_gib = torch.cuda.max_memory_allocated() / _GIB
        started_s = time.perf_counter()
        for _ in range(_PASSES):
            architecture.run(model, spec.batch_size)
        torch.cuda.synchronize()
    speed = _PASSES * spec.batch_size / (time.perf_counter() - started_s)
    del model
    _settle()
    cosine = cosine_of_precisions(architecture.build(FEW_LAYERS), architecture, dtype, device)
    figures = {
        "planned_gib": planned_gib, "peak_gib": peak_gib, "planned_to_peak": planned_gib / peak_gib,
        "items_per_second": speed, "cosine": cosine,
    }  # fmt: skip
    if planned_gib < peak_gib:
        raise Failed(
            "it holds more than is planned for: raise parameters_m or activations_mib of its row", figures
        )
    if planned_gib > MOST_OVER * peak_gib:
        raise Failed(f"more than {MOST_OVER - 1:.0%} more is planned for than it holds", figures)
    return figures


def _counted(spec: ModelSpec[Any], architecture: Architecture) -> Figures:
    """What needs no card: the parameters of the published sizes beside those that are planned for."""
    known = registry().find(spec.role, spec.model)
    assert known  # a tier's alternates and models are all rows
    figures = {
        "planned_parameters_m": float(known[1].parameters_m),
        "parameters_m": parameters_m(architecture),
    }
    if abs(figures["parameters_m"] / figures["planned_parameters_m"] - 1) > MOST_OVER - 1:
        raise Failed("its row says another number of parameters", figures)
    return figures


def cosine_of_precisions(model: Any, architecture: Architecture, dtype: torch.dtype, device: str) -> float:
    """Of what few layers give in a precision and in float32. Raises Failed where that is another answer."""
    outputs = []
    with torch.inference_mode():
        for precision in (torch.float32, dtype):
            own = copy.deepcopy(model).to(device=device, dtype=precision)
            outputs.append(_numbers(architecture.run(own, FEW_ITEMS)))
    single, half = outputs
    cosine = float(single @ half / (np.linalg.norm(single) * np.linalg.norm(half) or 1.0))
    if cosine < LEAST_COSINE:
        raise Failed(f"{dtype} gives another answer than float32", {"cosine": cosine})
    return cosine


def _numbers(output: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The first tensor of numbers of a model's output, flat."""
    values = output.values() if isinstance(output, Mapping) else [output]
    tensor = next(one for one in values if torch.is_tensor(one) and one.is_floating_point())
    flat: np.ndarray[Any, np.dtype[np.float64]] = tensor.double().flatten().cpu().numpy()
    return np.nan_to_num(flat, posinf=0.0, neginf=0.0)


def full_card_check(device: str) -> Check:
    return Check("a batch that does not fit", "a card with room for little", lambda: _full_card(device), 20)


def _full_card(device: str) -> Figures:
    """The encoder is asked for more at a time than the card is let hold: halved until it fits, with no image lost."""
    if device == "cpu":
        raise Skipped(
            "a processor's memory is not bounded like a card's: tests/resources/models/test_batch_sizes.py"
        )
    images = [Image.new("RGB", (64, 64), (shade, 90, 30)) for shade in range(0, 256, 2)]
    with TemporaryDirectory() as folder:
        checkpoint = save_tiny_siglip(Path(folder) / "checkpoint")
        spec = EncoderSpec(family="siglip", model=str(checkpoint), licence="own", batch_size=len(images))
        encoder = make_model(spec, "cuda")
        sizes = BatchSizes(Path(folder) / FILE)
        expected = encoder.embed_images(images[:FEW_ITEMS])
        total = torch.cuda.get_device_properties(0).total_memory
        _settle()
        hog = torch.empty(int(0.2 * _GIB), dtype=torch.uint8, device=device)
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 8 * _MIB) / total)
        try:
            batches = list(
                isolated(
                    lambda ids: iter([_hungry(encoder, images, ids, device)]),
                    [str(place) for place in range(len(images))],
                    lambda: sizes.halve(spec, encoder),
                )
            )
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            del hog
    done = sum(len(batch.ids) - len(batch.failed) for batch in batches)
    found = np.stack([row["embedding"] for batch in batches for row in batch.rows][:FEW_ITEMS])
    figures = {"asked_for": len(images), "fitted": encoder.spec.batch_size, "images": done}
    if done < len(images) or encoder.spec.batch_size == len(images):
        raise Failed("images were lost, or nothing was halved", figures)
    if not np.allclose(found, expected, atol=1e-3):
        raise Failed("smaller batches give other embeddings", figures)
    return figures


def _hungry(encoder: Any, images: list[Image.Image], ids: list[str], device: str) -> Batch:
    """Embeddings of images, with a MiB of the card for each that is at work at once."""
    rows, size = [], encoder.spec.batch_size
    for start in range(0, len(ids), size):
        batch = ids[start : start + size]
        held = torch.empty(len(batch) * _MIB, dtype=torch.uint8, device=device)
        vectors = encoder.embed_images([images[int(id_)] for id_ in batch])
        del held
        rows += [{"id": id_, "embedding": vector} for id_, vector in zip(batch, vectors, strict=True)]
    return Batch(ids, rows)


def _settle() -> None:
    gc.collect()
    torch.cuda.empty_cache()
