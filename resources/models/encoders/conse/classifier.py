"""Image classifiers of timm and of transformers: images to logits and to the features before them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.models.checkpoints import (
    Device,
    Layout,
    ModelSpec,
    ModelUnavailableError,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
    read_config,
    read_weights,
    refuse_missing,
)
from resources.models.encoders.conse.hierarchy import IMAGENET_CLASSES, imagenet_labels
from resources.models.encoders.towers import Pixels
from resources.models.load_counter import count_load
from resources.models.packaged import Package, package_file, packaged, verified_file
from resources.models.registry import Dtype

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor
    from torch.nn import Linear

CLASSIFIER = Layout("config.json", ("*.safetensors",), ("preprocessor_config.json",))

WHOLE = 0.95
"""How much of the shorter side is seen at an `input_px` of one's own: networks are better at more pixels than they were
trained with (Touvron et al., 2019), and lose less at the edges."""


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier whose logits are one linear layer over pooled features."""

    model: Any
    head: Linear

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[n, classes]` and what its last layer made them of `[n, width]`."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            answer = self.model(pixels)
        finally:
            hook.remove()
        return getattr(answer, "logits", answer), seen[-1].flatten(1)


class Classifier:
    """A checkpoint by its package, its directory or its id on the hub. Making one reads small files only.

    Raises ModelUnavailableError where it is not to be had, and at loading where its bytes are not those that the
    registry names.
    """

    def __init__(self, spec: ModelSpec[Any], device: Device, input_px: int | None = None) -> None:
        self._spec, self._device, self._input_px = spec, device, input_px
        self._package = packaged(spec.role, spec.model)
        if self._package:
            self.directory = package_file(self._package).parent
        else:
            self.directory = checkpoint_directory(spec, CLASSIFIER)

    @property
    def content(self) -> str:
        return self._package.sha256 if self._package else content_hash(self.directory, CLASSIFIER)

    @property
    def _config(self) -> dict[str, Any]:
        return {} if self._package else read_config(self.directory, CLASSIFIER)

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class, each one label or several with commas between."""
        if named := self._config.get("id2label") or self._config.get("label_names"):
            names = [named[key] for key in sorted(named, key=int)] if isinstance(named, dict) else named
            return tuple(map(str, names))
        classes = int(self._config.get("num_classes", IMAGENET_CLASSES))
        if classes != IMAGENET_CLASSES:
            raise ModelUnavailableError(
                f"{self.directory / CLASSIFIER.config} names none of its {classes} classes: add `label_names`, a list"
            )
        return imagenet_labels()

    @property
    def width(self) -> int:
        """Of the features before the last layer."""
        if self._package:
            return self._package.width
        config = self._config
        told = (
            config.get("num_features") or config.get("hidden_size") or (config.get("hidden_sizes") or [0])[-1]
        )
        if not told:
            raise ModelUnavailableError(
                f"{self.directory / CLASSIFIER.config} does not say how wide its features are: add `num_features`"
            )
        return int(told)

    @property
    def network(self) -> Network:
        return _load(self._package, self.directory, self._spec.dtype, self._device)

    @property
    def preprocess(self) -> Callable[[Image.Image], Pixels]:
        """The checkpoint's own; with `input_px` its size is that, and less is cut off."""
        if not self._is_of_timm:
            processor = load_processor(self.directory, "AutoImageProcessor")
            return lambda image: {
                "pixel_values": processor(images=image, return_tensors="np")["pixel_values"][0]
            }
        from timm.data import create_transform

        side = self._input_px
        config = self._timm_config()
        transform = create_transform(
            input_size=(3, side, side) if side else config["input_size"],
            interpolation=config["interpolation"],
            mean=config["mean"],
            std=config["std"],
            crop_pct=WHOLE if side else config["crop_pct"],
        )
        return lambda image: {"pixel_values": np.asarray(transform(image.convert("RGB")).numpy())}

    @property
    def pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of red, green and blue, 0..1, of a network of timm."""
        config = self._timm_config()
        return tuple(config["mean"]), tuple(config["std"])

    @property
    def _is_of_timm(self) -> bool:
        return self._package is not None or "architecture" in self._config

    def _timm_config(self) -> Mapping[str, Any]:
        import timm
        from timm.data import resolve_data_config

        architecture = self._package.architecture if self._package else self._config["architecture"]
        told = self._config.get("pretrained_cfg") or vars(timm.get_pretrained_cfg(architecture))
        config: Mapping[str, Any] = resolve_data_config(pretrained_cfg=told)
        return config


@lru_cache(maxsize=2)
def _load(package: Package | None, directory: Path, dtype: Dtype, device: Device) -> Network:
    """One for the process, whoever asks: an encoder and a detector may stand on the same classifier."""
    import torch

    if package:
        model = _of_package(package)
    elif "architecture" in read_config(directory, CLASSIFIER):
        model = _of_timm(directory)
    else:
        model = load_model(directory, "AutoModelForImageClassification", dtype, device)
    model = model.to(device, getattr(torch, dtype)).eval()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if not layers:
        raise ModelUnavailableError(f"{directory}: its classes are not the outputs of a linear layer")
    return Network(model, layers[-1])


def _of_package(package: Package) -> Any:
    """Raises ModelUnavailableError where the file is another than the registry names, or does not fit its network."""
    import timm
    import torch

    file = verified_file(package)
    model = timm.create_model(package.architecture, pretrained=False)
    own = model.state_dict()
    stored = torch.load(file, map_location="cpu", weights_only=True)  # tensors only: no code of a pickle runs
    if [tensor.shape for tensor in stored.values()] != [tensor.shape for tensor in own.values()]:
        raise ModelUnavailableError(f"{file} does not hold the tensors of {package.architecture}")
    model.load_state_dict(dict(zip(own, stored.values(), strict=True)))
    count_load(package.name)
    return model


def _of_timm(directory: Path) -> Any:
    import timm

    config = json.loads((directory / CLASSIFIER.config).read_text(encoding="utf-8"))
    arguments = config.get("model_args") or {}
    model = timm.create_model(
        config["architecture"],
        pretrained=False,
        num_classes=config.get("num_classes", IMAGENET_CLASSES),
        **arguments,
    )
    refuse_missing(
        directory, sorted(model.load_state_dict(read_weights(directory), strict=False).missing_keys)
    )
    count_load(directory)
    return model
