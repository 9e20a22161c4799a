"""The bundled vision-language model as vLLM reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.numpy import load_file, save_file

BUNDLED = Path(__file__).parents[2] / "demo" / "checkpoints" / "vlm"


def save_bundled_llava(directory: Path) -> Path:
    """The bundled VLM with its vision tower under the names that LLaVA checkpoints of the hub have.

    transformers 5.23 drops `vision_model.` from the names as it saves and reads both; vLLM 0.32 knows the hub's only.
    """
    shutil.copytree(BUNDLED, directory, dirs_exist_ok=True)
    weights = load_file(directory / "model.safetensors")
    renamed = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1): values
        for name, values in weights.items()
    }
    save_file(renamed, directory / "model.safetensors", {"format": "pt"})
    return directory
