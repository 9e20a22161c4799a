"""ONNX files through onnxruntime: where one lies, and a session on the device that was asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from resources.models.checkpoints import Device, DeviceUnavailableError, ModelUnavailableError
from resources.models.load_counter import count_load

FOLDER_VARIABLE = "VISTAG_MODELS"
"""The environment variable that names the folder of models that were made ready by hand: exported or converted."""
PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def model_path(model: str) -> Path:
    """A model by its path, or by its name in the folder that $VISTAG_MODELS names."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(model) if folder is None else Path(folder) / model


def onnx_file(model: str, how_to_make: str) -> Path:
    """The same of an .onnx file. Raises ModelUnavailableError where there is none, with `how_to_make` one."""
    path = model_path(model)
    if not path.is_file() or path.suffix != ".onnx":
        raise ModelUnavailableError(
            f"{path} is no .onnx file. Make one with {how_to_make}, and give its path as `model`, or its name and its "
            f"folder in the environment variable {FOLDER_VARIABLE}"
        )
    return path


def onnx_session(path: Path, name: str, device: Device) -> Any:
    """A session; it is never a slower device than `device`.

    Raises DeviceUnavailableError where onnxruntime cannot use the GPU, ModelUnavailableError where the file is no model.
    """
    import onnxruntime

    count_load(path)
    provider = PROVIDERS[device]
    available = provider in onnxruntime.get_available_providers()
    try:
        session = onnxruntime.InferenceSession(path, providers=[provider]) if available else None
    except Exception as error:  # its errors have no class of their own above them
        raise ModelUnavailableError(
            f"{path} is no model that onnxruntime reads ({error}): fetch it again"
        ) from error
    if session is None or provider not in session.get_providers():  # it falls back with a warning
        raise DeviceUnavailableError(
            f"{name} was to run on a GPU, and this onnxruntime has no {provider}: "
            "install onnxruntime-gpu in its place, or take a tier of device cpu"
        )
    return session
