"""Weights for the model of its authors' package: taken by the package's own names, or by those of transformers.

Whoever trained with the package has the first (`vistag convert` makes safetensors of its pickle), the hub has the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import ModelUnavailableError, read_weights, refuse_missing

if TYPE_CHECKING:
    from torch import Tensor, nn

Lookup = Callable[[str, Mapping[str, "Tensor"]], "Tensor | None"]
"""(the package's name of a weight, weights by the names of transformers) -> that weight; None where it is not there"""
_PARALLEL = "module."
"""before the names of what was trained on several cards"""


def import_package(name: str, backend: str, install: str) -> Any:
    """A module of an optional package. Raises ModelUnavailableError, which says how it is installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelUnavailableError(
            f"`backend: {backend}` needs a package that does not import here ({error}). Install it with: {install} "
            "- or leave `backend` out: the port in transformers gives the same"
        ) from error


def load_package_weights(
    model: nn.Module, directory: Path, in_transformers: Lookup, unused: Callable[[str], bool]
) -> None:
    """Gives a model of a package the weights of a directory, all of them but those whose name is `unused`.

    Raises ModelUnavailableError where one is missing or has another shape.
    """
    given = read_weights(directory)
    found: dict[str, Tensor] = {}
    missing: list[str] = []
    for name, own in model.state_dict().items():
        value = given.get(name, given.get(_PARALLEL + name))
        if value is None:
            value = in_transformers(name, given)
        if value is None:
            missing += [] if unused(name) else [name]
        elif value.shape != own.shape:
            raise ModelUnavailableError(
                f"{directory}: {name} has the shape {tuple(value.shape)}, and the package's model wants {tuple(own.shape)}: "
                "config.json and weights are not of one model"
            )
        else:
            found[name] = value
    refuse_missing(directory, sorted(missing))
    model.load_state_dict(found, strict=False)
