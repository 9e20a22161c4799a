"""Tiers: one YAML file names the model of each role and how it is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from resources.models.checkpoints import Device, ModelSpec, RoleSpec
from resources.models.depth import DepthSpec
from resources.models.detectors import DetectorSpec
from resources.models.encoders import EncoderSpec
from resources.models.familiarity import World
from resources.models.ocr import OcrSpec
from resources.models.registry import PERMISSIVE
from resources.models.segmenters import SegmenterSpec
from resources.models.taggers import TaggerSpec
from resources.models.tiers.planner import misfit
from resources.models.tiers.routing import RoutingSpec
from resources.models.vlms import RepairSpec, VlmSpec
from resources.yaml_file import YamlFileError, read_yaml
from resources.yaml_model import problems_of
from taxonomy.problems import did_you_mean

Option = Literal["A1", "A2", "A2T", "A3", "B1", "B2", "B3"]
"""How much of the graph makes the final tags and descriptions (docs/options.md)."""

HERE = Path(__file__).parent
SUFFIXES = (".yaml", ".yml")
"""Of a tier file; what ends so is a path."""


class TierError(ValueError):
    """A tier that does not exist or a tier file with a mistake; the message names file and field."""


class Limits(BaseModel):
    """What a file may cost before it is rejected, and how large its working copy is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_megapixels: PositiveFloat = 250
    max_file_mib: PositiveFloat = 1024
    proxy_max_side_px: Annotated[int, Field(ge=64, le=8192)] = 1024
    max_decode_s: PositiveFloat = 60
    """processor seconds of decoding one file"""
    raw: Literal["preview", "decode"] = "preview"
    """of a camera's raw file: the camera's own preview in it, or what LibRaw develops"""


class TagSettings(BaseModel):
    """Which fused tags are kept, and when an image is known too little."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: PositiveInt = 40
    """Tags kept for an image, best first; broader ones that got their probability from these come on top."""
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.002
    """Tags below are not kept."""
    confident_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    confident_tags: NonNegativeInt = 3
    """An image with fewer tags of `confident_probability` gets the VLM's own words too, for review."""
    precision_floor: Annotated[float | None, Field(gt=0, lt=1, exclude=True)] = 0.5
    """The share of right ones among what the thresholds of `vistag calibrate` keep, as many as it allows; null: of the best
    F1. No row of the lake depends on it, so that it is in no fingerprint."""


class DuplicateThresholds(BaseModel):
    """From where on two images are copies of one another (docs/search.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bits: Annotated[int, Field(ge=0, le=64)] = 4
    """Up to so many bits of 64 that perceptual hashes differ in, whatever the embeddings say."""
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.6
    """Of the embeddings, from which on hashes may differ more,"""
    cosine_per_bit: Annotated[float, Field(ge=0, le=1)] = 0.015
    """and how much closer embeddings have to be for each bit."""


class SearchSettings(BaseModel):
    """From where on what is found is shown, and what are near-duplicates (docs/search.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Of words, as `tag_scores` have it."""
    min_likeness: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Of a picture: 0 is what any two pictures are to each other, 1 the same."""
    duplicates: DuplicateThresholds = DuplicateThresholds()


class TailRecallDrop(BaseModel):
    """When the loss of rare tags against the last accepted run fails the check (docs/report.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    severity: Literal["ERROR", "WARN"] = "ERROR"
    allowed_drop: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of recall@10 of the tail; the 95 % interval of the difference has to lie below its negative."""


class CheckSettings(BaseModel):
    """What the checks of an evaluation let pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tail_recall_drop: TailRecallDrop = TailRecallDrop()


class Tier(BaseModel):
    """A tier file. Paths in it are relative to the file."""

    # What was given stays out of the text of errors, which Dagster keeps: it may be a key in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    description: str
    device: Device
    vram_gib: PositiveFloat | None = None
    """of the card that all models of the tier share; needed where `device` is cuda"""
    accept_licence: tuple[str, ...] = ()
    """licences of weights that you may use though they are not permissive (docs/models.md)"""
    option: Option = "B3"
    encoder: EncoderSpec
    detector: DetectorSpec | None = None
    segmenter: SegmenterSpec | None = None
    vlm: VlmSpec | None = None
    heavy_vlm: VlmSpec | None = None
    """The heavy lane's; None: the same model with more beams."""
    tagger: TaggerSpec | None = None
    """A model with tags of its own, or one that is asked the vocabulary (docs/taggers.md)."""
    ocr: OcrSpec | None = None
    depth: DepthSpec | None = None
    repair: RepairSpec | None = None
    """mends descriptions whose form the rules cannot mend; None: their captions stand in"""
    routing: RoutingSpec = RoutingSpec()
    taxonomy: str = "starter"
    facets: str | None = None
    """A file that describes the facets of `taxonomy`; None: the facets.yaml beside it, else the starter's."""
    limits: Limits = Limits()
    tags: TagSettings = TagSettings()
    search: SearchSettings = SearchSettings()
    checks: CheckSettings = CheckSettings()
    flags: str | None = None
    """A policy of flags (docs/flags.md); None: nothing is flagged."""
    fusion: str | None = None
    """A fusion.json (make fit-fusion); None: the noisy-or of docs/fusion.md."""
    keep_top: PositiveInt = 200
    """Tags kept for an image, best first."""
    share_with_broader: bool = True
    """Whether narrower concepts lend their score to broader ones."""
    made_for: World | None = None
    """What its models were made for; other pictures are told, and their probabilities drawn towards the prior. None: for any."""
    caveat: str = ""
    """A sentence for users of images that these models cannot know."""
    alternates: dict[str, tuple[str | dict[str, Any], ...]] = {}
    """Other models for a role, each the line to write there; nothing reads them but people and tests."""

    @model_validator(mode="after")
    def _size_of_the_card(self) -> Self:
        if self.device == "cuda" and self.vram_gib is None:
            raise ValueError("vram_gib: say how many GiB the card has, so that what does not fit is refused")
        return self


def tier_names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def load_tier(name: str) -> Tier:
    """The tier of a name, or of a path that ends in `.yaml`.

    Raises TierError for an unknown name, an unreadable file, or a field that is missing, unknown or wrong.
    """
    path = Path(name) if name.endswith(SUFFIXES) else HERE / f"{name}.yaml"
    if not path.is_file():
        raise TierError(_not_there(name))
    try:
        file = read_yaml(path)
    except YamlFileError as error:
        raise TierError(str(error)) from error
    content = file.content
    if not isinstance(content, dict):
        raise TierError(f"{path}: expected a mapping with the fields {', '.join(Tier.model_fields)}")
    try:
        tier = Tier.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise TierError(f"{path}:\n{problems_of(error, file, Tier)}") from error
    tier = _with_absolute_paths(tier, path.parent)
    if problems := "\n".join(_refused_licences(tier)):
        raise TierError(f"{path}:\n{problems}")
    if tier.vram_gib and (problem := misfit(model_specs(tier), tier.vram_gib)):
        raise TierError(f"{path}: {problem}")
    return tier


def _not_there(name: str) -> str:
    """What to say of a name of no tier, or of a path of no file: with what is near to it."""
    path, known = Path(name), tier_names()
    if not name.endswith(SUFFIXES) and len(path.parts) == 1:
        told = f"There is no tier {name!r}{did_you_mean(name, known) or '.'} Known tiers: {', '.join(known)}"
        return f"{told}; or the path of a .yaml file"
    if path.is_dir():
        return f"{name} is a folder, not a tier: give the .yaml file in it"
    if path.is_file():
        return f"{name} is no tier: the name of its file has to end in .yaml or .yml"
    if not path.parent.is_dir():
        return f"There is no file {name}: there is no folder {path.parent}"
    beside = sorted(file.name for file in path.parent.iterdir() if file.name.endswith(SUFFIXES))
    others = ", ".join(beside[:9]) or "no .yaml file"
    return f"There is no file {name}{did_you_mean(path.name, beside) or f'. Beside it: {others}'}"


def role_specs(tier: Tier) -> dict[str, RoleSpec[Any]]:
    """All models that a tier names: field -> spec, in the order of the graph."""
    specs = {field: getattr(tier, field) for field in Tier.model_fields}
    return {field: spec for field, spec in specs.items() if isinstance(spec, RoleSpec)}


def model_specs(tier: Tier) -> dict[str, ModelSpec[Any]]:
    """The models with weights of their own that a tier names: field -> spec."""
    return {field: spec for field, spec in role_specs(tier).items() if isinstance(spec, ModelSpec)}


def _refused_licences(tier: Tier) -> Iterator[str]:
    for role, spec in model_specs(tier).items():
        if spec.licence not in PERMISSIVE and spec.licence not in tier.accept_licence:
            yield (
                f"  {role}: the weights of {spec.model} are under the licence {spec.licence}, which restricts their "
                f"use. Read it, then add `accept_licence: [{spec.licence}]` to this file, or name another model."
            )


def _with_absolute_paths(tier: Tier, base: Path) -> Tier:
    update: dict[str, Any] = {}
    for role in tier.model_fields_set:
        spec = getattr(tier, role)
        if isinstance(spec, ModelSpec):
            named = {field: getattr(spec, field, None) for field in ("model", "text_model")}
            paths = {
                field: str((base / name).resolve())
                for field, name in named.items()
                if name and name.startswith(".")
            }
            update[role] = spec.model_copy(update=paths)
    if tier.fusion:
        update["fusion"] = str((base / tier.fusion).resolve())
    if tier.flags:
        update["flags"] = str((base / tier.flags).resolve())
    if tier.facets:
        update["facets"] = str((base / tier.facets).resolve())
    if tier.taxonomy != "starter":
        update["taxonomy"] = str((base / tier.taxonomy).resolve())
    return tier.model_copy(update=update)
