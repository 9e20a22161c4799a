"""From a scene's description to its picture and the exact mask of everything in it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from demo.world.finishes import CONDITIONS, TECHNIQUES, Surface
from demo.world.hard import finishes as hard_finishes
from demo.world.hard import materials as hard_materials
from demo.world.hard import settings as hard_settings
from demo.world.hard import silhouettes as hard_silhouettes
from demo.world.materials import MATERIALS, Colour
from demo.world.noise import Field, step
from demo.world.scene import ObjectSpec, PropSpec, SceneSpec, object_tags
from demo.world.settings import SETTING_PAINTERS, Canvas, glass_front
from demo.world.silhouettes import SILHOUETTES

OPAQUE = 0.5
ALL_SILHOUETTES = SILHOUETTES | hard_silhouettes.SILHOUETTES
ALL_MATERIALS = MATERIALS | hard_materials.MATERIALS
ALL_FINISHES = TECHNIQUES | CONDITIONS | hard_finishes.MOTIFS | hard_finishes.CONDITIONS
ALL_SETTINGS = SETTING_PAINTERS | hard_settings.SETTING_PAINTERS
"""Of both worlds: no id is in two of them."""


@dataclass(frozen=True, slots=True)
class Light:
    """Where the light comes from and how hard it is; brightness in 0..about 1.5."""

    direction: tuple[float, float, float]
    diffuse: float
    ambient: float
    rim: float
    shadow: float
    shadow_blur: float
    shadow_reach: float
    tint: tuple[float, float, float] | None = None
    """on everything"""


LIGHTS: dict[str | None, Light] = {
    None: Light((0.45, -0.55, 0.70), 0.80, 0.42, 0.0, 0.5, 0.030, 0.45),
    "soft-light": Light((0.15, -0.45, 0.88), 0.45, 0.72, 0.0, 0.22, 0.080, 0.25),
    "raking-light": Light((0.93, -0.22, 0.30), 1.35, 0.16, 0.0, 0.80, 0.010, 1.25),
    "spotlight": Light((0.20, -0.80, 0.56), 1.10, 0.30, 0.0, 0.70, 0.018, 0.30),
    "backlight": Light((0.10, -0.75, -0.35), 0.50, 0.42, 1.30, 0.55, 0.030, -0.50),
    "flash": Light((0.05, -0.10, 0.99), 0.95, 0.35, 0.0, 0.65, 0.006, 0.08, (1.03, 1.03, 1.05)),
    "candlelight": Light((0.70, -0.10, 0.55), 0.85, 0.36, 0.0, 0.70, 0.060, 0.80, (0.98, 0.84, 0.68)),
    "overcast": Light((0.05, -0.70, 0.70), 0.45, 0.65, 0.0, 0.15, 0.100, 0.20, (0.90, 0.94, 1.00)),
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One thing in the picture: its concepts, the box of its visible part (pixels, x y w h) and its visible mask."""

    concepts: tuple[str, ...]
    box_xywh: tuple[int, int, int, int]
    mask: NDArray[np.bool_]
    """bool [image height, image width]"""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered scene."""

    pixels: NDArray[np.uint8]
    """uint8 [h, w, 3], RGB"""
    instances: tuple[Instance, ...]


def image_size(scene: SceneSpec, longer_side_px: int) -> tuple[int, int]:
    """Width and height in pixels."""
    if scene.aspect >= 1:
        return longer_side_px, round(longer_side_px / scene.aspect)
    return round(longer_side_px * scene.aspect), longer_side_px


def render(scene: SceneSpec, longer_side_px: int = 1024) -> Picture:
    """Draw `scene`. The same scene shows the same things at every size."""
    width, height = image_size(scene, longer_side_px)
    rng = np.random.default_rng(scene.seed)
    picture = ALL_SETTINGS[scene.setting](Canvas(width, height, rng)).astype(np.float32)
    light = _aimed(LIGHTS[scene.lighting], scene.light_from_left)
    _light_background(picture, scene)
    owner = np.zeros((height, width), np.uint8)
    things: list[tuple[tuple[str, ...], str]] = []
    for item in scene.objects:
        things.append((object_tags(item), ""))
        _place_object(picture, owner, item, light, len(things))
    for prop in scene.props:
        things.append(((prop.concept,), prop.text))
        _place_prop(picture, owner, prop, light, len(things))
    if scene.setting == "display-case":
        glass_front(picture, rng)
    if light.tint:
        picture *= np.asarray(light.tint, np.float32)
    pixels = _develop(picture, rng, scene.lighting)
    instances = []
    for number, (concepts, text) in enumerate(things, start=1):
        mask = owner == number
        if mask.any():
            x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
            instances.append(Instance(concepts, (x, y, w, h), mask, text))
    return Picture(pixels, tuple(instances))


def build_surface(item: ObjectSpec, size_px: float) -> Surface:
    """The object alone: its outline, its material and what was done to it."""
    rng = np.random.default_rng(item.seed)
    silhouette, material = ALL_SILHOUETTES[item.concept], ALL_MATERIALS[item.material]
    coverage, lines = silhouette.rasterise(size_px, item.angle_deg, item.mirror)
    cover = coverage.astype(np.float32) / 255
    shape = (cover.shape[0], cover.shape[1])
    inside = cv2.distanceTransform((cover > OPAQUE).astype(np.uint8), cv2.DIST_L2, 5)
    depth = inside / max(shape)
    reach = depth.max() * max(0.16, silhouette.roundness) + 1e-6
    surface = Surface(
        coverage=cover,
        colour=material.texture(rng, shape),
        height=reach * np.sqrt(1 - (1 - np.clip(depth / reach, 0, 1)) ** 2),
        gloss=np.full(shape, material.gloss, np.float32),
        metal=np.full(shape, material.metal, np.float32),
        grooves=0.8 * lines.astype(np.float32) / 255,
        depth=depth,
    )
    for name in (item.technique, item.condition):
        if name:
            ALL_FINISHES[name](surface, rng)
    return surface


def _aimed(light: Light, from_left: bool) -> Light:
    x, y, z = light.direction
    return replace(light, direction=(-x if from_left else x, y, z))


def shade(surface: Surface, light: Light, shininess: float) -> Colour:
    """Lambert and Blinn-Phong shading of the relief with a made-up environment for metals; float32 [h, w, 3]."""
    size = surface.size
    relief: Field = (surface.height - 0.010 * surface.grooves).astype(np.float32) * size
    relief = cv2.GaussianBlur(relief, (0, 0), 0.006 * size + 0.3)
    dx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    nz = 1.0 / np.sqrt(1 + dx * dx + dy * dy)
    nx, ny = -dx * nz, -dy * nz
    lx, ly, lz = np.asarray(light.direction) / np.linalg.norm(light.direction)
    lambert = np.clip(nx * lx + ny * ly + nz * lz, 0, None)
    half = np.asarray([lx, ly, lz + 1.0]) / (np.linalg.norm([lx, ly, lz + 1.0]) + 1e-6)
    glint = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1) ** shininess * surface.gloss
    sky = 2 * nz * ny
    environment = (
        0.55
        + 0.5 * step(-sky, 0.05, 0.8)
        - 0.42 * np.exp(-((sky - 0.25) ** 2) / 0.02)
        + 0.28 * step(sky, 0.5, 0.95)
    )
    environment += 0.18 * nx * np.sign(lx)
    matte = light.ambient * (0.72 + 0.28 * nz) + light.diffuse * lambert
    tone = matte * (1 - 0.55 * surface.metal) + surface.metal * environment * (
        0.45 * light.ambient + 0.5 * light.diffuse
    )
    shaded = surface.colour * (tone * (1 - 0.72 * surface.grooves))[..., None]
    white = 1 - surface.metal[..., None] * (1 - surface.colour)
    shaded += (light.diffuse * 0.75 * glint)[..., None] * white
    if light.rim:
        shaded += (light.rim * (1 - step(surface.depth, 0.008, 0.035)) * (0.35 + 0.65 * (ny < 0.1)))[
            ..., None
        ] * np.float32(0.8)
    return shaded


def _window(
    x: int, y: int, w: int, h: int, width: int, height: int
) -> tuple[slice, slice, slice, slice] | None:
    """Slices of the picture and of the patch where the patch lies inside the picture."""
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1), slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)


def _place_object(
    picture: Colour, owner: NDArray[np.uint8], item: ObjectSpec, light: Light, number: int
) -> None:
    height, width = picture.shape[:2]
    surface = build_surface(item, item.size * min(width, height))
    h, w = surface.shape
    x = round(np.clip(item.centre_x * width - w / 2, 0.01 * width, max(0.01 * width, 0.99 * width - w)))
    y = round(np.clip(item.base_y * height - h, 0.02 * height, None))
    _cast_shadow(picture, surface.coverage, x, y, light)
    material = ALL_MATERIALS[item.material]
    alpha = surface.coverage
    if material.clear:
        alpha = alpha * (1 - material.clear * step(surface.depth, 0.0, 0.06))
    shaded = shade(surface, light, material.shininess)
    where = _window(x, y, w, h, width, height)
    if where is None:
        return
    py, px, sy, sx = where
    a = alpha[sy, sx, None]
    picture[py, px] = picture[py, px] * (1 - a) + shaded[sy, sx] * a
    owner[py, px][surface.coverage[sy, sx] > OPAQUE] = number


def _cast_shadow(picture: Colour, coverage: Field, x: int, y: int, light: Light) -> None:
    height, width = picture.shape[:2]
    h, w = coverage.shape
    base = y + h
    lean = -np.sign(light.direction[0]) * 0.75 * light.shadow_reach
    flat = 0.30 * min(1.0, abs(light.shadow_reach)) * (1 if light.shadow_reach > 0 else -1)
    blur = max(0.6, light.shadow_blur * max(h, w))
    margin = int(3 * blur) + 2
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]], np.float64)
    moved_x = x + corners[:, 0] + lean * (h - corners[:, 1])
    moved_y = base - flat * (h - corners[:, 1])
    x0, x1 = int(moved_x.min()) - margin, int(moved_x.max()) + margin
    y0, y1 = int(moved_y.min()) - margin, int(moved_y.max()) + margin
    matrix = np.array([[1.0, -lean, x + lean * h - x0], [0.0, flat, base - flat * h - y0]])
    shadow = cv2.warpAffine(coverage, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(shadow, (0, 0), blur)
    contact = np.zeros_like(shadow)
    columns = np.flatnonzero(coverage[int(0.9 * h) :].max(axis=0) > OPAQUE)
    if len(columns):
        centre = (round(x - x0 + (columns[0] + columns[-1]) / 2), round(base - y0 - 0.008 * h))
        axes = (max(1, int(0.56 * (columns[-1] - columns[0] + 1))), max(1, int(0.02 * max(h, w))))
        cv2.ellipse(contact, centre, axes, 0, 0, 360, 1.0, -1)
        contact = cv2.GaussianBlur(contact, (0, 0), 0.012 * max(h, w) + 0.4)
    where = _window(x0, y0, x1 - x0, y1 - y0, width, height)
    if where is None:
        return
    py, px, sy, sx = where
    dark = np.maximum(light.shadow * shadow[sy, sx], 0.6 * contact[sy, sx])
    picture[py, px] *= (1 - dark)[..., None]


def _text_patch(text: str, width: int, height: int) -> Colour:
    """Black on white, as large as it fits; float32 [h, w, 3]."""
    card = Image.new("L", (width, height), 245)
    draw = ImageDraw.Draw(card)
    size = max(5.0, height * 0.5)
    font = ImageFont.load_default(size)
    wide = draw.textlength(text, font=font)
    if wide > 0.86 * width:
        font = ImageFont.load_default(max(4.0, size * 0.86 * width / wide))
    draw.text((width / 2, height / 2), text, font=font, fill=18, anchor="mm")
    draw.rectangle((0, 0, width - 1, height - 1), outline=120, width=max(1, height // 40))
    return np.repeat(np.asarray(card, np.float32)[..., None] / 255, 3, axis=2)


def _label(prop: PropSpec, width: int) -> Colour:
    return _text_patch(prop.text, width, max(6, round(width * 0.30)))


def _scale_bar(prop: PropSpec, width: int) -> Colour:
    height = max(5, round(width * 0.16))
    bar = np.full((height, width, 3), 0.95, np.float32)
    for i in range(10):
        x0, x1 = round((0.04 + 0.092 * i) * width), round((0.04 + 0.092 * (i + 1)) * width)
        upper = i % 2 == 0
        bar[round(height * (0.2 if upper else 0.5)) : round(height * (0.5 if upper else 0.8)), x0:x1] = 0.05
    return bar


def _colour_chart(prop: PropSpec, width: int) -> Colour:
    height = max(8, round(width * 0.66))
    chart = np.full((height, width, 3), 0.10, np.float32)
    patches = (
        (0.45, 0.32, 0.27), (0.76, 0.58, 0.51), (0.38, 0.48, 0.61), (0.34, 0.42, 0.26), (0.51, 0.50, 0.69), (0.40, 0.74, 0.67),
        (0.84, 0.49, 0.17), (0.31, 0.36, 0.65), (0.76, 0.35, 0.39), (0.37, 0.24, 0.42), (0.62, 0.74, 0.25), (0.88, 0.64, 0.18),
        (0.22, 0.24, 0.59), (0.27, 0.58, 0.29), (0.69, 0.21, 0.24), (0.91, 0.78, 0.12), (0.73, 0.34, 0.58), (0.03, 0.52, 0.63),
        (0.95, 0.95, 0.95), (0.78, 0.78, 0.78), (0.63, 0.63, 0.63), (0.48, 0.48, 0.48), (0.33, 0.33, 0.33), (0.2, 0.2, 0.2),
    )  # fmt: skip
    for i, colour in enumerate(patches):
        row, column = divmod(i, 6)
        y0, y1 = round((0.06 + 0.225 * row) * height), round((0.06 + 0.225 * row + 0.195) * height)
        x0, x1 = round((0.04 + 0.155 * column) * width), round((0.04 + 0.155 * column + 0.135) * width)
        chart[y0:y1, x0:x1] = colour
    return chart


PROP_PAINTERS: dict[str, Callable[[PropSpec, int], Colour]] = {
    "museum-label": _label,
    "scale-bar": _scale_bar,
    "colour-chart": _colour_chart,
}


def _place_prop(picture: Colour, owner: NDArray[np.uint8], prop: PropSpec, light: Light, number: int) -> None:
    height, width = picture.shape[:2]
    patch = PROP_PAINTERS[prop.concept](prop, max(12, round(prop.size * min(width, height))))
    patch = patch * min(1.0, light.ambient + 0.75 * light.diffuse)
    h, w = patch.shape[:2]
    x = round(np.clip(prop.centre_x * width - w / 2, 2, width - w - 2))
    y = round(min(prop.base_y * height - h, height - h - 2))
    _cast_shadow(picture, np.ones((h, w), np.float32), x, y, light)
    where = _window(x, y, w, h, width, height)
    if where is None:
        return
    py, px, sy, sx = where
    picture[py, px] = patch[sy, sx]
    owner[py, px] = number


def _light_background(picture: Colour, scene: SceneSpec) -> None:
    """Let the light of the scene fall on the empty background, in place."""
    height, width = picture.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * (-1 if scene.light_from_left else 1)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    if scene.lighting == "raking-light":
        picture *= (0.72 + 0.55 * x)[..., None]
    elif scene.lighting == "spotlight":
        picture *= (0.16 + 1.1 * np.exp(-(x**2 + (0.9 * y - 0.1) ** 2) / 0.32))[..., None]
    elif scene.lighting == "backlight":
        glow = np.exp(-(x**2 + (y + 0.15) ** 2) / 0.35)
        picture *= (0.5 + 0.35 * glow)[..., None]
        picture += (0.62 * glow)[..., None] * np.asarray((1.0, 0.97, 0.88), np.float32)
    elif scene.lighting == "soft-light":
        picture *= np.float32(1.06)
    else:
        picture *= (0.95 + 0.14 * x)[..., None]


def _develop(picture: Colour, rng: np.random.Generator, lighting: str | None) -> NDArray[np.uint8]:
    """White balance, exposure, sensor noise and clipping; uint8 [h, w, 3]."""
    balance = np.asarray([1 + rng.normal(0, 0.025), 1.0, 1 + rng.normal(0, 0.025)], np.float32)
    picture = picture * (balance * np.float32(rng.uniform(0.92, 1.08)))
    shoulder = np.where(picture > 0.85, 0.85 + 0.15 * np.tanh((picture - 0.85) / 0.15), picture)
    grain: Field = np.empty(picture.shape[:2], np.float32)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(grain, np.zeros(1), np.full(1, 0.006))
    return (np.clip(shoulder + grain[..., None], 0, 1) * 255 + 0.5).astype(np.uint8)
