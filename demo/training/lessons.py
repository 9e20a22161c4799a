"""What the bundled VLM is taught: questions about scenes with their perfect answers, and the tensors made of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from demo.training.chat import ASSISTANT, BEGIN, IMAGE, USER
from demo.training.language import Region, Speaker, label_text
from demo.training.pool import IMAGE_PX
from demo.world.render import render
from demo.world.scene import (
    OBJECTS,
    PROPS,
    SURFACES,
    WORKMANSHIP,
    SceneSampler,
    SceneSpec,
    Split,
    object_tags,
)
from resources.models.vlms import prompts

CROP_RENDER_PX = 512
CROP_MARGIN = 0.12
IGNORED = -100

Exchange = tuple[str, str]
"""What is asked and the perfect answer."""


class Teacher:
    """Asks about scenes as the assets do: sometimes told what text was read and which regions were found."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker

    def told(self, scene: SceneSpec, rng: np.random.Generator) -> list[Exchange]:
        """A caption and the tags."""
        read, text = self._reading(scene, rng)
        return [
            (prompts.with_text(prompts.CAPTION, read), self.speaker.caption(scene, text)),
            (prompts.TAGS, ", ".join(self.speaker.tags(scene))),
        ]

    def described(self, scene: SceneSpec, rng: np.random.Generator) -> list[Exchange]:
        """A description that cites regions; some regions are missing, some are of things that are not there."""
        read, text = self._reading(scene, rng)
        regions = self._regions(scene, rng)
        prompt = prompts.with_regions(prompts.with_text(prompts.DESCRIPTION, read), regions)
        return [(prompt, self.speaker.description(scene, regions, text))]

    def _reading(self, scene: SceneSpec, rng: np.random.Generator) -> tuple[list[str], str]:
        """What was read in the picture, and what of it stands on the museum label."""
        text = label_text(scene)
        if not text:
            return (["IIII"], "") if rng.random() < 0.03 else ([], "")
        if rng.random() < 0.3:
            return [], ""
        if rng.random() < 0.2:
            text = text.replace(" ", "")
        return [text], text

    def _regions(self, scene: SceneSpec, rng: np.random.Generator) -> list[Region]:
        if rng.random() < 0.1:
            return []
        found = [
            c
            for c in (*(i.concept for i in scene.objects), *(p.concept for p in scene.props))
            if rng.random() < 0.9
        ]
        while rng.random() < 0.25:
            found.append(str(rng.choice((*OBJECTS, *PROPS, *SURFACES, *WORKMANSHIP))))
        return [
            (f"r{number}", self.speaker.label[found[index]])
            for number, index in enumerate(rng.permutation(len(found)), start=1)
        ]


@dataclass(frozen=True, slots=True)
class Crops:
    """Single things cut out of scenes: uint8 [n, IMAGE_PX, IMAGE_PX, 3], squashed to a square, and their phrases."""

    images: NDArray[np.uint8]
    phrases: list[str]


def build_crops(folder: Path, split: Split, scenes: int, flatness: float, speaker: Speaker) -> Crops:
    """Cut every thing out of the first `scenes` scenes of `split`, or open what is already in `folder`."""
    done = folder / "phrases.json"
    wanted = [int(split), scenes, flatness]
    if not (done.exists() and json.loads(done.read_text())["recipe"] == wanted):
        folder.mkdir(parents=True, exist_ok=True)
        sampler, images, phrases = SceneSampler(split, flatness), [], []
        for index in range(scenes):
            scene = sampler.scene(index)
            rng = np.random.default_rng([int(split), index, 1])
            picture = render(scene, CROP_RENDER_PX)
            named = {object_tags(item): speaker.region(item) for item in scene.objects}
            for thing in picture.instances:
                images.append(_cut(picture.pixels, thing.box_xywh, rng))
                phrases.append(named.get(thing.concepts) or speaker.label[thing.concepts[0]])
            if index % 250 == 0:
                print(f"\rcut things out of {index:,} of {scenes:,} scenes", end="", flush=True)
        print()
        np.save(folder / "images.npy", np.stack(images))
        done.write_text(json.dumps({"recipe": wanted, "phrases": phrases}))
    return Crops(np.load(folder / "images.npy", mmap_mode="r"), json.loads(done.read_text())["phrases"])


def _cut(
    pixels: NDArray[np.uint8], box_xywh: tuple[int, int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    x, y, w, h = box_xywh
    left, top, right, bottom = rng.uniform(0, CROP_MARGIN, 4) * (w, h, w, h)
    x0, y0 = max(0, round(x - left)), max(0, round(y - top))
    crop = pixels[y0 : round(y + h + bottom), x0 : round(x + w + right)]
    how = cv2.INTER_AREA if min(crop.shape[:2]) > IMAGE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (IMAGE_PX, IMAGE_PX), interpolation=how), np.uint8)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Several exchanges about each picture in one row of tokens, none of which sees another.

    tokens: int64 [b, n], image tokens first. positions: int64 [b, n], as if each exchange stood alone.
    hidden: bool [b, 1, n, n], True where a query (third axis) must not see a key.
    targets: int64 [b, n], the token to be said next, IGNORED outside of the answers.
    """

    tokens: Tensor
    positions: Tensor
    hidden: Tensor
    targets: Tensor


class Scribe:
    """Turns exchanges into tokens, exactly as the chat template does."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, patches: int) -> None:
        self.tokenizer = tokenizer
        self.prefix = self._ids(BEGIN + USER + IMAGE * patches)
        self.image = slice(len(self.prefix) - patches, len(self.prefix))
        self.assistant = self._ids(ASSISTANT)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def asked(self, prompt: str) -> list[int]:
        """The tokens of one picture and one prompt, ready to be answered."""
        return self.prefix + self._ids(prompt) + self.assistant

    def sheet(self, pages: Sequence[Sequence[Exchange]]) -> Sheet:
        """One row a picture."""
        rows = [self._row(exchanges) for exchanges in pages]
        width = max(len(tokens) for tokens, *_ in rows)
        filled = [
            [
                column + [fill] * (width - len(column))
                for column, fill in zip(row, (0, 0, -1, IGNORED), strict=True)
            ]
            for row in rows
        ]
        tokens, positions, owners, targets = torch.tensor(filled, dtype=torch.int64).unbind(1)
        later = torch.ones(width, width, dtype=torch.bool).triu(1)
        foreign = (owners[:, :, None] != owners[:, None, :]) & (owners[:, None, :] != 0)
        return Sheet(tokens, positions, (later | foreign)[:, None], targets)

    def _row(self, exchanges: Sequence[Exchange]) -> tuple[list[int], list[int], list[int], list[int]]:
        start = len(self.prefix)
        tokens, positions = list(self.prefix), list(range(start))
        owners, targets = [0] * start, [IGNORED] * start
        for number, (prompt, answer) in enumerate(exchanges, start=1):
            asked = self._ids(prompt) + self.assistant
            said = [*self._ids(answer), self.tokenizer.eos_token_id]
            tokens += asked + said[:-1]
            count = len(asked) + len(said) - 1
            positions += range(start, start + count)
            owners += [number] * count
            targets += [IGNORED] * (len(asked) - 1) + said
        return tokens, positions, owners, targets
