"""OFA's checkpoints as they are published, once their pickle is converted, and the tokenizer of the files beside them.

Two layouts: fairseq's (`caption_large_best_clean.pt`; the repository's utils/BPE beside it) and that of the authors' fork
of transformers (`pytorch_model.bin` of OFA-Sys on the hub; vocab.json and merges.txt beside it). No code of either is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import (
    Device,
    Layout,
    ModelUnavailableError,
    read_weights,
    refuse_missing,
    renamed,
    shared_model,
)
from resources.models.onnx_files import FOLDER_VARIABLE, model_path
from resources.models.registry import Dtype

if TYPE_CHECKING:
    from torch import Tensor

    from resources.models.vlms.ofa.network import Sizes

WEIGHTS = "ofa.safetensors"
HUB_TEXT = ("vocab.json", "merges.txt")
FAIRSEQ_TEXT = ("encoder.json", "vocab.bpe", "dict.txt")
SETTINGS = "preprocessor_config.json"
LAYOUT = Layout(WEIGHTS, (WEIGHTS,), (*HUB_TEXT, *FAIRSEQ_TEXT, SETTINGS))
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""The first tokens of both layouts, in their order."""
IMAGE_PX = 480
"""That captions were trained at, where no `size` beside the weights says another"""
_PLACE_PX = 16
_RENAMED = (
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.cross_attn_layer_norm\.", ".encoder_attn_layer_norm."),
    (r"\.cross_attn_mid_layer_norm\.", ".cross_attn_ln."),
    (r"\.ffn_layer_norm\.", ".ffn_layernorm."),
    (r"^(encoder\..*)\.self_attn_mid_layer_norm\.", r"\1.attn_ln."),
    (r"^(decoder\..*)\.self_attn_mid_layer_norm\.", r"\1.self_attn_ln."),
)
"""The fork's names of weights -> fairseq's"""
_REFUSED = (r"\.adapter\.", r"\.w_resid$", r"prompt_encoder\.", r"embed_images\.(?!conv1|bn1|layer[123]\.)")
"""Of what makes another network"""


def folder_of(model: str) -> Path:
    """The folder of a tier's `model`: its path, or its name in $VISTAG_MODELS. Raises ModelUnavailableError."""
    path = model_path(model)
    texts = any(all((path / name).is_file() for name in files) for files in (HUB_TEXT, FAIRSEQ_TEXT))
    if not (path / WEIGHTS).is_file() or not texts:
        raise ModelUnavailableError(
            f"{path} holds no OFA. It needs {WEIGHTS} and, beside it, {', '.join(FAIRSEQ_TEXT)} (utils/BPE of OFA's "
            f"repository) or {' and '.join(HUB_TEXT)} (of the hub). Fetch a checkpoint, turn it once into safetensors "
            f"(vistag convert caption_base_best.pt --to {WEIGHTS}), and give the folder as `model`, or its name and the folder "
            f"that holds it in the environment variable {FOLDER_VARIABLE} (docs/vlms.md)"
        )
    return path


def load(directory: Path, dtype: Dtype, device: Device) -> Any:
    """The model of a folder. Raises ModelUnavailableError where weights are missing, or they are of another network."""
    return shared_model(directory, "Ofa", dtype, device, lambda: _made(directory, dtype).to(device))


def _made(directory: Path, dtype: Dtype) -> Any:
    import torch
    from transformers import GenerationConfig

    from resources.models.vlms.ofa.network import Ofa, OfaConfig

    weights = {renamed(name, _RENAMED): values for name, values in read_weights(directory).items()}
    weights.setdefault("decoder.output_projection.weight", weights.get("decoder.embed_tokens.weight"))
    try:
        sizes = sizes_of(weights)
    except (KeyError, AttributeError) as error:
        raise ModelUnavailableError(
            f"{directory / WEIGHTS} holds no weights of OFA ({error}): convert a checkpoint of its repository or of the hub"
        ) from error
    if other := sorted(name for name in weights if any(re.search(pattern, name) for pattern in _REFUSED)):
        raise ModelUnavailableError(
            f"{directory / WEIGHTS} is an OFA with more in it than vistag runs (adapters, prompts, another image encoder): "
            f"{', '.join(other[:5])}. Take one of the published captioners"
        )
    model = Ofa(OfaConfig(sizes))
    missing, _ = model.load_state_dict(
        {name: values for name, values in weights.items() if values is not None}, strict=False
    )
    refuse_missing(directory, sorted(name for name in missing if not name.endswith("num_batches_tracked")))
    model.generation_config = GenerationConfig(
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=0, no_repeat_ngram_size=3
    )
    return model.to(getattr(torch, dtype)).eval()


def sizes_of(weights: Mapping[str, Tensor]) -> Sizes:
    """What shapes and names tell. Raises KeyError where they are not those of OFA."""
    from resources.models.vlms.ofa.network import Sizes

    vocabulary, width = weights["encoder.embed_tokens.weight"].shape
    buckets, heads = weights["encoder.token_rel_pos_table_list.0.weight"].shape
    stages = [f"encoder.embed_images.layer{stage}." for stage in (1, 2, 3)]
    blocks = [_count(weights, stage, ".conv1.weight") for stage in stages]
    return Sizes(
        width=width,
        heads=heads,
        encoder_layers=_count(weights, "encoder.layers.", ".fc1.weight"),
        decoder_layers=_count(weights, "decoder.layers.", ".fc1.weight"),
        hidden=weights["encoder.layers.0.fc1.weight"].shape[0],
        vocabulary=vocabulary,
        blocks=(blocks[0], blocks[1], blocks[2]),
        positions=weights["encoder.embed_positions.weight"].shape[0],
        token_buckets=(buckets + 1) // 2,
        image_side=round((weights["encoder.embed_image_positions.weight"].shape[0] - 1) ** 0.5),
        scaled="encoder.layers.0.attn_ln.weight" in weights,
        typed="encoder.type_embedding.weight" in weights,
    )


def _count(weights: Mapping[str, Tensor], start: str, end: str) -> int:
    return sum(name.startswith(start) and name.endswith(end) for name in weights)


@dataclass(frozen=True, slots=True)
class Processor:
    """What makes a model's input of a question and pictures."""

    tokenizer: Any
    side_px: int


def processor(directory: Path) -> Processor:
    """Tokenizer and image processor of a folder. Raises ModelUnavailableError where they cannot be read."""
    try:
        side = _image_px(directory)
        tokenizer = _tokenizer(directory)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise ModelUnavailableError(
            f"{directory}: its tokenizer or its size of images cannot be read ({error}): fetch those files again"
        ) from error
    return Processor(tokenizer, side)


def _image_px(directory: Path) -> int:
    path = directory / SETTINGS
    if not path.is_file():
        return IMAGE_PX
    size = json.loads(path.read_text(encoding="utf-8"))["size"]
    side = int(size["height"] if isinstance(size, dict) else size)
    if side < _PLACE_PX or side % _PLACE_PX:
        raise ValueError(f"{SETTINGS}: images of {side} px, where a multiple of {_PLACE_PX} is wanted")
    return side


def _tokenizer(directory: Path) -> Any:
    """GPT-2's pieces under OFA's ids."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary, merges = (
        _hub_pieces(directory) if (directory / HUB_TEXT[0]).is_file() else _fairseq_pieces(directory)
    )
    pieces = Tokenizer(models.BPE(vocabulary, merges, unk_token=SPECIALS[3]))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    begin, pad, end, unknown = (AddedToken(token, special=True, normalized=False) for token in SPECIALS)
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces, bos_token=begin, pad_token=pad, eos_token=end, unk_token=unknown
    )


def _merges(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    return [(left, right) for left, right in pairs]


def _hub_pieces(directory: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    vocabulary = json.loads((directory / HUB_TEXT[0]).read_text(encoding="utf-8"))
    if [vocabulary.get(token) for token in SPECIALS] != [0, 1, 2, 3]:
        raise ValueError(f"{HUB_TEXT[0]} does not begin with {', '.join(SPECIALS)}")
    return vocabulary, _merges(directory / HUB_TEXT[1])


def _fairseq_pieces(directory: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """GPT-2 numbers its pieces, and fairseq numbers those numbers anew, in the order of dict.txt after its own four."""
    gpt2 = json.loads((directory / FAIRSEQ_TEXT[0]).read_text(encoding="utf-8"))
    order = [
        line.split(" ")[0] for line in (directory / FAIRSEQ_TEXT[2]).read_text(encoding="utf-8").splitlines()
    ]
    ours = {number: place + len(SPECIALS) for place, number in enumerate(order)}
    known = {piece: ours[str(number)] for piece, number in gpt2.items()}
    return {**{token: place for place, token in enumerate(SPECIALS)}, **known}, _merges(
        directory / FAIRSEQ_TEXT[1]
    )
