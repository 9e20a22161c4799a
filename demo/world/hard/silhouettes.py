"""Thirty forms, and seven things that a maker does to each: the outlines of the hard world, on the same drawing board."""

from collections.abc import Callable, Mapping

import numpy as np

from demo.world.geometry import Part, Silhouette, arc, area, box, groove, lathe, line, oval, ring
from demo.world.silhouettes import mirrored, spokes, toothed

Parts = tuple[Part, ...]

# fmt: off
# ruff: noqa: E501
FORMS: Mapping[str, tuple[float, Parts]] = {
    "bowl": (1.0, (lathe((0, 46), (22, 44), (44, 30), (50, 18), (56, 18)), groove((-45, 12), (45, 12)), groove((-42, 26), (42, 26)))),
    "jug": (1.0, (area((-16, 0), (22, -6), (14, 14), (30, 44), (24, 92), (-24, 92), (-30, 44), (-14, 14)), arc(-28, 34, 18, 22, 80, 280, 5))),
    "bottle": (1.0, (lathe((0, 9), (8, 9), (10, 5), (30, 5), (34, 24), (96, 24), smooth=False), groove((-24, 46), (24, 46)))),
    "goblet": (1.0, (lathe((0, 18), (40, 20), (48, 8), (54, 5), (60, 10), (66, 5), (90, 5), (96, 26), smooth=False),)),
    "key": (0.5, (area((0, 0), (18, 18), (0, 36), (-18, 18)), area((0, 9), (9, 18), (0, 27), (-9, 18), mode="cut"), box(-3, 34, 3, 100), box(0, 72, 22, 78), box(0, 84, 22, 98))),
    "axe": (0.4, (box(-4, 0, 4, 104), area((4, 8), (44, -6), (44, 50), (4, 30)), area((-4, 10), (-28, 19), (-4, 28)))),
    "padlock": (0.4, (box(-30, 40, 30, 90), arc(0, 42, 19, 34, 180, 360, 9), oval(0, 58, 6, 6, mode="cut"), area((-3, 60), (3, 60), (4, 78), (-4, 78), mode="cut"))),
    "comb": (0.3, (area((-40, 20), (0, -8), (40, 20), (40, 34), (-40, 34)), *toothed(-40, 44, 32, 78, 9))),
    "crown": (0.4, (area((-40, 60), (-46, 12), (-24, 34), (-12, 0), (0, 30), (12, 0), (24, 34), (46, 12), (40, 60)), groove((-40, 50), (40, 50), width=3))),
    "wheel": (0.5, (ring(0, 0, 46, 46, 13), *spokes(0, 0, 0, 44, 5, 7), oval(0, 0, 15, 15))),
    "ladder": (0.6, (box(-22, 0, -15, 110), box(15, 0, 22, 110), *[box(-16, y, 16, y + 6) for y in (10, 34, 58, 82)])),
    "umbrella": (0.5, (area((-50, 40), (-30, 8), (0, -6), (30, 8), (50, 40), (25, 34), (0, 40), (-25, 34)), box(-2.5, 0, 2.5, 96), arc(-8, 94, 8, 10, 0, 180, 5), groove((0, 0), (-14, 34)), groove((0, 0), (14, 34)))),
    "arrowhead": (0.5, (area((0, 0), (26, 70), (0, 56), (-26, 70)), box(-5, 54, 5, 96), groove((0, 8), (0, 56)))),
    "hand-mirror": (0.4, (oval(0, 30, 20, 34), box(-4, 60, 4, 118), box(-12, 114, 12, 121), groove((0, 4), (0, 58)))),
    "spinning-top": (1.0, (lathe((0, 4), (16, 4), (20, 8), (30, 36), (40, 42), (54, 32), (74, 9), (92, 1)), groove((-41, 40), (41, 40), width=3))),
    "boot": (0.6, (area((-24, 0), (10, 0), (10, 50), (48, 72), (52, 92), (-24, 92)), box(-24, 90, -2, 104), box(-27, 0, 13, 10), groove((10, 54), (-4, 66)))),
    "scissors": (0.4, (*mirrored(ring(20, 92, 13, 13, 6), area((12, 82), (4, 74), (-12, 2), (-16, 8), (-2, 70))), oval(0, 60, 3, 3, mode="groove"))),
    "obelisk": (0.4, (area((0, -4), (9, 10), (15, 96), (-15, 96), (-9, 10)), box(-22, 94, 22, 112), groove((0, 20), (0, 86)))),
    "spectacles": (0.6, (*mirrored(ring(27, 20, 18, 15, 6), line((44, 16), (58, 4), width=4)), line((-9, 18), (9, 18), width=5))),
    "chest": (0.4, (box(-46, 30, 46, 80), area((-46, 28), (-30, 2), (30, 2), (46, 28)), box(-44, 80, -34, 90), box(34, 80, 44, 90), groove((-46, 29), (46, 29), width=3), box(-5, 22, 5, 38))),
    "stool": (0.4, (box(-60, 40, 60, 50), box(-54, 50, -46, 86), box(46, 50, 54, 86), box(-58, 8, 58, 16), *[box(x, 14, x + 5, 42) for x in (-54, -28, -2, 24, 48)])),
    "bell": (1.0, (lathe((12, 5), (18, 15), (40, 21), (70, 28), (86, 42), (91, 42)), ring(0, 6, 7, 7, 5), oval(0, 92, 8, 8), groove((-30, 74), (30, 74)))),
    "sword": (0.5, (area((-7, 30), (7, 30), (2, 126), (-2, 126)), box(-14, 24, 14, 31), box(-4, 4, 4, 26), area((0, -8), (8, 0), (0, 8), (-8, 0)))),
    "cross": (0.4, (box(-9, 0, 9, 100), box(-36, 26, 36, 43), *[oval(x, y, 12, 9) for x, y in ((0, 2), (-36, 34), (36, 34))])),
    "anchor": (0.5, (box(-4, 10, 4, 100), ring(0, 4, 9, 9, 4), area((-46, 52), (-30, 84), (0, 96), (30, 84), (46, 52), (38, 92), (0, 112), (-38, 92)))),
    "fish": (0.7, (area((-48, 20), (-20, -8), (24, 10), (24, 30), (-20, 48), smooth=True), area((22, 20), (50, 0), (44, 20), (50, 40)), oval(-32, 16, 3, 3, mode="cut"))),
    "candlestick": (1.0, (lathe((0, 7), (30, 7), (34, 22), (40, 22), (44, 5), (90, 5), (96, 34), (100, 34), smooth=False),)),
    "hourglass": (0.9, (area((-26, 6), (26, 6), (4, 50), (26, 94), (-26, 94), (-4, 50)), box(-32, 0, 32, 8), box(-32, 92, 32, 100), box(-30, 6, -26, 94), box(26, 6, 30, 94))),
    "column": (0.8, (box(-24, 0, 24, 8), area((-22, 8), (22, 8), (14, 18), (-14, 18)), box(-13, 16, 13, 104), box(-20, 102, 20, 108), box(-25, 107, 25, 116), *[groove((x, 20), (x, 102)) for x in (-7, 0, 7)])),
    "hammer": (0.5, (box(-5, 20, 5, 108), box(-30, 2, 30, 28), groove((-18, 2), (-18, 28)), groove((18, 2), (18, 28)))),
}
"""Roundness and parts."""
# fmt: on


class _Board:
    """Where a form ends: `x0`, `y0`, `x1`, `y1`, its middle `x`, `y`, and a unit `u` that grows with its size."""

    def __init__(self, parts: Parts) -> None:
        self.x0, self.y0, self.x1, self.y1 = Silhouette(parts).bounds
        self.x, self.y = (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2
        self.u = max(self.x1 - self.x0, self.y1 - self.y0) / 100


def _footed(form: Parts) -> Parts:
    b = _Board(form)
    steps = [
        box(b.x - w * b.u, b.y1 + y * b.u - 1, b.x + w * b.u, b.y1 + (y + 7) * b.u)
        for w, y in ((7, 0), (14, 7), (22, 14))
    ]
    return (*form, *steps)


def _flanged(form: Parts) -> Parts:
    b = _Board(form)
    sides = [
        box(x - 7 * b.u, b.y - 16 * b.u, x + 7 * b.u, b.y + 4 * b.u) for x in (b.x0 - 3 * b.u, b.x1 + 3 * b.u)
    ]
    return (*form, *sides, box(b.x0, b.y - 9 * b.u, b.x1, b.y - 3 * b.u))


def _pointed(form: Parts) -> Parts:
    b = _Board(form)
    spire = area((b.x - 7 * b.u, b.y0 + 8 * b.u), (b.x, b.y0 - 26 * b.u), (b.x + 7 * b.u, b.y0 + 8 * b.u))
    return (*form, spire)


def _winged(form: Parts) -> Parts:
    b = _Board(form)
    tips = [
        area(
            (x, b.y - 8 * b.u),
            (x + s * 26 * b.u, b.y - 26 * b.u),
            (x + s * 14 * b.u, b.y),
            (x, b.y + 10 * b.u),
        )
        for s, x in ((-1, b.x0 + 6 * b.u), (1, b.x1 - 6 * b.u))
    ]
    return (*form, *tips)


def _holed(form: Parts) -> Parts:
    b = _Board(form)
    across = [
        oval(b.x + dx * b.u, b.y + dy * b.u, 4.5 * b.u, 4.5 * b.u, mode="cut")
        for dx, dy in ((-15, 0), (0, 0), (15, 0), (0, -20), (0, 20))
    ]
    return (*form, *across)


def _finned(form: Parts) -> Parts:
    b = _Board(form)
    fins = [
        area((x, y - 5 * b.u), (x + s * 13 * b.u, y), (x, y + 5 * b.u))
        for s, x in ((-1, b.x0 + 4 * b.u), (1, b.x1 - 4 * b.u))
        for y in np.linspace(b.y0 + 12 * b.u, b.y1 - 12 * b.u, 4)
    ]
    return (*form, *fins)


def _twin(form: Parts) -> Parts:
    b = _Board(form)
    apart = (b.x1 - b.x0) / 2 + 4 * b.u
    both = [Part(p.points + np.array([side * apart, 0]), p.mode, p.width) for side in (-1, 1) for p in form]
    return (*both, box(b.x - apart / 2, b.y - 4 * b.u, b.x + apart / 2, b.y + 4 * b.u))


WORKED: Mapping[str, Callable[[Parts], Parts]] = {
    "footed": _footed, "flanged": _flanged, "pointed": _pointed, "winged": _winged,
    "holed": _holed, "finned": _finned, "twin": _twin,
}  # fmt: skip

SILHOUETTES: dict[str, Silhouette] = {
    f"{how}-{name}": Silhouette(work(parts), roundness)
    for how, work in WORKED.items()
    for name, (roundness, parts) in FORMS.items()
}
"""Concept id to silhouette."""
