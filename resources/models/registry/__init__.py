"""The one table of models: role -> family -> checkpoints, one YAML file a role beside this one, named for it.

What the roles are stands in resources/models/roles.py. A family is the code that runs an architecture; a checkpoint is
weights for it. A tier names a checkpoint, and all that the table knows of it (family, licence, precision, batch size)
need not be said again. No torch here.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from resources.yaml_file import YamlFileError, read_yaml

Dtype = Literal["float32", "float16", "bfloat16"]
State = Literal["works", "not proven", "not carried"]
"""*works*: held by a test to the library's own output; *not proven*: the real thing could not be had to test against."""
Quantisation = Literal["fp8", "int8", "int4"]

PERMISSIVE = frozenset(
    {"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "OpenMDW-1.0", "own"}
)
"""Licences that a tier need not accept by name; `own` is for weights that you made."""

HERE = Path(__file__).parent


class RegistryError(ValueError):
    """A mistake in a table of models, or a name that none holds; the message says which are known."""


class KvCache(BaseModel):
    """What decoding keeps of each token: keys and values of every layer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt

    @property
    def bytes_a_token(self) -> int:
        """At 16 bits."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


class Package(BaseModel):
    """A distribution of the registry of Python packages that ships weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    """that the hash was taken of"""
    file: str
    """of the installed distribution"""
    sha256: str
    architecture: str = ""
    """of timm, whose tensors the file holds in their order; empty where the file says what it is"""
    width: NonNegativeInt = 0
    """of the features before the last layer"""


class Checkpoint(BaseModel):
    """Weights of a family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """id on the Hugging Face hub, or what the family calls its model"""
    licence: str
    """of the weights; SPDX where it has an identifier"""
    parameters_m: NonNegativeFloat
    """millions"""
    dtype: Dtype = "bfloat16"
    quantisation: Quantisation | None = None
    """what the weights are stored in where that is less than `dtype`"""
    batch_size: PositiveInt = 32
    activations_mib: NonNegativeFloat = 0
    """of one item of a batch, at `dtype`, at its peak"""
    image_tokens: PositiveInt | None = None
    """of a vision-language model, for an image of a megapixel"""
    kv: KvCache | None = None
    revision: str | None = None
    """commit on the hub, as public code pins it; None: none was found that two sources agree on"""
    sha256: dict[str, str] = {}
    """of its files, by name, where its owner publishes them and somebody here has seen them"""
    package: Package | None = None
    """of the registry of Python packages, that ships it; None: it comes from the hub"""
    note: str = ""
    multilingual: bool = False
    """of an encoder: whether it was trained on texts in many languages, so that labels are asked in their own"""

    @property
    def weights_gib(self) -> float:
        return weights_gib(self.parameters_m, self.quantisation or self.dtype)


class Family(BaseModel):
    """An architecture and the code that runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    name: str
    systems: tuple[str, ...]
    """names under which people know it"""
    code: str
    """module:class, made with (spec, device)"""
    library: str
    extra: str | None = None
    """of pyproject.toml, where vistag's own dependencies do not run it"""
    proof: str
    """the test that holds it to the library's own output: file::test"""
    tasks: dict[str, str] | None = None
    """of a VLM that follows no prompts of ours: what it is asked for each task that it can do (docs/vlms.md)"""
    modes: dict[str, str] = {}
    """of a VLM: prompts that a tier may name for a task, each asked word for word"""
    system: str = ""
    """of a chat model that was trained with one: its system message"""
    served_by: str = ""
    """of a VLM that no process of ours can run: the server that does, with its version"""
    backend_of: str | None = None
    """the family whose checkpoints it runs in the place of its own code, for a line of a tier that says `backend: LIBRARY`"""
    remote_code: bool = False
    """whether it runs code that comes with its checkpoints, which a tier has to allow (`remote_code: true`)"""
    state: State = "works"
    off_by_default: str = ""
    """why no tier of ours names it, where that is so"""
    checkpoints: tuple[Checkpoint, ...] = ()

    def implementation(self) -> Any:
        """The class, imported now. Raises ModuleNotFoundError where its package is missing."""
        module, name = self.code.split(":")
        return getattr(import_module(module), name)


class NotCarried(BaseModel):
    """A system that people ask for and that does not run here, or of which nobody here has seen it run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    system: str
    state: State = "not carried"
    reason: str
    substitute: str


class Registry(BaseModel):
    """All tables."""

    model_config = ConfigDict(frozen=True)

    families: tuple[Family, ...]
    not_carried: tuple[NotCarried, ...]

    @cached_property
    def _by_model(self) -> dict[tuple[str, str], tuple[Family, Checkpoint]]:
        return {
            (family.role, checkpoint.model): (family, checkpoint)
            for family in self.families
            for checkpoint in family.checkpoints
        }

    def family(self, role: str, name: str) -> Family:
        """The family of a role. Raises RegistryError."""
        known = {family.name: family for family in self.families if family.role == role}
        if name not in known:
            raise RegistryError(f"there is no {role} family {name!r}; known: {', '.join(sorted(known))}")
        return known[name]

    def backend(self, role: str, family: str, name: str) -> Family:
        """The package that runs a family's checkpoints in the place of its own code. Raises RegistryError."""
        backends = [each for each in self.families if each.role == role and each.backend_of]
        known = {each.library: each for each in backends if each.backend_of == family}
        if name not in known:
            of = next((each.backend_of for each in backends if each.library == name), None)
            raise RegistryError(
                f"backend: the family {family} has no {name!r}; it has {', '.join(sorted(known)) or 'its own code only'}"
                + (f" ({name} runs the family {of})" if of else "")
            )
        return known[name]

    def refuse_backend_as_family(self, role: str, name: str) -> None:
        """Raises RegistryError where a family is a package that runs another's checkpoints."""
        family = self.family(role, name)
        if family.backend_of:
            raise RegistryError(
                f"family: write `family: {family.backend_of}` and `backend: {family.library}`"
            )

    def find(self, role: str, model: str) -> tuple[Family, Checkpoint] | None:
        """What is known of a checkpoint in a role; None where nothing is."""
        return self._by_model.get((role, model))


BITS: dict[str, int] = {"float32": 32, "float16": 16, "bfloat16": 16, "fp8": 8, "int8": 8, "int4": 4}


def weights_gib(parameters_m: float, precision: Dtype | Quantisation) -> float:
    """Memory of weights; quantised ones carry about a tenth more, for scales and what stays at 16 bits."""
    overhead = 1.1 if precision in ("fp8", "int8", "int4") else 1.0
    return parameters_m * 1e6 * BITS[precision] / 8 * overhead / 2**30


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The tables beside this file. Raises RegistryError, naming file and field."""
    families: list[Family] = []
    not_carried: list[NotCarried] = []
    for path in sorted(HERE.glob("*.yaml")):
        role = path.stem
        try:
            content = read_yaml(path).content
            families += [
                Family.model_validate({"role": role, "name": name, **fields})
                for name, fields in (content.get("families") or {}).items()
            ]
            not_carried += [
                NotCarried.model_validate({"role": role, **fields})
                for fields in content.get("not_carried") or []
            ]
        except YamlFileError as error:
            raise RegistryError(str(error)) from error
        except ValidationError as error:
            raise RegistryError(f"{path}: {error}") from error
    return Registry(families=tuple(families), not_carried=tuple(not_carried))


def with_what_is_known(role: str, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a tier's model, and under them what the table says of that checkpoint.

    Raises RegistryError for a family that is not in the table.
    """
    known = registry().find(role, str(given.get("model")))
    if known is not None:
        family, checkpoint = known
        of_table: dict[str, Any] = {"family": family.name} | checkpoint.model_dump(
            include={"licence", "dtype", "batch_size", "revision", "sha256"}
        )
        if checkpoint.multilingual:
            of_table["multilingual"] = True
        given = of_table | given
    if "family" in given:
        registry().family(role, str(given["family"]))
    return given


def line_of(role: str, name: str) -> dict[str, Any]:
    """What a tier says of a model that it calls by a name alone: a checkpoint of the table, or a family's first one.

    Raises RegistryError for what the table does not hold: of that a tier has to say family and licence too.
    """
    if registry().find(role, name):
        return {"model": name}
    families = [family for family in registry().families if family.role == role and family.checkpoints]
    first = {family.name: family.checkpoints[0].model for family in families}
    if name not in first:
        raise RegistryError(
            f"{name!r} is no {role} of the registry (vistag models --role {role} lists them): name one of it, or write "
            f"`{role}: {{model: {name}, family: ..., licence: ...}}`"
        )
    return {"model": first[name]}
