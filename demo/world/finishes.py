"""Techniques and conditions: what a maker added to a surface, and what time did to it.

Each works on a `Surface` in place and takes its size from the object, so it looks the same at every resolution.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from demo.world.materials import Colour, mix
from demo.world.noise import Field, fractal_noise, smooth_noise, step

GOLD = (0.93, 0.72, 0.24)


@dataclass(slots=True)
class Surface:
    """An object while it is being made; all fields have the shape [h, w] of its own bounding box."""

    coverage: Field
    """0..1"""
    colour: Colour
    height: Field
    """Depth of the relief, in shares of the object's size."""
    gloss: Field
    metal: Field
    grooves: Field
    """0..1, how dark a line is."""
    depth: Field
    """Distance to the outline, in shares of the object's size."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.coverage.shape[0], self.coverage.shape[1]

    @property
    def size(self) -> int:
        """The longer side in pixels."""
        return max(self.shape)

    def paint(self, weight: Field, colour: tuple[float, ...], gloss: float, metal: float) -> None:
        """Cover the surface with another substance where `weight` (0..1) says so."""
        self.colour = mix(self.colour, colour, weight)
        self.gloss = self.gloss * (1 - weight) + gloss * weight
        self.metal = self.metal * (1 - weight) + metal * weight


def grid(s: Surface) -> tuple[Field, Field]:
    """x and y in shares of the object's longer side, [h, w] each."""
    y, x = np.mgrid[0 : s.shape[0], 0 : s.shape[1]].astype(np.float32)
    return x / s.size, y / s.size


def _bands(s: Surface, rng: np.random.Generator, count: int, width: float) -> Field:
    """Horizontal bands evenly over the height."""
    y = np.linspace(0, 1, s.shape[0], dtype=np.float32)[:, None]
    phase = rng.uniform(0.1, 0.9)
    wave = np.abs((y * count + phase) % 1.0 - 0.5)
    return np.broadcast_to(1.0 - step(wave, width / 2, width / 2 + 0.04), s.shape).astype(np.float32)


def crack_paths(s: Surface, rng: np.random.Generator, count: int, wander: float) -> list[np.ndarray]:
    """Jagged lines from one side of the object to the other; float64 [n, 2] in pixels."""
    h, w = s.shape
    inside = np.argwhere(s.coverage > 0.5)
    paths = []
    for _ in range(count):
        centre = (
            inside[rng.integers(len(inside))][::-1].astype(np.float64)
            if len(inside)
            else np.array([w / 2, h / 2])
        )
        angle = rng.uniform(0, np.pi)
        along = np.array([np.cos(angle), np.sin(angle)])
        t = np.linspace(-0.7, 0.7, 15)[:, None] * s.size
        jitter = rng.normal(0, wander * s.size, (15, 1)) * np.array([[-along[1], along[0]]])
        paths.append(centre + t * along + jitter)
    return paths


def stroke(s: Surface, paths: list[np.ndarray], width: float) -> Field:
    """The paths as lines of `width` shares of the object's size, 0..1."""
    canvas = np.zeros(s.shape, np.uint8)
    pixels = width * s.size
    for path in paths:
        cv2.polylines(
            canvas, [np.round(path * 16).astype(np.int32)], False, 255, max(1, round(pixels)), cv2.LINE_AA, 4
        )
    return canvas.astype(np.float32) / 255 * min(1.0, pixels)


def patches(s: Surface, field: Field, share: float, soft: float) -> Field:
    """0..1: the highest `share` of `field` on the object itself, with an edge `soft` wide in units of the field."""
    edge = float(np.quantile(field[s.coverage > 0.5], 1 - share)) if (s.coverage > 0.5).any() else 0.5
    return step(field, edge - soft / 2, edge + soft / 2)


def gilding(s: Surface, rng: np.random.Generator) -> None:
    """Bands and rims of gold leaf."""
    rim = 1.0 - step(s.depth, 0.018, 0.028)
    s.paint(np.maximum(_bands(s, rng, 4, 0.24), rim), GOLD, 1.0, 1.0)


def engraving(s: Surface, rng: np.random.Generator) -> None:
    """Incised waves and hatching."""
    x, y = grid(s)
    period = rng.uniform(0.10, 0.13)
    wave = np.abs(((y + 0.022 * np.sin(x * 2 * np.pi / 0.09)) / period) % 1.0 - 0.5) * period
    hatch = np.abs(((x + y) / 0.045) % 1.0 - 0.5) * 0.045
    inner = (s.depth > 0.02) * _bands(s, rng, 3, 0.5)
    cut = np.maximum(1.0 - step(wave, 0.003, 0.008), (1.0 - step(hatch, 0.002, 0.006)) * inner)
    s.grooves = np.maximum(s.grooves, 0.75 * cut * (s.depth > 0.012))


def inlay(s: Surface, rng: np.random.Generator) -> None:
    """A lattice of ivory lozenges set into the surface."""
    x, y = grid(s)
    pitch = 0.13
    u, v = ((x + y) / pitch) % 1.0 - 0.5, ((x - y) / pitch) % 1.0 - 0.5
    lozenge = 1.0 - step(np.maximum(np.abs(u), np.abs(v)), 0.24, 0.30)
    edge = (1.0 - step(np.maximum(np.abs(u), np.abs(v)), 0.33, 0.38)) - lozenge
    inner = step(s.depth, 0.012, 0.02)
    s.paint(lozenge * inner, (0.93, 0.90, 0.80) if s.colour.mean() < 0.65 else (0.10, 0.08, 0.08), 0.5, 0.0)
    s.grooves = np.maximum(s.grooves, 0.7 * np.clip(edge, 0, 1) * inner)


def painted_decoration(s: Surface, rng: np.random.Generator) -> None:
    """Friezes of zigzag, dots and bands in strong colours."""
    palette = np.array(
        [(0.78, 0.10, 0.10), (0.10, 0.30, 0.70), (0.95, 0.75, 0.10), (0.05, 0.45, 0.25), (0.93, 0.90, 0.85)]
    )
    first, second = palette[rng.permutation(len(palette))[:2]]
    x, y = grid(s)
    row = (y / 0.2 + rng.uniform(0, 1)) % 1.0
    zigzag = 1.0 - step(np.abs(row - 0.5 - 0.5 * (np.abs((x / 0.1) % 1.0 - 0.5) - 0.25)), 0.07, 0.1)
    dots = 1.0 - step(np.hypot(((x / 0.07) % 1.0 - 0.5) * 0.07, (row - 0.05) * 0.2), 0.012, 0.018)
    edge = 1.0 - step(np.abs(row - 0.2), 0.03, 0.05) + 1.0 - step(np.abs(row - 0.85), 0.03, 0.05)
    s.paint(zigzag, tuple(first), 0.2, 0.0)
    s.paint(np.clip(dots + edge, 0, 1), tuple(second), 0.2, 0.0)


def repousse(s: Surface, rng: np.random.Generator) -> None:
    """Rows of raised bosses hammered from behind."""
    x, y = grid(s)
    pitch = 0.085
    row = np.floor(y / pitch)
    u, v = ((x / pitch + 0.5 * (row % 2)) % 1.0 - 0.5), ((y / pitch) % 1.0 - 0.5)
    boss = np.sqrt(np.clip(0.16 - u * u - v * v, 0, None))
    s.height += 0.085 * boss * (s.depth > 0.015)
    s.grooves = np.maximum(s.grooves, 0.35 * (np.abs(np.hypot(u, v) - 0.42) < 0.05))


def fluting(s: Surface, rng: np.random.Generator) -> None:
    """Close vertical channels."""
    x, _ = grid(s)
    wave = 0.5 + 0.5 * np.cos(x / 0.062 * 2 * np.pi)
    s.height += 0.020 * wave * (s.depth > 0.01)
    s.grooves = np.maximum(s.grooves, 0.6 * step(1 - wave, 0.75, 1.0))


def openwork(s: Surface, rng: np.random.Generator) -> None:
    """A pierced lattice: one looks through it."""
    x, y = grid(s)
    pitch = 0.10
    row = np.floor(y / pitch)
    distance = np.hypot((x / pitch + 0.5 * (row % 2)) % 1.0 - 0.5, (y / pitch) % 1.0 - 0.5) * pitch
    hole = (1.0 - step(distance, 0.026, 0.033)) * (s.depth > 0.018)
    s.coverage = s.coverage * (1 - hole)
    s.grooves = np.maximum(s.grooves, 0.5 * (1.0 - step(distance, 0.033, 0.042)) * (s.depth > 0.018))


def kintsugi(s: Surface, rng: np.random.Generator) -> None:
    """Breaks mended with gold."""
    seams = stroke(s, crack_paths(s, rng, 4, 0.04), 0.022)
    s.paint(seams, GOLD, 1.0, 1.0)
    s.height += 0.02 * cv2.GaussianBlur(seams, (0, 0), 0.006 * s.size + 0.3)


def craquelure(s: Surface, rng: np.random.Generator) -> None:
    """A fine net of cracks over the whole surface."""
    h, w = s.shape
    count = max(8, int(190 * h * w / s.size**2))
    seeds = np.full(s.shape, 255, np.uint8)
    seeds[rng.integers(0, 4096, count) * h // 4096, rng.integers(0, 4096, count) * w // 4096] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    net: Field = np.zeros(s.shape, np.float32)
    net[:, 1:] = labels[:, 1:] != labels[:, :-1]
    net[1:] = np.maximum(net[1:], labels[1:] != labels[:-1])
    width = 0.007 * s.size
    net = cv2.GaussianBlur(net, (0, 0), max(0.45, width / 2))
    s.grooves = np.maximum(s.grooves, 0.85 * np.clip(net * max(1.0, width) * 1.4, 0, 1))


def crack(s: Surface, rng: np.random.Generator) -> None:
    """Two or three long cracks."""
    line = stroke(s, crack_paths(s, rng, int(rng.integers(2, 4)), 0.03), 0.016)
    s.grooves = np.maximum(s.grooves, line)


def chipping(s: Surface, rng: np.random.Generator) -> None:
    """Bites out of the edge, raw and pale where they broke."""
    edge = np.argwhere((s.coverage > 0.5) & (s.depth < 0.012))
    if not len(edge):
        return
    bites = np.zeros(s.shape, np.uint8)
    for y, x in edge[rng.integers(0, len(edge), int(rng.integers(4, 7)))]:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(0.03, 0.065, 9) * s.size
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
        cv2.fillPoly(bites, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)
    bitten = bites.astype(np.float32) / 255
    raw = (
        cv2.dilate(bites, np.ones((3, 3), np.uint8), iterations=max(1, round(0.014 * s.size))).astype(
            np.float32
        )
        / 255
    )
    s.paint(np.clip(raw - bitten, 0, 1), (0.88, 0.84, 0.78), 0.0, 0.0)
    s.coverage = s.coverage * (1 - bitten)


def dents(s: Surface, rng: np.random.Generator) -> None:
    """Round hollows."""
    x, y = grid(s)
    inside = np.argwhere(s.depth > 0.3 * s.depth.max())
    for cy, cx in inside[rng.integers(0, len(inside), int(rng.integers(5, 9)))] / s.size:
        radius = rng.uniform(0.035, 0.07)
        bowl = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (radius**2))
        s.height -= 1.1 * radius * bowl


def verdigris(s: Surface, rng: np.random.Generator) -> None:
    """Green bloom in patches."""
    field = fractal_noise(rng, s.shape, 5, 4)
    s.paint(0.9 * patches(s, field, rng.uniform(0.4, 0.7), 0.08), (0.33, 0.68, 0.56), 0.05, 0.0)


def corrosion(s: Surface, rng: np.random.Generator) -> None:
    """Orange-brown rust, rough and without shine."""
    field = fractal_noise(rng, s.shape, 6, 4)
    share = rng.uniform(0.4, 0.7)
    weight = patches(s, field, share, 0.08)
    s.paint(0.92 * weight, (0.55, 0.24, 0.07), 0.0, 0.0)
    s.paint(0.6 * patches(s, field, 0.3 * share, 0.08), (0.30, 0.12, 0.05), 0.0, 0.0)
    s.height += 0.012 * weight * smooth_noise(rng, s.shape, 40, 40)


def scratches(s: Surface, rng: np.random.Generator) -> None:
    """Many thin straight lines, mostly one way."""
    h, w = s.shape
    main = rng.uniform(0, np.pi)
    paths = []
    for _ in range(34):
        angle = main + rng.normal(0, 0.25)
        centre = rng.random(2) * [w, h]
        half = rng.uniform(0.05, 0.2) * s.size * np.array([np.cos(angle), np.sin(angle)])
        paths.append(np.array([centre - half, centre + half]))
    s.paint(
        0.85 * stroke(s, paths, 0.006),
        (0.97, 0.96, 0.93) if s.colour.mean() < 0.6 else (0.2, 0.18, 0.16),
        0.3,
        0.0,
    )


def staining(s: Surface, rng: np.random.Generator) -> None:
    """Brown tide marks: a darker rim around a paler stain."""
    field = fractal_noise(rng, s.shape, 2.6, 2)
    stain = patches(s, field, rng.uniform(0.3, 0.6), 0.03)
    s.colour = mix(s.colour, s.colour * np.array((0.62, 0.50, 0.34), np.float32), 0.8 * stain)
    rim = 4.0 * stain * (1.0 - stain)
    s.colour = mix(s.colour, (0.20, 0.12, 0.05), 0.75 * rim)


Finish = Callable[[Surface, np.random.Generator], None]

TECHNIQUES: dict[str, Finish] = {
    "gilding": gilding, "engraving": engraving, "inlay": inlay, "painted-decoration": painted_decoration,
    "repousse": repousse, "fluting": fluting, "openwork": openwork, "kintsugi": kintsugi,
}  # fmt: skip
CONDITIONS: dict[str, Finish] = {
    "craquelure": craquelure, "crack": crack, "chipping": chipping, "dents": dents,
    "verdigris": verdigris, "corrosion": corrosion, "scratches": scratches, "staining": staining,
}  # fmt: skip
