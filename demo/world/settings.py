"""Where the objects stand: one function a setting, each fills the whole picture."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from demo.world.materials import MATERIALS, Colour, mix
from demo.world.noise import Field, fractal_noise, smooth_noise, step


@dataclass(frozen=True, slots=True)
class Canvas:
    """The empty picture: its size in pixels and the randomness of its scene."""

    width_px: int
    height_px: int
    rng: np.random.Generator

    @property
    def shape(self) -> tuple[int, int]:
        return self.height_px, self.width_px

    def rows(self) -> Field:
        """0 at the top to 1 at the bottom, [h, 1]."""
        return np.linspace(0, 1, self.height_px, dtype=np.float32)[:, None]

    def columns(self) -> Field:
        """0 at the left to 1 at the right, [1, w]."""
        return np.linspace(0, 1, self.width_px, dtype=np.float32)[None, :]

    def choose(self, *colours: tuple[float, float, float]) -> tuple[float, float, float]:
        return colours[int(self.rng.integers(len(colours)))]

    def flat(self, colour: tuple[float, float, float]) -> Colour:
        return np.broadcast_to(np.asarray(colour, np.float32), (*self.shape, 3)).copy()


def studio_backdrop(canvas: Canvas) -> Colour:
    """A seamless paper sweep, lighter on the floor than behind."""
    tone = np.asarray(
        canvas.choose((0.55, 0.57, 0.60), (0.72, 0.70, 0.66), (0.42, 0.47, 0.54), (0.80, 0.80, 0.80)),
        np.float32,
    )
    light = 0.78 + 0.3 * step(canvas.rows(), 0.35, 0.95) - 0.35 * np.abs(canvas.columns() - 0.5) ** 2
    return light[..., None] * tone


def stone_plinth(canvas: Canvas) -> Colour:
    """A pale block of stone before a dark wall."""
    wall = canvas.flat(canvas.choose((0.16, 0.18, 0.22), (0.22, 0.17, 0.16), (0.13, 0.19, 0.18)))
    wall *= (1.15 - 0.5 * np.abs(canvas.rows() - 0.4))[..., None]
    noise = fractal_noise(canvas.rng, canvas.shape, 30, 3)[..., None]
    stone = np.asarray((0.74, 0.71, 0.65), np.float32) * (0.82 + 0.3 * noise)
    top, front = 0.70, 0.955
    rows, columns = canvas.rows(), canvas.columns()
    inset = 0.03 + 0.10 * np.clip((front - rows) / (front - top), 0, 1)
    on_block = (rows > top) & (columns > inset) & (columns < 1 - inset)
    face = np.where(rows > front, 0.55, 0.92)[..., None].astype(np.float32)
    return np.where(on_block[..., None], stone * face, wall)


def wooden_shelf(canvas: Canvas) -> Colour:
    """Planks of warm wood under a painted wall."""
    wall = canvas.flat(
        canvas.choose((0.62, 0.66, 0.60), (0.70, 0.62, 0.52), (0.50, 0.58, 0.64), (0.76, 0.73, 0.68))
    )
    wall *= (0.9 + 0.15 * canvas.rows())[..., None]
    grain = fractal_noise(canvas.rng, canvas.shape, 26, 3, stretch=14)
    wood = mix((0.34, 0.20, 0.10), (0.60, 0.40, 0.22), step(grain, 0.3, 0.7))
    rows = canvas.rows()
    plank = np.abs((rows - 0.66) / 0.145 % 1.0)
    wood *= np.where(plank < 0.03, 0.45, 1.0)[..., None].astype(np.float32)
    wood *= (0.65 + 0.55 * step(rows, 0.64, 0.9))[..., None]
    return np.where((rows > 0.66)[..., None], wood, wall)


def velvet_cloth(canvas: Canvas) -> Colour:
    """Deep folds of coloured velvet."""
    colour = np.asarray(
        canvas.choose((0.42, 0.05, 0.08), (0.10, 0.14, 0.38), (0.06, 0.25, 0.17), (0.28, 0.08, 0.32)),
        np.float32,
    )
    bend = smooth_noise(canvas.rng, canvas.shape, 3, 3)
    folds = np.sin((canvas.columns() * 4.5 + 0.9 * bend + 0.6 * canvas.rows()) * 2 * np.pi)
    sheen = 0.62 + 0.42 * folds + 0.25 * (fractal_noise(canvas.rng, canvas.shape, 40, 1) - 0.5)
    return np.clip(sheen, 0.12, 1.3)[..., None] * colour


def display_case(canvas: Canvas) -> Colour:
    """A vitrine: dark inside, a metal frame, slanting reflections on the glass (drawn by `glass_front`)."""
    inside = canvas.flat(canvas.choose((0.30, 0.31, 0.33), (0.24, 0.27, 0.32), (0.34, 0.31, 0.27)))
    inside *= (0.75 + 0.5 * step(canvas.rows(), 0.5, 0.9))[..., None]
    rows, columns = canvas.rows(), canvas.columns()
    frame = np.minimum(np.minimum(columns, 1 - columns), np.minimum(rows, 1 - rows))
    metal = 0.45 + 0.4 * step(np.abs(frame - 0.02), 0.0, 0.02)
    steel = metal[..., None] * np.asarray((0.86, 0.84, 0.78), np.float32)
    return np.where((frame < 0.035)[..., None], steel, inside)


def glass_front(picture: Colour, rng: np.random.Generator) -> None:
    """Pale slanting reflections over everything behind the glass, in place."""
    h, w = picture.shape[:2]
    slant = (
        np.linspace(0, 1, w, dtype=np.float32)[None, :]
        + 0.45 * np.linspace(0, 1, h, dtype=np.float32)[:, None]
    )
    place = rng.uniform(0.25, 0.9)
    glare = 1.0 - step(np.abs(slant - place), 0.05, 0.065)
    glare += 0.7 * (1.0 - step(np.abs(slant - place - 0.12), 0.015, 0.025))
    picture += 0.13 * glare[..., None]


def brick_wall(canvas: Canvas) -> Colour:
    """Red bricks in running bond over a grey floor."""
    rows, columns = canvas.rows(), canvas.columns()
    course = 0.075
    row = np.floor(rows / course)
    u = (columns / (2.3 * course) + 0.5 * (row % 2)) % 1.0
    v = (rows / course) % 1.0
    mortar = (u < 0.05) | (v < 0.11)
    brick_id = np.floor(columns / (2.3 * course) + 0.5 * (row % 2)) * 37.0 + row * 91.0
    tone = 0.8 + 0.35 * np.abs(np.sin(brick_id * 12.9898))
    rough = 0.85 + 0.3 * fractal_noise(canvas.rng, canvas.shape, 60, 2)
    brick = (tone * rough)[..., None] * np.asarray((0.56, 0.25, 0.18), np.float32)
    wall = np.where(mortar[..., None], np.asarray((0.66, 0.62, 0.57), np.float32), brick)
    floor = canvas.flat((0.44, 0.43, 0.42)) * rough[..., None]
    return np.where((rows > 0.72)[..., None], floor, wall).astype(np.float32)


SETTING_PAINTERS: dict[str, Callable[[Canvas], Colour]] = {
    "studio-backdrop": studio_backdrop,
    "stone-plinth": stone_plinth,
    "wooden-shelf": wooden_shelf,
    "velvet-cloth": velvet_cloth,
    "display-case": display_case,
    "brick-wall": brick_wall,
}


def oak_patch(rng: np.random.Generator, shape: tuple[int, int]) -> Colour:
    """A piece of oak, for the mounts of labels and charts."""
    return cv2.GaussianBlur(MATERIALS["oak"].texture(rng, shape), (0, 0), 0.8)
