"""The one place where a home's settings become the things that stages work with."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import dagster as dg
import pyarrow as pa
from pydantic import PrivateAttr

from resources.decisions import DecisionLog
from resources.gpus import MODELS_POOL, card_of_its_own
from resources.home import Home, Settings, read_settings
from resources.home.presence import shown_as_running
from resources.home.private import private_files
from resources.home.run_folders import folders_of
from resources.images import Limits
from resources.lake import CorruptPartition, Lake
from resources.lake.locks import Leases
from resources.lake.ranges import EVERY_ID, IdRange, ranges_of
from resources.models.batch_sizes import FILE as BATCH_SIZES
from resources.models.batch_sizes import BatchSizes
from resources.models.checkpoints import Model, ModelSpec, RoleSpec, make_model, require_memory
from resources.models.depth import DepthSpec
from resources.models.detectors import DetectorSpec
from resources.models.encoders import EncoderSpec
from resources.models.ocr import OcrSpec
from resources.models.segmenters import SegmenterSpec
from resources.models.taggers import TaggerSpec
from resources.models.tiers import Tier, TierError, load_tier
from resources.models.vlms import TextModel, Vlm, VlmSpec
from taxonomy import STARTER, Taxonomy, load_taxonomy
from taxonomy.languages import ENGLISH

HEAVY_EXTRA_BEAMS = 3


class _ModelOf(Generic[Model]):
    """The model that the tier names in the field of the same name: made when first asked for, and once.

    Raises TierError where the tier names none, DeviceUnavailableError or ModelUnavailableError.
    """

    def __init__(self, spec: type[RoleSpec[Model]]) -> None:
        """`spec`: what that field of a tier is."""

    def __set_name__(self, owner: type, field: str) -> None:
        self._field = field

    def __get__(self, workspace: Workspace, owner: type) -> Model:
        tier = workspace.tier
        spec: RoleSpec[Model] | None = getattr(tier, self._field)
        if spec is None:
            raise TierError(
                f"The tier {tier.name} names no {self._field}: add `{self._field}:` to its YAML file"
            )
        model: Model = workspace.made(spec)
        vars(workspace)[self._field] = model
        return model


@dataclass(frozen=True)
class Workspace:
    """A home with its tier. What is expensive is made when it is first used, and once."""

    home: Home
    settings: Settings
    tier: Tier

    encoder = _ModelOf(EncoderSpec)
    detector = _ModelOf(DetectorSpec)
    segmenter = _ModelOf(SegmenterSpec)
    vlm = _ModelOf(VlmSpec)
    tagger = _ModelOf(TaggerSpec)
    ocr = _ModelOf(OcrSpec)
    depth = _ModelOf(DepthSpec)

    @cached_property
    def heavy_vlm(self) -> Vlm:
        model: Vlm = self.made(self._heavy)
        return model

    @cached_property
    def repair(self) -> TextModel | None:
        """None where the tier names none: descriptions do without."""
        return self.made(self.tier.repair) if self.tier.repair else None

    def made(self, spec: RoleSpec[Model]) -> Model:
        """The model of a spec of the tier, which takes as many images at a time as fitted before."""
        model: Model = make_model(spec, self.tier.device)
        if isinstance(spec, ModelSpec):
            self._batch_sizes.apply(spec, model)
        return model

    def halve_batches(self, role: str) -> bool:
        """Have the models of a role that are in use take half as many images at a time, where they take more than one.

        Returns whether any does. It is remembered for the card.
        """
        asked = {role: getattr(self.tier, role), **({"heavy_vlm": self._heavy} if role == "vlm" else {})}
        used = [(spec, vars(self)[field]) for field, spec in asked.items() if field in vars(self)]
        halved = [self._batch_sizes.halve(spec, model) for spec, model in used if isinstance(spec, ModelSpec)]
        return any(halved)

    @property
    def _heavy(self) -> VlmSpec:
        """The heavy lane's model: the fast one's with more beams, where the tier names none."""
        assert self.tier.vlm
        return self.tier.heavy_vlm or _with_more_beams(self.tier.vlm)

    @property
    def _batch_sizes(self) -> BatchSizes:
        return BatchSizes(self.home.root / BATCH_SIZES)

    @cached_property
    def lake(self) -> Lake:
        return self.home.lake

    @cached_property
    def decisions(self) -> DecisionLog:
        return self.home.decisions

    @property
    def limits(self) -> Limits:
        return Limits(**self.tier.limits.model_dump())

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Raises TaxonomyError where the vocabulary or the description of its facets cannot be used."""
        name = self.settings.taxonomy or self.tier.taxonomy
        facets = self.settings.facets or (None if self.settings.taxonomy else self.tier.facets)
        return load_taxonomy(
            STARTER if name == "starter" else Path(name),
            Path(facets) if facets else None,
            languages=self.settings.languages or ENGLISH,
            columns=self.settings.columns,
            asked=self.settings.labels,
        )

    def ranges_of(self, key: str) -> list[IdRange]:
        """The images of a folder in the ranges that are worked on at a time; asked of the lake once."""
        if key not in self._ranges:
            try:
                proxies = self.lake.read_or_none("proxies", key, ["id"])
            except CorruptPartition:  # who reads more of it says so
                return [EVERY_ID]
            if proxies is None:
                return [EVERY_ID]
            self._ranges[key] = ranges_of(proxies["id"])
        return self._ranges[key]

    @cached_property
    def _ranges(self) -> dict[str, list[IdRange]]:
        return {}

    @property
    def taxonomy_table(self) -> pa.Table:
        """The concepts as rows: ids, labels, hierarchy, and what the catalogue and others call them."""
        texts = pa.list_(pa.string())
        fields = {
            "id": pa.string(), "pref_label": pa.string(), "alt_labels": texts, "language": pa.string(),
            "facet": pa.string(), "broader": texts, "definition": pa.string(), "iri": pa.string(),
            "notation": pa.string(), "exact_match": texts, "close_match": texts,
        }  # fmt: skip
        concepts = self.taxonomy.concepts
        return pa.table(
            {name: pa.array([getattr(c, name) for c in concepts], of) for name, of in fields.items()}
        )


def _with_more_beams(fast: VlmSpec) -> VlmSpec:
    """The heavy lane's model where the tier names none; a server has no beams, and answers as in the fast lane."""
    more = 0 if fast.is_served else HEAVY_EXTRA_BEAMS
    return fast.model_copy(update={"beams": fast.beams + more})


def open_workspace(home: Home) -> Workspace:
    """The workspace of a home. Raises SettingsError or TierError."""
    settings = read_settings(home)
    return Workspace(home, settings, chosen_tier(settings))


def chosen_tier(settings: Settings) -> Tier:
    """The tier that settings name, with what they say in its place. Raises TierError."""
    tier = load_tier(settings.tier)
    return tier.model_copy(update={"flags": settings.flags}) if settings.flags else tier


def require_card(tier: Tier) -> None:
    """Raises DeviceUnavailableError where a tier needs a GPU that this machine does not have, or has too small."""
    tier.encoder.require_device(tier.device)
    if tier.device == "cuda":
        require_memory(tier.vram_gib or 0)


class ForeignHomeError(ValueError):
    """The configuration of a run names another home than that of the process."""


class VistagResource(dg.ConfigurableResource):
    """The home that assets read and write: this one, else $VISTAG_HOME, else ./.vistag.

    The configuration of a run may name the home of the process and no other: whoever may start runs could have its
    settings, its tier's addresses with them, be those of a folder of theirs. Raises ForeignHomeError.
    """

    home: Any = ""
    """a path; not `str`, which Dagster also takes as `{"env": VARIABLE}` and then looks up"""
    _run: _Run | None = PrivateAttr(default=None)

    def resolve_home(self) -> Home:
        return Home.resolve(Path(self.home) if self.home else None)

    def open(self) -> Workspace:
        """The workspace of the home: in a run the same one, with the models that it has loaded, for all steps."""
        return self._run.open(self.resolve_home()) if self._run else open_workspace(self.resolve_home())

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[VistagResource]:
        """The resource for as long as a run lasts. Of two runs on one folder the second waits here for the first
        to end: the stages of one would otherwise read what the other has half done.
        """
        run, instance = context.run, context.instance
        if run is None or instance is None:  # a sensor's
            yield self
            return
        _require_own_home(run.run_config)
        pools = run.run_op_concurrency.all_pools if run.run_op_concurrency else None
        with ExitStack() as held:
            held.enter_context(private_files(self.resolve_home().root))
            held.enter_context(shown_as_running(Path(instance.root_directory), run.run_id))
            held.enter_context(
                self.resolve_home().working_on(folders_of(run, instance), lambda: _say_waiting(context))
            )
            self._run = _Run(held, loads_models=MODELS_POOL in (pools or ()))
            try:
                yield self
            finally:
                self._run = None


@dataclass
class _Run:
    """What the steps of a run share; `held` is let go when it ends."""

    held: ExitStack
    loads_models: bool
    _workspace: Workspace | None = None

    def open(self, home: Home) -> Workspace:
        if self._workspace is None:
            workspace = open_workspace(home)
            if self.loads_models and workspace.tier.device == "cuda":
                # in a shared home each machine has a card 0
                here = socket.gethostname() if isinstance(home.locks, Leases) else ""
                self.held.enter_context(card_of_its_own(home.root / "cards" / here))
            self._workspace = workspace
        return self._workspace


def _require_own_home(config: Mapping[str, Any]) -> None:
    own, named = Home.resolve().root, config
    for name in ("resources", "vistag", "config", "home"):
        named = (named or {}).get(name) or {}
    if named and not (isinstance(named, str) and Path(named).resolve() == own.resolve()):
        raise ForeignHomeError(
            f"The configuration of this run names another home than {own}, which this process works on. Start the "
            "run without `resources`, or vistag with --home for the other one."
        )


def _say_waiting(context: dg.InitResourceContext) -> None:
    if context.log:
        context.log.warning("Another run is at work on folders of this one: it goes on when that has ended.")


def run_config(home: Home) -> dict[str, Any]:
    """The configuration of a run that is to work on `home`, wherever it is started."""
    return {"resources": {"vistag": {"config": {"home": str(home.root)}}}}
