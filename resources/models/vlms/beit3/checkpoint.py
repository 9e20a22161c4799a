"""BEiT-3's captioners as they are published, once their pickle is converted, and the sentence pieces beside it.

`beit3_*_patch16_*_coco_captioning.pth` and `beit3.spm`. Sizes are read off the weights; no code of theirs is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import (
    Device,
    Layout,
    ModelUnavailableError,
    read_header,
    read_weights,
    refuse_missing,
    shared_model,
)
from resources.models.onnx_files import FOLDER_VARIABLE, model_path
from resources.models.registry import Dtype

if TYPE_CHECKING:
    from resources.models.vlms.beit3.network import Sizes

WEIGHTS, PIECES = "beit3.safetensors", "beit3.spm"
LAYOUT = Layout(WEIGHTS, (WEIGHTS,), (PIECES,))
BEGIN, PAD, END = 0, 1, 2
_OWN_TOKENS = 4
"""Before the pieces: these and one for what is unknown, which has a place among the pieces too"""
_HEAD = "mlm_head.weight"
_POSITIONS = "beit3.encoder.embed_positions."


def folder_of(model: str) -> Path:
    """The folder of a tier's `model`: its path, or its name in $VISTAG_MODELS. Raises ModelUnavailableError."""
    path = model_path(model)
    if not all((path / name).is_file() for name in LAYOUT.files):
        raise ModelUnavailableError(
            f"{path} holds no BEiT-3. It needs {WEIGHTS} and {PIECES}: fetch a captioner and beit3.spm of its repository, turn "
            f"the first once into safetensors (vistag convert beit3_base_patch16_480_coco_captioning.pth --to {WEIGHTS}), and "
            f"give the folder as `model`, or its name and the folder that holds it in the environment variable "
            f"{FOLDER_VARIABLE} (docs/vlms.md)"
        )
    return path


@dataclass(frozen=True)
class Pieces:
    """What decodes: sentence pieces under the ids of XLM-R, which begin with four of its own."""

    path: Path
    pad_token_id: int = PAD
    eos_token_id: int = END

    @cached_property
    def _pieces(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_file=str(self.path))

    @property
    def mask_token_id(self) -> int:
        """Behind all pieces."""
        return int(self._pieces.vocab_size()) + 1

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """The text of ids; what is no piece says nothing."""
        return str(self._pieces.decode([id_ - 1 for id_ in ids if _OWN_TOKENS <= id_ < self.mask_token_id]))


def processor(directory: Path) -> Any:
    """What decodes, and the side of a picture. Raises ModelUnavailableError where they cannot be read."""
    tokenizer = Pieces(directory / PIECES)
    try:
        _ = tokenizer.mask_token_id
    except (RuntimeError, OSError) as error:
        raise ModelUnavailableError(
            f"{directory / PIECES} holds no sentence pieces ({error}): fetch it again"
        ) from error
    with (directory / WEIGHTS).open("rb") as file:
        shapes = {name: tensor["shape"] for name, tensor in read_header(file).items()}
    return SimpleNamespace(tokenizer=tokenizer, side_px=_sizes(directory, shapes).image_px)


def load(directory: Path, dtype: Dtype, device: Device) -> Any:
    """The model of a folder. Raises ModelUnavailableError where weights are missing, or they are of no captioner."""
    return shared_model(directory, "Beit3", dtype, device, lambda: _made(directory, dtype).to(device))


def _made(directory: Path, dtype: Dtype) -> Any:
    import torch
    from transformers import GenerationConfig

    from resources.models.vlms.beit3.network import Beit3, Beit3Config

    weights = read_weights(directory)
    sizes = _sizes(directory, {name: list(values.shape) for name, values in weights.items()})
    mask = Pieces(directory / PIECES).mask_token_id
    if mask >= sizes.vocabulary:
        raise ModelUnavailableError(
            f"{directory}: {PIECES} has more pieces ({mask}) than the weights have words ({sizes.vocabulary}): it is of "
            "another model"
        )
    model = Beit3(Beit3Config(sizes, mask))
    missing, _ = model.load_state_dict(weights, strict=False)
    refuse_missing(directory, sorted(missing))
    model.generation_config = GenerationConfig(
        bos_token_id=BEGIN, pad_token_id=PAD, eos_token_id=END, decoder_start_token_id=BEGIN
    )
    return model.to(getattr(torch, dtype)).eval()


def _sizes(directory: Path, shapes: Mapping[str, Sequence[int]]) -> Sizes:
    from resources.models.vlms.beit3.network import FIRST_POSITION, HEAD_WIDTH, Sizes

    try:
        if _HEAD not in shapes and _POSITIONS + "A.weight" in shapes:
            raise ModelUnavailableError(
                f"{directory / WEIGHTS} is a BEiT-3 without {_HEAD}: not one of its captioners, which are those with "
                "coco_captioning in their name"
            )
        vocabulary, width = shapes[_HEAD]
        sizes = Sizes(
            width=width,
            layers=sum(name.endswith(".ffn.B.fc1.weight") for name in shapes),
            hidden=shapes["beit3.encoder.layers.0.ffn.B.fc1.weight"][0],
            vocabulary=vocabulary,
            patch_px=shapes["beit3.vision_embed.proj.weight"][2],
            patches=shapes[_POSITIONS + "A.weight"][0] - FIRST_POSITION - 1,
            text_positions=shapes[_POSITIONS + "B.weight"][0],
        )
    except KeyError as error:
        raise ModelUnavailableError(
            f"{directory / WEIGHTS} holds no weights of BEiT-3 ({error}): convert one of its captioners"
        ) from error
    if width % HEAD_WIDTH:
        raise ModelUnavailableError(
            f"{directory / WEIGHTS}: a width of {width} is none of BEiT-3's (base: 768, large: 1,024)"
        )
    return sizes
