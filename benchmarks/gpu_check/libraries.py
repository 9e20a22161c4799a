"""What libraries do on a card beside the same on the processor: FAISS, weights of 4 and 8 bits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec

import faiss
import numpy as np
import torch

from benchmarks.gpu_check.checks import Check, Failed, Figures, Skipped

VECTORS, QUERIES, DIMENSION, NEIGHBOURS = 200_000, 256, 768, 10
FEWER = 20
"""On a processor: a twentieth of the vectors."""
LEAST_SAME = 0.999
"""Of the neighbours; equal distances may come in another order."""
SIDE = 1024
LEAST_COSINE = {"fp8": 0.99, "int4": 0.97}


def library_checks(device: str) -> Iterator[Check]:
    yield Check("exact neighbours", "FAISS on the card beside the processor", lambda: _faiss(device), 30)
    yield Check("weights of 8 bits (fp8)", "torch._scaled_mm", lambda: _fp8(device))
    yield Check("weights of 4 bits (NF4)", "bitsandbytes", lambda: _int4(device))


def _faiss(device: str) -> Figures:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((VECTORS if device == "cuda" else VECTORS // FEWER, DIMENSION), np.float32)
    faiss.normalize_L2(vectors)
    queries = vectors[:QUERIES] + 0.1 * rng.standard_normal((QUERIES, DIMENSION), np.float32)
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(vectors)
    started_s = time.perf_counter()
    _, expected = flat.search(queries, NEIGHBOURS)
    cpu_s = time.perf_counter() - started_s
    if device == "cpu" or not hasattr(faiss, "StandardGpuResources"):
        raise Skipped("this FAISS knows no GPU: pip install 'vistag[gpu]'" if device == "cuda" else "no GPU")
    index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat)
    index.search(queries, NEIGHBOURS)
    started_s = time.perf_counter()
    _, found = index.search(queries, NEIGHBOURS)
    gpu_s = time.perf_counter() - started_s
    same = float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(found, expected, strict=True)]))
    figures = {"same_neighbours": same, "times_as_fast": cpu_s / gpu_s}
    if same < LEAST_SAME:
        raise Failed("other neighbours than on the processor", figures)
    return figures


def _fp8(device: str) -> Figures:
    """A layer in FP8, as vLLM runs such weights, beside float32."""
    if device == "cpu" or torch.cuda.get_device_capability() < (8, 9):
        raise Skipped("needs a card of compute capability 8.9 or more")
    inputs, weights = _layer(device)
    by_input, by_weight = (inputs.abs().max() / 448).float(), (weights.abs().max() / 448).float()
    found = torch._scaled_mm(
        (inputs / by_input).to(torch.float8_e4m3fn),
        (weights / by_weight).to(torch.float8_e4m3fn).t(),
        scale_a=by_input,
        scale_b=by_weight,
        out_dtype=torch.bfloat16,
    )
    return _close(found, inputs @ weights.t(), "fp8")


def _int4(device: str) -> Figures:
    if device == "cpu" or find_spec("bitsandbytes") is None:
        raise Skipped("bitsandbytes is not installed" if device == "cuda" else "no GPU")
    import bitsandbytes

    inputs, weights = _layer(device)
    packed, state = bitsandbytes.functional.quantize_4bit(weights, quant_type="nf4")
    found = inputs @ bitsandbytes.functional.dequantize_4bit(packed, state).t()
    return _close(found, inputs @ weights.t(), "int4")


def _layer(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(SIDE, SIDE, device=device), torch.randn(SIDE, SIDE, device=device) / SIDE**0.5


def _close(found: torch.Tensor, expected: torch.Tensor, precision: str) -> Figures:
    cosine = float(torch.nn.functional.cosine_similarity(found.float().flatten(), expected.flatten(), dim=0))
    if cosine < LEAST_COSINE[precision]:
        raise Failed(f"{precision} gives another answer than float32", {"cosine": cosine})
    return {"cosine": cosine}
