"""A published pickle to safetensors, once: what `vistag convert` does.

`torch.load(weights_only=True)` makes tensors and plain values of a pickle and refuses whatever else it asks for, so no
code of a pickle runs here.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.home.private import public_files
from resources.lake.files import replace_file

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("model", "state_dict", "model_state_dict", "module", "params")
"""Names under which training programs keep the weights beside what else they save, the likeliest first."""
ALONE = "tensor"
"""The name of a tensor that a file holds by itself."""
RECORD_SUFFIX = ".converted.json"
_HARMLESS: list[Any] = [Namespace]
"""Beyond what torch takes for plain: values by name, as fairseq keeps its settings. It has no code that a pickle could run"""
_ASKED_FOR = re.compile(r"GLOBAL ([\w.]+)")
_UNPICKLER_SAYS = re.compile(r"WeightsUnpickler error: ([^\n]*)")
_TRANSFORMERS_PICKLE = re.compile(r"pytorch_model\.bin")
_OPEN_CLIP_PICKLE = re.compile(r"open_clip_pytorch_model\.bin")


class ConversionError(ValueError):
    """A file that is not converted; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What stands in the record beside a converted file."""

    source: str
    """name of the pickle"""
    source_sha256: str
    result: str
    """name of the safetensors file"""
    result_sha256: str
    tensors: int
    taken_from: str
    """the entry that held the weights; empty where the pickle is the weights"""
    left_out: tuple[str, ...]
    """entries that hold no tensor, and those beside the weights"""
    torch: str
    safetensors: str


def default_target(source: Path) -> Path:
    """Beside the pickle, by the name that its library reads weights under."""
    if _TRANSFORMERS_PICKLE.fullmatch(source.name):
        return source.with_name("model.safetensors")
    if _OPEN_CLIP_PICKLE.fullmatch(source.name):
        return source.with_name("open_clip_model.safetensors")
    return source.with_suffix(".safetensors")


def record_of(target: Path) -> Path:
    """Where the record of a converted file lies."""
    return target.with_name(target.name + RECORD_SUFFIX)


def convert(source: Path, target: Path) -> tuple[Conversion, bool]:
    """The tensors of a pickle as a safetensors file, with a record of both checksums beside it; and whether it is new.

    A target that was made of the same bytes stays as it is. Raises ConversionError where the pickle is none, holds
    more than weights, or the target is another file.
    """
    if not source.is_file():
        raise ConversionError(f"There is no file {source}")
    if target.resolve() == source.resolve():
        raise ConversionError(f"{target} is the pickle itself: name another file with --to")
    source_sha256 = _sha256(source)
    if target.exists():
        return _known(source, source_sha256, target), False
    taken_from, weights, left_out = _weights_in(source)
    _write(weights, source, target)
    made = Conversion(
        source.name, source_sha256, target.name, _sha256(target), len(weights), taken_from, left_out,
        version("torch"), version("safetensors"),
    )  # fmt: skip
    with public_files(), replace_file(record_of(target)) as file:
        file.write(json.dumps(asdict(made), indent=2).encode() + b"\n")
    return made, True


def _known(source: Path, source_sha256: str, target: Path) -> Conversion:
    """The record of a target that is there. Raises ConversionError where it was made of something else."""
    try:
        fields = json.loads(record_of(target).read_text(encoding="utf-8"))
        made = Conversion(**(fields | {"left_out": tuple(fields["left_out"])}))
    except FileNotFoundError:
        raise ConversionError(
            f"{target} is there, and no record says what it was made of: name another file with --to, or take it away"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ConversionError(
            f"{record_of(target)} is no record of a conversion ({error}): take it and {target.name} away, and convert again"
        ) from error
    if made.source_sha256 != source_sha256:
        raise ConversionError(
            f"{target} was made of another file than {source} is now: name another one with --to, or take it away"
        )
    if (found := _sha256(target)) != made.result_sha256:
        raise ConversionError(
            f"{target} has the SHA-256 {found}, and had {made.result_sha256} when it was made: take it away, and convert again"
        )
    return made


def _weights_in(source: Path) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """The entry that held the weights, they by name, and the names of what is left out."""
    content = _read(source)
    left_out: list[str] = []
    taken_from = ""
    if _is_tensor(content):
        content = {ALONE: content}
    while isinstance(content, Mapping) and not any(map(_is_tensor, content.values())):
        inner = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        left_out += [f"{taken_from}{name}" for name in content if name != inner]
        content, taken_from = content[inner], f"{taken_from}{inner}."
    if not isinstance(content, Mapping) or not any(map(_is_tensor, content.values())):
        names = (
            ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        )
        raise ConversionError(
            f"{source} holds no weights by name (it holds: {names}): vistag convert takes a state dict, alone or under "
            f"one of {', '.join(WRAPPERS)}"
        )
    left_out += [f"{taken_from}{name}" for name, value in content.items() if not _is_tensor(value)]
    weights = {str(name): value for name, value in content.items() if _is_tensor(value)}
    return taken_from.removesuffix("."), weights, tuple(left_out)


def _read(source: Path) -> Any:
    """What a pickle holds. Raises ConversionError where that is more than tensors and plain values."""
    import torch

    try:
        # an archive is mapped: the weights are in memory once, while they are written
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(
                source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source) or None
            )
    except Exception as error:  # a damaged pickle may end in any error
        asked = _ASKED_FOR.search(str(error))
        if asked:
            raise ConversionError(
                f"{source} asks for {asked[1]}, which weights do not need, so it was not read and nothing of it ran. "
                "Get a state dict of its makers, or another format (ONNX, safetensors), and do not load this file elsewhere"
            ) from error
        # torch goes on to say how to run it all the same
        why = _UNPICKLER_SAYS.search(str(error)) or re.search(r"(.*)", str(error).strip())
        raise ConversionError(
            f"{source} cannot be read as weights ({type(error).__name__}: {why[1] if why else ''}). Nothing of it ran. Fetch "
            "it again, or check that it is a pickle of PyTorch"
        ) from error


def _write(weights: Mapping[str, Tensor], source: Path, target: Path) -> None:
    """All or nothing. Raises ConversionError where a tensor has a kind that safetensors does not know."""
    from safetensors.torch import save_file

    odd = [name for name, value in weights.items() if value.is_sparse or value.is_quantized]
    if odd:
        raise ConversionError(f"{source}: {odd[0]} is sparse or quantised, which safetensors does not hold")
    with public_files(), replace_file(target) as file:
        save_file(_apart(weights), file.name, metadata={"format": "pt"})


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors each with memory of its own: tied ones share it in a pickle, and safetensors has no word for that."""
    seen: set[int] = set()
    apart = {}
    for name, value in weights.items():
        storage = value.untyped_storage().data_ptr()
        whole = value.is_contiguous() and value.untyped_storage().nbytes() == value.nbytes
        apart[name] = value.detach() if whole and storage not in seen else value.detach().clone().contiguous()
        seen.add(storage)
    return apart


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
