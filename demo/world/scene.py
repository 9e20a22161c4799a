"""What stands in a scene: a seeded description, drawn from Zipf frequencies, that the renderer turns into pixels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

OBJECTS = (
    "bowl", "vase", "plate", "jug", "key", "book", "chair", "amphora", "bottle", "sword", "ring", "picture-frame", "candlestick",
    "mask", "teapot", "spoon", "clock", "necklace", "bell", "chest", "violin", "shield", "helmet", "comb", "goblet", "oil-lamp",
    "lantern", "camera", "fan", "scissors", "hammer", "axe", "tankard", "bird", "fish", "cross", "crown", "pocket-watch",
    "hand-mirror", "scroll", "boot", "globe", "spectacles", "model-ship", "column", "wheel", "stool", "barrel", "skull", "top-hat",
    "umbrella", "arrowhead", "padlock", "bucket", "tobacco-pipe", "lyre", "trumpet", "anchor", "ladder", "magnifying-glass",
    "hourglass", "balance-scales", "sickle", "obelisk", "spinning-top",
)  # fmt: skip
"""Every list here runs from the most common concept to the rarest."""
SURFACES = (
    "terracotta", "bronze", "porcelain", "oak", "silver", "marble", "iron", "glass", "copper", "leather", "gold", "linen", "ebony",
    "granite", "jade", "lacquer", "amber", "tortoiseshell", "lapis-lazuli", "malachite",
)  # fmt: skip
WORKMANSHIP = (
    "painted-decoration", "gilding", "engraving", "fluting", "inlay", "repousse", "openwork", "kintsugi",
)  # fmt: skip
DAMAGE = ("crack", "scratches", "corrosion", "craquelure", "chipping", "staining", "verdigris", "dents")
SETTINGS = ("studio-backdrop", "stone-plinth", "wooden-shelf", "velvet-cloth", "display-case", "brick-wall")
LIGHTINGS = ("soft-light", "raking-light", "spotlight", "backlight")
PROPS = ("museum-label", "scale-bar", "colour-chart")

METALS = frozenset({"bronze", "silver", "gold", "iron", "copper"})
CERAMICS = frozenset({"terracotta", "porcelain"})
STONES = frozenset({"marble", "granite", "jade", "lapis-lazuli", "malachite"})
WOODS = frozenset({"oak", "ebony"})
SOFT = frozenset({"leather", "linen"})
EVERYTHING = frozenset(SURFACES)

SUITS: dict[str, frozenset[str]] = {
    "gilding": EVERYTHING - {"gold", "glass", "linen"},
    "engraving": EVERYTHING - {"linen", "granite", "terracotta"},
    "inlay": EVERYTHING - {"linen", "glass", "terracotta"},
    "painted-decoration": CERAMICS | WOODS | SOFT | {"granite", "marble", "iron", "glass"},
    "repousse": METALS | {"leather"},
    "fluting": EVERYTHING - SOFT - {"malachite", "tortoiseshell"},
    "openwork": EVERYTHING - {"glass", "linen", "granite"},
    "kintsugi": CERAMICS | {"lacquer", "jade", "glass", "marble"},
    "craquelure": CERAMICS | WOODS | {"lacquer", "leather", "marble", "amber", "glass"},
    "crack": EVERYTHING - METALS - SOFT,
    "chipping": EVERYTHING - METALS - SOFT,
    "dents": METALS | {"leather"},
    "verdigris": frozenset({"bronze", "copper", "silver"}),
    "corrosion": frozenset({"iron", "bronze", "copper", "silver"}),
    "scratches": EVERYTHING - {"linen", "granite", "terracotta"},
    "staining": SOFT | CERAMICS | {"oak", "marble", "granite"},
}
"""Which materials take which technique or condition; all take one that is not named."""

ZIPF_EXPONENT = 1.05
TEXTS = (
    "GALLERY {n}", "INV. {y}.{n}", "CASE {n}", "LOT {n}", "ROOM {n}", "c. {y}", "No. {n}", "PLATE {n}", "ANNO {y}", "EAST WING {n}",
)  # fmt: skip


class Split(IntEnum):
    """The first word of every seed: scenes of different splits can never be the same scene."""

    TRAIN = 1
    CALIBRATE = 2
    CORPUS = 3
    VALIDATE = 4
    HARD = 5


@dataclass(frozen=True, slots=True)
class World:
    """Which concepts a museum shows, and how often and how large. Lists run from the most common concept to the rarest."""

    objects: tuple[str, ...] = OBJECTS
    materials: tuple[str, ...] = SURFACES
    techniques: tuple[str, ...] = WORKMANSHIP
    conditions: tuple[str, ...] = DAMAGE
    settings: tuple[str, ...] = SETTINGS
    lightings: tuple[str, ...] = LIGHTINGS
    props: tuple[str, ...] = PROPS
    suits: Mapping[str, frozenset[str]] = field(default_factory=lambda: SUITS)
    zipf_exponent: float = ZIPF_EXPONENT
    object_chances: tuple[float, ...] = (0.42, 0.36, 0.22)
    """of one object, of two and so on"""
    sizes: tuple[tuple[float, float], ...] = ((0.5, 0.84), (0.34, 0.62), (0.26, 0.5))
    """of the objects where there is one, where there are two and so on: least and largest share of the shorter side"""
    small_chance: float = 0.12
    """of an object of a fifth of the shorter side"""
    technique_chance: float = 0.3
    condition_chance: float = 0.3

    @property
    def drawable(self) -> tuple[str, ...]:
        """Every concept id that it can show, sorted."""
        lists = (self.objects, self.materials, self.techniques, self.conditions, self.settings)
        return tuple(sorted([c for some in (*lists, self.lightings, self.props) for c in some]))


STANDARD = World()


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object. Positions are shares of the image's width and height, the size a share of its shorter side."""

    concept: str
    material: str
    technique: str | None
    condition: str | None
    centre_x: float
    base_y: float
    size: float
    angle_deg: float
    mirror: bool
    seed: int


@dataclass(frozen=True, slots=True)
class PropSpec:
    """A label, scale bar or colour chart lying in front; `text` is what can be read on it."""

    concept: str
    centre_x: float
    base_y: float
    size: float
    text: str


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """All that decides what a picture shows."""

    aspect: float
    setting: str
    lighting: str | None
    light_from_left: bool
    seed: int
    objects: tuple[ObjectSpec, ...]
    props: tuple[PropSpec, ...]

    @property
    def digest(self) -> str:
        """Hex SHA-256 of everything the scene shows; two scenes are the same scene if it is equal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def tags(self) -> frozenset[str]:
        """Every concept that can truly be seen."""
        seen = {self.setting, *(p.concept for p in self.props)} | (
            {self.lighting} if self.lighting else set()
        )
        for item in self.objects:
            seen |= set(object_tags(item))
        return frozenset(seen)


def object_tags(item: ObjectSpec) -> tuple[str, ...]:
    """The concepts that one object carries."""
    return tuple(c for c in (item.concept, item.material, item.technique, item.condition) if c)


def drawable_concepts() -> tuple[str, ...]:
    """Every concept id that the standard world can draw, sorted."""
    return STANDARD.drawable


def _zipf(names: Sequence[str], exponent: float) -> Mapping[str, float]:
    """Zipf weights by rank."""
    return {name: rank**-exponent for rank, name in enumerate(names, start=1)}


class SceneSampler:
    """Draws scenes. `flatness` 0..1 moves the frequencies of the concepts from Zipf to uniform."""

    def __init__(self, split: Split, flatness: float = 0.0, world: World = STANDARD) -> None:
        self.split, self.world = split, world
        exponent = world.zipf_exponent * (1 - flatness)
        of_places = world.zipf_exponent * (1 - max(flatness, 0.5))
        self._objects = _zipf(world.objects, exponent)
        self._materials = _zipf(world.materials, exponent)
        self._techniques = _zipf(world.techniques, exponent)
        self._conditions = _zipf(world.conditions, exponent)
        self._settings = _zipf(world.settings, of_places)
        self._lightings = _zipf(world.lightings, of_places)

    def scene(self, index: int, object_counts: Sequence[float] | None = None) -> SceneSpec:
        """Scene number `index` of this split; `object_counts` are the chances of one object, of two and so on."""
        rng = np.random.default_rng([int(self.split), index])
        chances = object_counts or self.world.object_chances
        count = int(rng.choice(len(chances), p=chances)) + 1
        lighting = _pick(rng, self._lightings) if rng.random() < 0.7 else None
        return SceneSpec(
            aspect=float(rng.choice([4 / 3, 3 / 4, 1.0], p=[0.5, 0.25, 0.25])),
            setting=_pick(rng, self._settings),
            lighting=lighting,
            light_from_left=bool(rng.random() < 0.5),
            seed=int(rng.integers(2**31)),
            objects=self._objects_for(rng, count),
            props=_props(rng, self.world.props),
        )

    def _objects_for(self, rng: np.random.Generator, count: int) -> tuple[ObjectSpec, ...]:
        world = self.world
        low, high = world.sizes[count - 1]
        edges = np.linspace(0.06, 0.94, count + 1)
        items = []
        for slot in range(count):
            material = _pick(rng, self._materials)
            size = float(
                rng.uniform(low, high) if rng.random() > world.small_chance else rng.uniform(0.17, 0.26)
            )
            room = (edges[slot + 1] - edges[slot]) / 2
            centre = (edges[slot] + edges[slot + 1]) / 2 + rng.uniform(-0.35, 0.35) * room
            items.append(
                ObjectSpec(
                    concept=_pick(rng, self._objects),
                    material=material,
                    technique=self._finish(rng, self._techniques, material, world.technique_chance),
                    condition=self._finish(rng, self._conditions, material, world.condition_chance),
                    centre_x=float(centre),
                    base_y=float(rng.uniform(0.76, 0.93)),
                    size=size,
                    angle_deg=float(rng.normal(0, 5)),
                    mirror=bool(rng.random() < 0.5),
                    seed=int(rng.integers(2**31)),
                )
            )
        return tuple(sorted(items, key=lambda item: item.base_y))

    def _finish(
        self, rng: np.random.Generator, weights: Mapping[str, float], material: str, chance: float
    ) -> str | None:
        if rng.random() >= chance:
            return None
        suits = self.world.suits
        suitable = (name for name in weights if name not in suits or material in suits[name])
        return _pick(rng, {name: weights[name] for name in suitable})


def _pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = list(weights)
    p = np.array([weights[n] for n in names])
    return str(names[int(rng.choice(len(names), p=p / p.sum()))])


def _props(rng: np.random.Generator, known: Sequence[str]) -> tuple[PropSpec, ...]:
    props: list[PropSpec] = []
    left = bool(rng.random() < 0.5)
    for concept, chance, size in (
        ("museum-label", 0.24, 0.26),
        ("scale-bar", 0.14, 0.3),
        ("colour-chart", 0.1, 0.24),
    ):
        if concept in known and len(props) < 2 and rng.random() < chance:
            number, year = int(rng.integers(1, 100)), int(rng.integers(1500, 1960))
            text = str(rng.choice(TEXTS)).format(n=number, y=year) if concept == "museum-label" else ""
            x = float(rng.uniform(0.17, 0.3))
            props.append(
                PropSpec(
                    concept,
                    x if left else 1 - x,
                    float(rng.uniform(0.94, 0.985)),
                    size * float(rng.uniform(0.9, 1.15)),
                    text,
                )
            )
            left = not left
    return tuple(props)


def tag_matrix(scenes: Sequence[SceneSpec], concepts: Sequence[str]) -> NDArray[np.bool_]:
    """bool [scenes, concepts]: which concept is seen in which scene."""
    column = {c: i for i, c in enumerate(concepts)}
    matrix = np.zeros((len(scenes), len(concepts)), bool)
    for row, scene in enumerate(scenes):
        matrix[row, [column[t] for t in scene.tags]] = True
    return matrix
