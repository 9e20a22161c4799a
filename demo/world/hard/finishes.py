"""Motifs painted on a surface, and what a poor store did to it."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from demo.world.finishes import Finish, Surface, patches, stroke
from demo.world.geometry import Part, Silhouette, area, line, oval, ring
from demo.world.materials import mix
from demo.world.noise import Field, fractal_noise, smooth_noise, step

PALETTE = ((0.80, 0.12, 0.10), (0.08, 0.22, 0.62), (0.97, 0.82, 0.20), (0.97, 0.95, 0.90), (0.06, 0.06, 0.08))


def _star(points: int) -> Part:
    angle = np.arange(2 * points) * np.pi / points - np.pi / 2
    radius = np.where(np.arange(2 * points) % 2, 20, 50)
    return area(*np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))


_TURNS = np.linspace(0, 5 * np.pi, 60)
GLYPHS: Mapping[str, tuple[Part, ...]] = {
    "star": (_star(5),),
    "crescent": (oval(0, 0, 50, 50), oval(22, -8, 40, 40, mode="cut")),
    "heart": (area((0, 50), (-48, 0), (-38, -38), (-8, -36), (0, -18), (8, -36), (38, -38), (48, 0), smooth=True),),
    "arrow": (area((0, -50), (34, -12), (12, -12), (12, 50), (-12, 50), (-12, -12), (-34, -12)),),
    "leaf": (area((0, -50), (30, -10), (0, 50), (-30, -10), smooth=True), line((0, -30), (0, 44), width=5, mode="cut")),
    "bolt": (area((12, -50), (-30, 8), (-4, 8), (-14, 50), (30, -10), (4, -10)),),
    "lozenge": (area((0, -50), (34, 0), (0, 50), (-34, 0)), area((0, -22), (15, 0), (0, 22), (-15, 0), mode="cut")),
    "trefoil": (oval(0, -24, 24, 24), oval(-24, 14, 24, 24), oval(24, 14, 24, 24), line((0, 10), (0, 50), width=10)),
    "eye": (area((-50, 0), (0, -34), (50, 0), (0, 34), smooth=True), oval(0, 0, 18, 18, mode="cut"), oval(0, 0, 8, 8)),
    "spiral": (line(*np.stack([3 * _TURNS * np.cos(_TURNS), 3 * _TURNS * np.sin(_TURNS)], axis=1), width=9),),
}  # fmt: skip

Places = tuple[float, tuple[tuple[float, float], ...]]
ARRANGEMENTS: Mapping[str, Callable[[np.random.Generator], Places]] = {
    "single": lambda rng: (0.42, ((0.5, 0.52),)),
    "medallion": lambda rng: (0.24, ((0.5, 0.52),)),
    "frieze": lambda rng: (0.16, tuple((x, 0.5) for x in np.linspace(0.08, 0.92, 6))),
    "stack": lambda rng: (0.18, tuple((0.5, y) for y in np.linspace(0.12, 0.9, 5))),
    "scattered": lambda rng: (0.11, tuple(map(tuple, rng.random((26, 2))))),
}
"""The size of a glyph in shares of the object's size, and where each stands, in shares of its width and height."""


def _stamped(s: Surface, glyph: Silhouette, places: Places) -> Field:
    size, centres = places
    coverage, _ = glyph.rasterise(max(4.0, size * s.size))
    canvas = np.zeros(s.shape, np.float32)
    h, w = coverage.shape
    for across, down in centres:
        x, y = round(across * s.shape[1] - w / 2), round(down * s.shape[0] - h / 2)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, s.shape[1]), min(y + h, s.shape[0])
        if x0 < x1 and y0 < y1:
            stamp = coverage[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.float32) / 255
            canvas[y0:y1, x0:x1] = np.maximum(canvas[y0:y1, x0:x1], stamp)
    return canvas


def _motif(arrangement: str, name: str) -> Finish:
    glyph = Silhouette(GLYPHS[name])
    rim = Silhouette((ring(0, 0, 50, 50, 12),))

    def paint(s: Surface, rng: np.random.Generator) -> None:
        places = ARRANGEMENTS[arrangement](rng)
        painted = _stamped(s, glyph, places)
        if arrangement == "medallion":
            painted = np.maximum(painted, _stamped(s, rim, (0.46, places[1])))
        apart = [colour for colour in PALETTE if abs(np.mean(colour) - s.colour.mean()) > 0.2]
        s.paint(painted, apart[int(rng.integers(len(apart)))], 0.2, 0.0)

    return paint


def _clouds(
    colour: tuple[float, float, float], cells: float, share: float, soft: float, weight: float
) -> Finish:
    """Patches of `colour` over a `share` of the surface."""

    def finish(s: Surface, rng: np.random.Generator) -> None:
        field = fractal_noise(rng, s.shape, cells, 3)
        s.paint(weight * patches(s, field, share * rng.uniform(0.7, 1.3), soft), colour, 0.0, 0.0)

    return finish


def _strips(
    colour: tuple[float, float, float], count: int, width: float, lean: float, weight: float
) -> Finish:
    """Bands of `colour` that run down, or lean."""

    def finish(s: Surface, rng: np.random.Generator) -> None:
        h, w = s.shape
        starts, lengths = rng.random((count, 2)) * [w, 0.4 * h], rng.uniform(0.25, 0.7, count) * h
        leans = rng.normal(0, lean, count)
        ends = starts + np.stack([lengths * leans, lengths], axis=1)
        s.paint(weight * stroke(s, [*np.stack([starts, ends], axis=1)], width), colour, 0.3, 0.0)

    return finish


def wormholes(s: Surface, rng: np.random.Generator) -> None:
    """Small round holes with dark edges."""
    holes = np.zeros(s.shape, np.uint8)
    for x, y in rng.random((45, 2)) * [s.shape[1], s.shape[0]]:
        cv2.circle(holes, (round(x), round(y)), max(1, round(0.009 * s.size)), 255, -1, cv2.LINE_AA)
    s.colour = mix(s.colour, (0.04, 0.03, 0.02), holes.astype(np.float32) / 255)


def dust(s: Surface, rng: np.random.Generator) -> None:
    """A pale veil that lies on what faces up."""
    down = np.linspace(1, 0, s.shape[0], dtype=np.float32)[:, None]
    veil = 0.75 * down * step(smooth_noise(rng, s.shape, 12, 12), 0.1, 0.5)
    s.paint(np.broadcast_to(veil, s.shape), (0.74, 0.72, 0.68), 0.0, 0.0)


MOTIFS: dict[str, Finish] = {
    f"{arrangement}-{glyph}": _motif(arrangement, glyph) for arrangement in ARRANGEMENTS for glyph in GLYPHS
}
CONDITIONS: dict[str, Finish] = {
    "soot": _clouds((0.03, 0.03, 0.03), 2.5, 0.5, 0.35, 0.85),
    "mould": _clouds((0.78, 0.84, 0.70), 26, 0.22, 0.05, 0.9),
    "burn-marks": _clouds((0.22, 0.10, 0.03), 3.5, 0.25, 0.06, 0.95),
    "paint-loss": _clouds((0.86, 0.82, 0.74), 7, 0.3, 0.01, 1.0),
    "salt-bloom": _clouds((0.97, 0.97, 0.97), 12, 0.4, 0.3, 0.85),
    "wax-drips": _strips((0.95, 0.91, 0.78), 7, 0.035, 0.03, 1.0),
    "tape-residue": _strips((0.80, 0.68, 0.30), 3, 0.11, 0.7, 0.85),
    "wormholes": wormholes,
    "dust": dust,
}  # fmt: skip
