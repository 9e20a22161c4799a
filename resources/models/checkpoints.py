"""A checkpoint as files: what a tier says about it, where it lies, what its bytes are. No torch here.

A run that finds nothing to compute needs a fingerprint and no model; so all of this reads files only.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Generic, Literal, Protocol, Self, TypeVar
from weakref import WeakValueDictionary

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from resources.home.private import public_files
from resources.http_client import answers
from resources.models.load_counter import count_load
from resources.models.registry import Dtype, RegistryError, line_of, registry, with_what_is_known

Device = Literal["cpu", "cuda"]
Model = TypeVar("Model")
Renaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern, and what stands for it as `re.sub` takes it."""

TOKENIZER_FILES = (
    "special_tokens_map.json",
    "tokenizer*",
    "spiece.model",
    "sentencepiece*",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a checkpoint as a library names them."""

    config: str
    """says what the checkpoint is; a directory without it is none"""
    weights: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Patterns of all files that decide what the checkpoint computes."""
        return (self.config, *self.weights, *self.others)


TRANSFORMERS = Layout(
    "config.json",
    ("*.safetensors",),
    (
        *TOKENIZER_FILES,
        "preprocessor_config.json",
        "processor_config.json",
        "chat_template*",
        "generation_config.json",
        "*.safetensors.index.json",
    ),
)
WITH_CODE = replace(TRANSFORMERS, others=(*TRANSFORMERS.others, "*.py"))
"""Of a model whose own code is to be run."""
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ENOUGH_OF_A_CARD = 0.95
"""What a driver reports of a card of 24 GB is a little less."""
_HEADER_MAX_BYTES = 100_000_000
"""The format's own limit."""
_CARDS = ("calibration.json", "training.json")
_KEPT = 2
"""Models of a role that stay in a process: those of two lanes, or of two tiers that are compared."""
_LOADED: WeakValueDictionary[tuple[str, str, str, str], Any] = WeakValueDictionary()


class ModelUnavailableError(RuntimeError):
    """Weights that are neither on this machine nor to be had; the message says what to do."""


class DeviceUnavailableError(RuntimeError):
    """A tier asks for a device that this machine does not have; the message names the tier to use."""


class Loadable(Protocol):
    """A model in this process or behind a server. Making one is cheap: weights are loaded when first needed, or by `load`."""

    device: Device
    fingerprint: str
    """of all that its answers depend on"""

    def load(self) -> None: ...


def _pairs(given: Any) -> Any:
    """A mapping as what can be a key: specs are."""
    return tuple(sorted(given.items())) if isinstance(given, Mapping) else given


class RoleSpec(BaseModel, Generic[Model]):
    """What a tier says about its model of a role, a `Model` once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: ClassVar[str]
    """its name in resources/models/roles.py, and that of its table in the registry"""

    family: str

    @property
    def name(self) -> str:
        """What people are told of the model."""
        return self.family

    def implementation(self) -> Any:
        """The class that runs it, imported now; made with (spec, device)."""
        return registry().family(self.role, self.family).implementation()

    def require_device(self, device: Device) -> None:
        """Raises DeviceUnavailableError where it cannot run on `device`."""


class ModelSpec(RoleSpec[Model]):
    """Which weights play a role of a tier, and how they are run.

    `model` is the id of a repository on the Hugging Face hub, or the absolute path of a checkpoint directory
    (a tier file may write it relative to itself, with a leading dot). What the registry knows of it is filled in
    where the tier says nothing else.
    """

    model: str
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")] | None = None
    dtype: Dtype = "float32"
    batch_size: PositiveInt = 32
    licence: str
    sha256: Annotated[tuple[tuple[str, Sha256], ...], BeforeValidator(_pairs)] = ()
    """of files of the checkpoint, by name; one that is another is not loaded"""
    backend: str | None = None
    """a package that runs the checkpoint in the place of the family's own code, in single precision"""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """A line that is a name alone (`tagger: ram-plus`) is that checkpoint, or the first of that family."""
        if isinstance(given, str):
            given = line_of(cls.role, given)
        if isinstance(given, dict) and given.get("backend"):
            given = {"dtype": "float32"} | given
        return with_what_is_known(cls.role, given) if isinstance(given, dict) else given

    @field_validator("model")
    @classmethod
    def _is_an_id_or_a_path(cls, model: str) -> str:
        """What is no such name may be an option on a command line, or an address that a library fetches."""
        is_path = model.startswith((".", "/")) or Path(model).is_absolute()
        if not (is_path or _HUB_ID.fullmatch(model)):
            raise ValueError(
                "needs an id of the Hugging Face hub (owner/name), or the path of a checkpoint directory that begins with "
                "`/` or `.`"
            )
        return model

    @model_validator(mode="after")
    def _has_its_backend(self) -> Self:
        if self.backend is None:
            registry().refuse_backend_as_family(self.role, self.family)
            return self
        registry().backend(self.role, self.family, self.backend)
        if self.dtype != "float32":
            raise RegistryError(f"dtype: the package {self.backend} runs in float32; leave `dtype` out")
        return self

    def implementation(self) -> Any:
        """The class of its backend, or that of its family."""
        if self.backend is None:
            return super().implementation()
        return registry().backend(self.role, self.family, self.backend).implementation()

    @property
    def name(self) -> str:
        """The model without the path of this machine."""
        return Path(self.model).name if Path(self.model).is_absolute() else self.model

    @property
    def is_served(self) -> bool:
        """Whether a server runs it, and not this process."""
        return False

    def require_device(self, device: Device) -> None:
        """Raises DeviceUnavailableError where it needs a GPU of this process and none is visible; never falls back."""
        if device != "cuda" or self.is_served:
            return
        import torch

        if not torch.cuda.is_available():
            raise DeviceUnavailableError(
                f"This tier runs {self.model} on a CUDA GPU and none is visible here. "
                "Use --tier cpu, which runs smaller models on the processor."
            )


def make_model(spec: RoleSpec[Model], device: Device) -> Model:
    """The model of a spec, one for the process however many runs ask for it. Its weights are loaded when first needed.

    Raises DeviceUnavailableError or ModelUnavailableError, before any work.
    """
    model: Model = _maker(spec.role)(spec, device)
    return model


@cache
def _maker(role: str) -> Callable[[RoleSpec[Any], Device], Any]:
    """Makes the models of a role, and keeps the last ones."""

    def make(spec: RoleSpec[Any], device: Device) -> Any:
        spec.require_device(device)
        return spec.implementation()(spec, device)

    return lru_cache(_KEPT)(make)


def require_memory(vram_gib: float) -> None:
    """Raises DeviceUnavailableError where the first GPU has less memory than a tier counts on."""
    import torch

    found_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    if found_gib < vram_gib * ENOUGH_OF_A_CARD:
        raise DeviceUnavailableError(
            f"This tier is made for a GPU of {vram_gib:g} GiB, and {torch.cuda.get_device_name(0)} has "
            f"{found_gib:.0f}. Use a smaller tier (vistag models lists what fits)."
        )


def checkpoint_directory(spec: ModelSpec[Any], layout: Layout = TRANSFORMERS) -> Path:
    """The directory of a checkpoint, downloaded from the hub on first use.

    Without a `revision` the commit that was fetched first stays: a run does not change models because somebody
    published new weights. Raises ModelUnavailableError where the directory is no checkpoint or the hub does not
    give it.
    """
    if Path(spec.model).is_absolute():
        directory = Path(spec.model)
        if not (directory / layout.config).is_file():
            raise ModelUnavailableError(f"{directory} holds no checkpoint ({layout.config} is missing)")
    else:
        directory = download(spec.model, spec.revision, layout)
    _require_pinned(directory, spec.sha256)
    return directory


def _require_pinned(directory: Path, pins: Sequence[tuple[str, str]]) -> None:
    """Raises ModelUnavailableError where a file is not there or has other bytes than it is pinned to."""
    for name, sha256 in pins:
        path = directory / name
        if not path.is_file():
            raise ModelUnavailableError(
                f"{path} is missing, and its SHA-256 is pinned: fetch the checkpoint again"
            )
        stat = path.stat()
        if (found := _file_hash(path, stat.st_size, stat.st_mtime_ns)) != sha256:
            raise ModelUnavailableError(
                f"{path} has the SHA-256 {found}, and is pinned to {sha256}: it is not the file that was published, so it "
                "is not loaded. Fetch it again, or correct `sha256` where you changed it yourself"
            )


def download(model: str, revision: str | None, layout: Layout) -> Path:
    """The directory of a repository's files of a layout, from the hub's cache on this machine where they are.

    Raises ModelUnavailableError where the hub does not give them.
    """
    from huggingface_hub import snapshot_download

    if (cached := _cached(model, revision, layout)) is not None:
        return cached
    try:
        if not hub_answers():
            raise ConnectionError("no answer")
        with public_files():  # other accounts may share the cache
            return Path(snapshot_download(model, revision=revision, allow_patterns=_patterns(layout)))
    except Exception as error:
        raise ModelUnavailableError(
            f"{model} is not on this machine and could not be fetched from the Hugging Face hub at "
            f"{revision or 'its newest revision'} ({type(error).__name__}). Connect once to fetch it, or use --tier offline, "
            "which needs no network. Where the hub has no such revision, `revision: main` in the tier takes the newest."
        ) from error


def _patterns(layout: Layout) -> list[str]:
    return [*layout.files, *_CARDS]


def _cached(model: str, revision: str | None, layout: Layout) -> Path | None:
    """The directory in the hub's cache on this machine, where the files of a layout are in it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError):
        cached = Path(
            snapshot_download(
                model, revision=revision, allow_patterns=_patterns(layout), local_files_only=True
            )
        )
        if (cached / layout.config).is_file():  # a repository may hold two layouts, of which one was fetched
            return cached
    return None


def is_cached(spec: ModelSpec[Any], layout: Layout = TRANSFORMERS) -> bool:
    """Whether a checkpoint is on this machine: nothing is fetched."""
    if Path(spec.model).is_absolute():
        return (Path(spec.model) / layout.config).is_file()
    return _cached(spec.model, spec.revision, layout) is not None


def hub_answers() -> bool:
    """Whether the Hugging Face hub says anything; asked before a fetch, whose own retries take half a minute."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT)


def content_hash(directory: Path, layout: Layout = TRANSFORMERS) -> str:
    """SHA-256 over the names and bytes of the files that decide what a checkpoint computes."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in layout.files for path in directory.glob(pattern)}):
        stat = path.stat()
        digest.update(f"{path.name}\0{_file_hash(path, stat.st_size, stat.st_mtime_ns)}\0".encode())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_hash(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(directory: Path, layout: Layout = TRANSFORMERS) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / layout.config).read_text(encoding="utf-8"))
    return config


def read_scalars(directory: Path, *names: str, layout: Layout = TRANSFORMERS) -> dict[str, float]:
    """The value of each one-number tensor in `names`, read without loading the rest of the weights.

    Raises ValueError where a name is in none of the safetensors files.
    """
    found: dict[str, float] = {}
    for path in sorted({path for pattern in layout.weights for path in directory.glob(pattern)}):
        with path.open("rb") as file:
            tensors = read_header(file)
            first = file.tell()
            for name in set(names) & set(tensors):
                file.seek(first + tensors[name]["data_offsets"][0])
                found[name] = _read_number(file, tensors[name]["dtype"])
    if missing := sorted(set(names) - set(found)):
        raise ValueError(f"{directory}: no tensor named {', '.join(missing)} in its safetensors files")
    return found


def read_header(file: BinaryIO) -> dict[str, Any]:
    """Name -> dtype, shape and place of each tensor of a safetensors file, which is left where the numbers begin.

    Raises ValueError where it has no such header.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > _HEADER_MAX_BYTES:
        raise ValueError(f"{file.name}: no safetensors file: its header would have {length} bytes")
    tensors: dict[str, Any] = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    return tensors


def read_weights(directory: Path) -> dict[str, Any]:
    """All tensors of a checkpoint directory. Raises ModelUnavailableError where it has pickles only."""
    from safetensors.torch import load_file

    require_safetensors(directory)
    files = sorted(directory.glob("*.safetensors"))
    return {name: values for path in files for name, values in load_file(path).items()}


def _read_number(file: BinaryIO, dtype: str) -> float:
    """One little-endian number; numpy, and so `safe_open` without torch, knows no bfloat16."""
    if dtype == "BF16":  # the upper half of a float32
        return float(struct.unpack("<f", b"\0\0" + file.read(2))[0])
    form, size = {"F16": ("<e", 2), "F32": ("<f", 4), "F64": ("<d", 8)}[dtype]
    return float(struct.unpack(form, file.read(size))[0])


def load_processor(directory: Path, auto: str = "AutoProcessor") -> Any:
    """What the class `auto` of transformers makes of a checkpoint directory; nothing is fetched."""
    import transformers

    _quieten_transformers()
    return getattr(transformers, auto).from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )


def load_model(directory: Path, auto: str, dtype: Dtype, device: Device) -> Any:
    """The model that the class `auto` of transformers makes of a checkpoint directory, to be asked, not trained.

    Nothing is fetched, no code of a checkpoint is run and no pickle is read. Raises ModelUnavailableError where there
    are no safetensors, or from_pretrained had to make weights up.
    """

    def load() -> Any:
        import torch
        import transformers

        require_safetensors(directory)
        _quieten_transformers()
        model, loading = getattr(transformers, auto).from_pretrained(
            directory,
            local_files_only=True,
            trust_remote_code=False,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
        )
        refuse_missing(directory, sorted(loading["missing_keys"]))
        return model.to(device).eval()

    return shared_model(directory, auto, dtype, device, load)


def shared_model(directory: Path, auto: str, dtype: Dtype, device: Device, load: Callable[[], Any]) -> Any:
    """What `load` makes of a checkpoint directory.

    Whoever asks for the same bytes again while somebody holds the model gets that one: two lanes of one checkpoint
    cost its memory once.
    """
    key = (content_hash(directory), auto, dtype, device)
    if (loaded := _LOADED.get(key)) is not None:
        return loaded
    _LOADED[key] = model = load()
    count_load(directory)
    return model


def renamed(name: str, rules: Iterable[Renaming]) -> str:
    """A weight's name in one layout -> its name in another: patterns and what stands for them, one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def refuse_missing(directory: Path, weights: list[str]) -> None:
    """Raises ModelUnavailableError where weights had to be made up: a library warns of that and goes on."""
    if weights:
        raise ModelUnavailableError(
            f"{directory} lacks weights of its model: {', '.join(weights[:5])}. Fetch it again."
        )


def require_safetensors(directory: Path) -> None:
    """Raises ModelUnavailableError where a checkpoint has its weights as pickles only, which can run code."""
    if not any(directory.glob("*.safetensors")):
        raise ModelUnavailableError(
            f"{directory} holds no weights as safetensors, and pickles are not loaded. Convert its weights once "
            "(vistag convert FILE). On the hub there is often a pull request that converts them: name it in the tier, such "
            "as `revision: refs/pr/1`."
        )


def _quieten_transformers() -> None:
    """It warns of special tokens in its own defaults, which no checkpoint has; missing weights are an error here."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
