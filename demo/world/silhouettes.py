"""What the objects of the demo world look like from the side: one entry a concept, drawn on a 100-unit board."""

import numpy as np

from demo.world.geometry import Part, Silhouette, arc, area, box, groove, lathe, line, oval, ring


def mirrored(*parts: Part) -> tuple[Part, ...]:
    """The parts and their mirror images about x = 0."""
    return parts + tuple(Part(p.points * [-1.0, 1.0], p.mode, p.width) for p in parts)


def spokes(
    x: float, y: float, inner: float, outer: float, count: int, width: float, turn: float = 0.0
) -> list[Part]:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + turn
    return [
        line(
            (x + inner * np.cos(a), y + inner * np.sin(a)),
            (x + outer * np.cos(a), y + outer * np.sin(a)),
            width=width,
        )
        for a in angles
    ]


def toothed(x0: float, x1: float, y0: float, y1: float, teeth: int) -> list[Part]:
    pitch = (x1 - x0) / teeth
    return [box(x0 + i * pitch, y0, x0 + (i + 0.5) * pitch, y1) for i in range(teeth)]


def _shape(*parts: Part, round: float = 0.6) -> Silhouette:
    return Silhouette(parts, round)


# Drawings read better in rows of points than one point a line.
# fmt: off
# ruff: noqa: E501
SILHOUETTES: dict[str, Silhouette] = {
    # vessels
    "amphora": _shape(
        lathe((0, 13), (4, 14), (7, 9), (22, 8), (30, 16), (45, 30), (60, 28), (80, 14), (93, 6), (96, 11), (100, 12)),
        *mirrored(line((9, 9), (27, 9), (31, 22), (22, 36), width=5, smooth=True)),
        groove((-15, 30), (15, 30)), groove((-27, 58), (27, 58)),
        round=1.0,
    ),
    "bowl": _shape(
        lathe((0, 50), (3, 50), (12, 47), (26, 36), (35, 20), (38, 16), (44, 18)), groove((-48, 7), (48, 7)), round=1.0
    ),
    "goblet": _shape(
        lathe((0, 26), (10, 28), (26, 26), (40, 14), (46, 4), (52, 7), (58, 4), (84, 4), (92, 14), (100, 24)),
        groove((-27, 10), (27, 10)),
        round=1.0,
    ),
    "teapot": _shape(
        lathe((14, 4), (17, 10), (22, 24), (40, 36), (58, 34), (70, 22), (74, 22)),
        oval(0, 10, 5, 5),
        area((28, 52), (44, 46), (56, 26), (62, 22), (66, 26), (56, 48), (40, 66)),
        arc(-34, 42, 20, 18, 70, 290, 6),
        groove((-25, 23), (0, 26), (25, 23), smooth=True),
        round=1.0,
    ),
    "bottle": _shape(
        lathe((0, 6), (5, 6), (6, 8), (9, 8), (10, 6), (34, 6.5), (46, 17), (54, 19), (98, 19), (100, 18)),
        round=1.0,
    ),
    "jug": _shape(
        lathe((4, 15), (10, 14), (24, 12), (40, 24), (60, 31), (80, 26), (96, 17), (100, 18)),
        area((10, 2), (26, -2), (14, 16)),
        line((-12, 8), (-34, 14), (-38, 40), (-26, 56), width=6, smooth=True),
        round=1.0,
    ),
    "tankard": _shape(
        box(-26, 8, 26, 84), box(-29, 82, 29, 90), box(-28, 4, 28, 10),
        line((26, 20), (50, 22), (50, 62), (26, 68), width=8, smooth=True),
        groove((-26, 26), (26, 26)), groove((-26, 64), (26, 64)),
        round=0.9,
    ),
    "plate": _shape(
        oval(0, 0, 50, 47), ring(0, 0, 33, 31, 2.5, mode="groove"), ring(0, 0, 46, 43, 1.2, mode="groove"), round=0.15
    ),
    "oil-lamp": _shape(
        area((-34, 20), (-20, 6), (10, 5), (30, 14), (58, 12), (62, 20), (40, 34), (14, 44), (-14, 44), smooth=True),
        ring(-40, 16, 12, 11, 5), oval(6, 8, 8, 4), box(-12, 40, 12, 48), groove((-24, 22), (24, 24)),
        oval(52, 15, 5, 2.5, mode="cut"),
        round=0.9,
    ),
    "candlestick": _shape(
        lathe((0, 9), (8, 10), (12, 18), (15, 7), (24, 5), (32, 9), (40, 5), (62, 4), (72, 10), (80, 6), (90, 20),
              (96, 30), (100, 31)),
        round=1.0,
    ),
    "bell": _shape(
        lathe((14, 5), (20, 14), (40, 20), (64, 25), (80, 36), (88, 41), (91, 41)), ring(0, 7, 7, 7, 5), oval(0, 92, 8, 8),
        groove((-33, 78), (33, 78)),
        round=1.0,
    ),
    "hourglass": _shape(
        box(-30, 0, 30, 8), box(-30, 92, 30, 100),
        lathe((8, 24), (26, 24), (44, 8), (50, 3.5), (56, 8), (74, 24), (92, 24)),
        line((-27, 6), (-27, 94), width=4), line((27, 6), (27, 94), width=4),
        round=0.9,
    ),
    "vase": _shape(
        lathe((0, 22), (3, 20), (14, 9), (28, 12), (44, 27), (58, 29), (74, 20), (90, 12), (96, 16), (100, 17)),
        groove((-24, 40), (24, 40)), groove((-24, 68), (24, 68)),
        round=1.0,
    ),
    "bucket": _shape(
        area((-36, 28), (36, 28), (26, 100), (-26, 100)), arc(0, 30, 34, 30, 180, 360, 3.5),
        groove((-34, 40), (34, 40), width=3), groove((-29, 82), (29, 82), width=3), oval(0, 29, 36, 5),
        round=0.9,
    ),
    "barrel": _shape(
        lathe((0, 27), (20, 36), (50, 40), (80, 36), (100, 27)),
        *[groove((-40, y), (40, y), width=3.5) for y in (14, 30, 70, 86)],
        *[groove((x * 0.75, 0), (x, 50), (x * 0.75, 100), width=0.9, smooth=True) for x in (-24, -8, 8, 24)],
        round=1.0,
    ),
    # tools and arms
    "hammer": _shape(
        box(-5, 14, 5, 100), area((-34, 6), (20, 4), (24, 0), (32, 0), (32, 26), (24, 26), (20, 22), (-10, 22), (-34, 10)),
        round=0.5,
    ),
    "axe": _shape(
        line((0, 0), (2, 50), (-2, 100), width=8, smooth=True),
        area((-4, 8), (14, 8), (40, -4), (46, 18), (40, 42), (14, 26), (-4, 26), smooth=False),
        round=0.4,
    ),
    "sword": _shape(
        area((-4.5, 28), (4.5, 28), (4, 108), (0, 122), (-4, 108)), box(-20, 22, 20, 29), box(-3.5, 4, 3.5, 24), oval(0, 2, 7, 6),
        groove((0, 30), (0, 106), width=1.4),
        round=0.5,
    ),
    "key": _shape(
        ring(0, 14, 15, 14, 8), box(-3.5, 26, 3.5, 100), box(3, 78, 20, 86), box(3, 90, 16, 98), box(-8, 32, 8, 37),
        round=0.6,
    ),
    "scissors": _shape(
        ring(-18, 84, 12, 15, 6), ring(18, 84, 12, 15, 6),
        area((-12, 74), (-6, 66), (10, 4), (14, 0), (8, 50), (2, 66)), area((12, 74), (6, 66), (-10, 4), (-14, 0), (-8, 50), (-2, 66)),
        oval(0, 55, 2.5, 2.5, mode="groove"),
        round=0.4,
    ),
    "spoon": _shape(
        oval(0, 16, 13, 18), area((-3, 30), (3, 30), (2.4, 80), (6, 108), (0, 112), (-6, 108), (-2.4, 80)),
        ring(0, 16, 8, 12, 1.5, mode="groove"),
        round=0.5,
    ),
    "anchor": _shape(
        ring(0, 8, 8, 8, 5), box(-4, 14, 4, 94), box(-24, 24, 24, 31), arc(0, 50, 42, 44, 15, 165, 9),
        area((-52, 66), (-44, 46), (-30, 62)), area((52, 66), (44, 46), (30, 62)),
        round=0.6,
    ),
    "sickle": _shape(
        area((-18, 66), (-30, 40), (-18, 10), (12, -4), (42, 8), (54, 38), (40, 22), (14, 12), (-4, 20), (-12, 40), (-6, 62),
             smooth=True),
        line((-12, 62), (-24, 104), width=10), groove((-17, 74), (-9, 76), width=2), round=0.4
    ),
    "arrowhead": _shape(
        area((0, 0), (30, 66), (12, 60), (9, 100), (-9, 100), (-12, 60), (-30, 66)), groove((0, 8), (0, 92)), round=0.5
    ),
    "padlock": _shape(
        box(-32, 42, 32, 96), arc(0, 40, 20, 30, 180, 360, 10), line((-20, 38), (-20, 50), width=10), line((20, 38), (20, 50), width=10),
        oval(0, 64, 6, 6, mode="cut"), area((-3, 66), (3, 66), (5, 82), (-5, 82), mode="cut"),
        round=0.35,
    ),
    "tobacco-pipe": _shape(
        area((-46, 10), (-18, 10), (-16, 34), (-20, 52), (-34, 56), (-44, 46)),
        line((-26, 48), (0, 44), (30, 26), (58, 20), width=8, smooth=True), oval(-32, 10, 15, 4),
        round=1.0,
    ),
    # instruments
    "violin": _shape(
        area((0, 40), (18, 42), (22, 54), (14, 66), (18, 76), (28, 88), (20, 106), (0, 110), (-20, 106), (-28, 88), (-18, 76),
             (-14, 66), (-22, 54), (-18, 42), smooth=True),
        box(-3.5, 6, 3.5, 46), oval(0, 4, 6, 6), line((-9, 8), (9, 8), width=3), line((-9, 14), (9, 14), width=3),
        groove((-8, 66), (-10, 80), smooth=True), groove((8, 66), (10, 80), smooth=True), groove((0, 14), (0, 98), width=1.2),
        groove((-8, 84), (8, 84), width=2),
        round=0.35,
    ),
    "lyre": _shape(
        *mirrored(line((6, 92), (28, 78), (26, 46), (36, 20), (30, 4), width=7, smooth=True)),
        box(-34, 18, 34, 24), area((-18, 80), (18, 80), (14, 100), (-14, 100)),
        *[line((x, 22), (x, 84), width=1.6) for x in (-10, -3.5, 3.5, 10)],
        round=0.7,
    ),
    "trumpet": _shape(
        line((-50, 20), (30, 20), width=6), area((24, 17), (40, 12), (56, 0), (58, 40), (40, 28), (24, 23)),
        arc(-6, 30, 26, 12, 0, 360, 5), box(-54, 15, -48, 25),
        *[box(x, 8, x + 5, 44) for x in (-14, -5, 4)],
        round=0.9,
    ),
    # furniture
    "chair": _shape(
        box(-26, 0, -20, 100), box(20, 52, 26, 100), box(-26, 50, 26, 58), box(-26, 4, -8, 10), line((-10, 4), (-10, 52), width=4),
        line((-18, 8), (-18, 52), width=2.5), box(-22, 78, 24, 82),
        round=0.5,
    ),
    "stool": _shape(
        box(-36, 0, 36, 12), area((-30, 12), (-22, 12), (-30, 72), (-38, 72)), area((30, 12), (22, 12), (30, 72), (38, 72)),
        box(-30, 42, 30, 48),
        round=0.5,
    ),
    "chest": _shape(
        box(-50, 28, 50, 72), area((-50, 28), (-48, 12), (-36, 4), (36, 4), (48, 12), (50, 28)),
        groove((-50, 30), (50, 30), width=2.5), box(-7, 26, 7, 40), groove((-7, 40), (7, 40)), oval(0, 34, 2.5, 3, mode="cut"),
        groove((-34, 5), (-34, 72), width=2.5), groove((34, 5), (34, 72), width=2.5),
        box(-48, 70, -38, 78), box(38, 70, 48, 78),
        round=0.3,
    ),
    "ladder": _shape(
        line((-14, 0), (-20, 120), width=6), line((14, 0), (20, 120), width=6),
        *[line((-14.5 - y / 24, y), (14.5 + y / 24, y), width=5) for y in (14, 36, 58, 80, 102)],
        round=0.6,
    ),
    # dress and jewellery
    "ring": _shape(ring(0, 64, 32, 32, 9), area((-16, 28), (-9, 14), (9, 14), (16, 28), (0, 40)), groove((-16, 27), (16, 27)), round=0.8),
    "necklace": _shape(
        *[oval(46 * np.cos(a), 40 * np.sin(a) * (1.25 if np.sin(a) > 0 else 1), 6, 6) for a in np.linspace(-0.9, np.pi + 0.9, 17)],
        arc(0, 0, 46, 44, -60, 240, 2), area((0, 50), (12, 66), (0, 86), (-12, 66)),
        round=0.9,
    ),
    "crown": _shape(
        area((-44, 10), (-28, 40), (-20, 2), (-8, 38), (0, -6), (8, 38), (20, 2), (28, 40), (44, 10), (38, 66), (-38, 66)),
        box(-39, 58, 39, 72), *[oval(x, y, 5, 5) for x, y in ((-44, 8), (-20, 0), (0, -8), (20, 0), (44, 8))],
        groove((-37, 57), (37, 57), width=2),
        round=0.4,
    ),
    "comb": _shape(box(-44, 0, 44, 22), *toothed(-44, 48, 18, 62, 12), round=0.3),
    "boot": _shape(
        area((-22, 0), (12, 0), (12, 52), (20, 62), (44, 70), (52, 82), (52, 92), (-22, 92), (-26, 70)), box(-26, 90, 54, 97),
        box(-26, 94, -4, 104), groove((-22, 8), (12, 8)), groove((12, 54), (0, 64)),
        round=0.6,
    ),
    "top-hat": _shape(
        area((-30, 0), (30, 0), (26, 52), (-26, 52)), area((-52, 50), (-30, 56), (30, 56), (52, 50), (46, 63), (0, 68), (-46, 63)),
        groove((-27, 44), (27, 44), width=5),
        round=0.8,
    ),
    "umbrella": _shape(
        area((-52, 46), (-46, 22), (-26, 4), (0, -2), (26, 4), (46, 22), (52, 46), (34, 38), (18, 46), (0, 38), (-18, 46), (-34, 38)),
        box(-2, -10, 2, 92), arc(9, 92, 10, 10, 0, 180, 4), groove((0, 0), (-18, 44)), groove((0, 0), (18, 44)),
        round=0.5,
    ),
    "fan": _shape(
        area((0, 66), *[(58 * np.cos(a), 66 - 62 * np.sin(a)) for a in np.linspace(0.25, np.pi - 0.25, 18)]),
        *[groove((0, 62), (56 * np.cos(a), 66 - 60 * np.sin(a)), width=1.3) for a in np.linspace(0.35, np.pi - 0.35, 11)],
        *[arc(0, 66, 26, 28, 195, 345, 2, mode="groove")], oval(0, 68, 5, 5),
        round=0.1,
    ),
    "spectacles": _shape(
        ring(-28, 20, 20, 18, 5), ring(28, 20, 20, 18, 5), arc(0, 18, 9, 8, 190, 350, 4), line((-46, 14), (-58, 8), width=4),
        line((46, 14), (58, 8), width=4),
        round=0.7,
    ),
    # arms and faces
    "helmet": _shape(
        area((-34, 60), (-38, 30), (-22, 6), (4, 0), (28, 10), (38, 34), (36, 60), (40, 92), (16, 100), (12, 66), (-6, 60)),
        area((-30, 8), (-10, -12), (24, -10), (38, 12), (24, 6), (0, -2)), groove((-34, 56), (34, 56), width=2.5),
        round=0.9,
    ),
    "shield": _shape(
        area((-38, 4), (0, 0), (38, 4), (40, 44), (26, 80), (0, 104), (-26, 80), (-40, 44)), oval(0, 42, 10, 10),
        ring(0, 42, 10, 10, 2, mode="groove"), groove((0, 2), (0, 32), width=2), groove((0, 52), (0, 100), width=2),
        groove((-38, 42), (-10, 42), width=2), groove((10, 42), (38, 42), width=2),
        round=0.25,
    ),
    "mask": _shape(
        area((0, 0), (28, 6), (36, 34), (30, 66), (14, 92), (0, 98), (-14, 92), (-30, 66), (-36, 34), (-28, 6), smooth=True),
        oval(-15, 38, 9, 6, mode="cut"), oval(15, 38, 9, 6, mode="cut"), oval(0, 76, 12, 5, mode="cut"),
        groove((-2, 34), (-6, 60), (6, 60), width=2), groove((-26, 28), (-8, 27), width=2.5), groove((26, 28), (8, 27), width=2.5),
        round=0.5,
    ),
    "skull": _shape(
        area((0, 0), (28, 5), (40, 28), (36, 52), (26, 60), (24, 84), (0, 88), (-24, 84), (-26, 60), (-36, 52), (-40, 28), (-28, 5),
             smooth=True),
        oval(-16, 40, 11, 12, mode="cut"), oval(16, 40, 11, 12, mode="cut"), area((0, 50), (6, 62), (-6, 62), mode="cut"),
        *[groove((x, 70), (x, 86), width=1.8) for x in (-14, -7, 0, 7, 14)], groove((-22, 70), (22, 70), width=1.8),
        round=0.8,
    ),
    # architecture and instruments of measure
    "column": _shape(
        box(-24, 0, 24, 8), area((-22, 8), (22, 8), (15, 18), (-15, 18)), box(-14, 16, 14, 104), box(-20, 102, 20, 110), box(-25, 108, 25, 118),
        *[groove((x, 20), (x, 102), width=1.6) for x in (-8.5, -3, 3, 8.5)],
        round=0.8,
    ),
    "obelisk": _shape(
        area((0, -4), (9, 10), (15, 96), (-15, 96), (-9, 10)), box(-20, 95, 20, 104), box(-26, 103, 26, 114), groove((-9, 11), (9, 11)),
        groove((0, 24), (0, 84), width=1.4),
        round=0.4,
    ),
    "clock": _shape(
        area((-24, 12), (0, -6), (24, 12)), box(-22, 10, 22, 58), box(-16, 56, 16, 98), box(-24, 96, 24, 108),
        ring(0, 34, 16, 16, 2.5, mode="groove"), groove((0, 34), (0, 23), width=2.2), groove((0, 34), (8, 38), width=2.2),
        line((0, 60), (0, 80), width=2, mode="groove"), oval(0, 84, 5, 5, mode="groove"),
        round=0.25,
    ),
    "pocket-watch": _shape(
        oval(0, 58, 38, 38), box(-5, 12, 5, 22), ring(0, 6, 9, 8, 4), ring(0, 58, 30, 30, 2, mode="groove"),
        *[Part(p.points, "groove", p.width) for p in spokes(0, 58, 23, 28, 12, 1.8)],
        groove((0, 58), (0, 38), width=2.4), groove((0, 58), (14, 66), width=2.4),
        round=0.25,
    ),
    "globe": _shape(
        oval(0, 40, 36, 36), arc(0, 40, 43, 43, -70, 110, 4), box(-3, 82, 3, 98), lathe((96, 12), (100, 24), (106, 27)),
        *[arc(0, 40, r, 36, -90, 90, 1.2, mode="groove") for r in (14, 27)], *[arc(0, 40, r, 36, 90, 270, 1.2, mode="groove") for r in (14, 27)],
        groove((-36, 40), (36, 40), width=1.4), groove((-31, 22), (31, 22), width=1.2), groove((-31, 58), (31, 58), width=1.2),
        round=1.0,
    ),
    "camera": _shape(
        box(-44, 14, 44, 70), box(-16, 4, 16, 16), box(26, 8, 38, 15), box(-38, 9, -24, 15), ring(0, 42, 21, 21, 3, mode="groove"),
        ring(0, 42, 13, 13, 2.5, mode="groove"), oval(0, 42, 8, 8, mode="groove"), groove((-44, 22), (44, 22), width=1.6),
        oval(32, 30, 4, 3, mode="groove"),
        round=0.25,
    ),
    "book": _shape(
        area((-52, 10), (-28, 2), (0, 10), (28, 2), (52, 10), (52, 66), (28, 60), (0, 68), (-28, 60), (-52, 66)),
        groove((0, 10), (0, 68), width=2.5),
        *[groove((s * 8, y), (s * 28, y - 6), (s * 44, y - 2), width=1.2) for s in (-1, 1) for y in (22, 31, 40, 49)],
        round=0.2,
    ),
    "scroll": _shape(
        box(-40, 8, 40, 60), box(-48, 0, 48, 14), box(-48, 54, 48, 68), box(-56, 3, -46, 11), box(46, 3, 56, 11), box(-56, 57, -46, 65),
        box(46, 57, 56, 65), groove((-48, 14), (48, 14), width=2), groove((-48, 54), (48, 54), width=2),
        *[groove((-32, y), (32, y), width=1.3) for y in (22, 29, 36, 43)],
        round=0.4,
    ),
    "picture-frame": _shape(
        box(-44, 0, 44, 72), box(-31, 13, 31, 59, mode="cut"), *[groove(a, b, width=1.6) for a, b in (
            ((-44, 0), (-31, 13)), ((44, 0), (31, 13)), ((-44, 72), (-31, 59)), ((44, 72), (31, 59)))],
        round=0.5,
    ),
    "hand-mirror": _shape(
        oval(0, 30, 28, 30), lathe((58, 7), (64, 5), (92, 5), (102, 9), (106, 5)), ring(0, 30, 21, 23, 2.5, mode="groove"), round=0.35
    ),
    "wheel": _shape(ring(0, 0, 44, 44, 9), oval(0, 0, 10, 10), *spokes(0, 0, 6, 44, 8, 4.5), oval(0, 0, 3.5, 3.5, mode="cut"), round=0.6),
    "model-ship": _shape(
        area((-54, 66), (50, 66), (58, 58), (40, 90), (-38, 90)), box(-2, 0, 2, 68), box(-30, 14, -27, 68),
        area((4, 4), (40, 52), (4, 58)), area((-4, 10), (-4, 56), (-25, 56), (-22, 14)), area((-33, 20), (-33, 58), (-50, 58)),
        groove((-50, 73), (50, 73)),
        round=0.4,
    ),
    "magnifying-glass": _shape(
        ring(0, 0, 30, 30, 7), line((22, 22), (30, 30), width=7), line((28, 28), (62, 62), width=11), round=0.7
    ),
    # creatures and signs
    "fish": _shape(
        area((-50, 20), (-34, 4), (-6, -4), (22, 6), (36, 18), (22, 32), (-6, 42), (-34, 36), smooth=True),
        area((30, 18), (58, -4), (52, 20), (58, 42)), area((-14, -2), (6, -18), (14, 4)), area((-10, 38), (4, 52), (10, 36)),
        oval(-36, 15, 3, 3, mode="cut"), groove((-26, 8), (-22, 20), (-26, 32), smooth=True, width=2), round=0.7,
    ),
    "bird": _shape(
        area((-32, 10), (-22, 2), (-8, 6), (4, 24), (34, 36), (58, 36), (36, 50), (14, 62), (-8, 60), (-24, 44), (-26, 24), smooth=True),
        area((-26, 4), (-48, 14), (-26, 20)), line((-2, 58), (-4, 84), width=3), line((10, 58), (10, 84), width=3),
        box(-14, 82, 20, 86), oval(-22, 11, 2.5, 2.5, mode="cut"), groove((-2, 32), (18, 50), (42, 42), smooth=True, width=2),
        round=0.8,
    ),
    "cross": _shape(box(-9, 0, 9, 100), box(-32, 24, 32, 42), groove((0, 5), (0, 95)), groove((-28, 33), (28, 33)), round=0.4),
    "lantern": _shape(
        ring(0, 6, 10, 8, 3.5), area((-8, 14), (8, 14), (28, 32), (-28, 32)), box(-24, 32, -19, 84), box(19, 32, 24, 84), box(-3, 32, 3, 84),
        box(-24, 54, 24, 58), box(-30, 82, 30, 92), oval(0, 70, 8, 12),
        round=0.5,
    ),
    "balance-scales": _shape(
        box(-3, 6, 3, 92), box(-22, 90, 22, 98), box(-48, 12, 48, 17), oval(0, 8, 6, 6),
        *mirrored(
            line((44, 16), (32, 58), width=2), line((44, 16), (56, 58), width=2),
            area((26, 58), (62, 58), (54, 68), (34, 68)),
        ),
        round=0.6,
    ),
    "spinning-top": _shape(
        lathe((0, 4), (16, 4), (20, 8), (28, 34), (38, 42), (50, 34), (72, 10), (88, 3), (92, 1)), groove((-41, 36), (41, 36), width=2.5),
        groove((-36, 48), (36, 48), width=2), round=1.0,
    ),
}
"""Concept id to silhouette, the object standing as it would in a catalogue photograph."""
# fmt: on
