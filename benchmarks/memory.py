"""`make bench-memory`: what the registry says of parameters and activations, beside what the architectures themselves need.

Weights cannot be had where vistag is tested, configs are public. Parameters are counted on torch's meta device.
Activations are those of a real forward pass at full width and resolution with few layers: layers follow one
another, so their number does not raise the peak, but the largest one does.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.architectures import ARCHITECTURES, FEW_LAYERS, Architecture, parameters_m
from resources.models.registry import registry


def activations_mib(architecture: Architecture, dtype: torch.dtype) -> float:
    """Peak memory of all that one forward pass of one item allocates, MiB."""
    model = architecture.build(FEW_LAYERS).to(dtype)
    with torch.inference_mode(), _Allocations() as allocations:
        architecture.run(model, 1)
    return allocations.peak / 2**20


class _Allocations(TorchDispatchMode):
    """Bytes of the storages that operations made and that still live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        taken = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if _is_tensor(leaf):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._alive | taken:
                    self._alive.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return out

    def _freed(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def main() -> None:
    print(f"{'model':40} {'parameters, M':>24} {'activations, MiB':>24}")
    print(f"{'':40} {'table':>12}{'counted':>12} {'table':>12}{'measured':>12}")
    only = sys.argv[1:]
    for architecture in ARCHITECTURES:
        known = registry().find(architecture.role, architecture.model)
        if known is None or (only and not any(name in architecture.model for name in only)):
            continue
        row = known[1]
        measured = activations_mib(architecture, getattr(torch, row.dtype))
        print(
            f"{architecture.model:40} {row.parameters_m:12.0f}{parameters_m(architecture):12.0f} "
            f"{row.activations_mib:12.0f}{measured:12.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
