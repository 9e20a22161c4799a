"""Florence-2: a sequence model that writes boxes as location tokens, asked for one phrase at a time.

Xiao et al., Florence-2 (2023). Asked for several phrases it would name them in its answer, to be matched as
strings; asked for one, every box of the answer is of that phrase. That holds for both tasks: detection of a
phrase, and grounding of a caption, which is then the phrase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from resources.boxes import clip, from_corners
from resources.models.batching import alike
from resources.models.checkpoints import Device
from resources.models.detectors.detections import Detections
from resources.models.detectors.pretrained import PretrainedDetector
from resources.models.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "2"
_BINS = 1000
_MAX_NEW_TOKENS = 256
"""About 50 boxes."""


class Florence2Detector(PretrainedDetector):
    """A Florence-2 checkpoint. It has no score; the probability of a box's location tokens stands in for it:
    their geometric mean, under greedy decoding."""

    model_class = "Florence2ForConditionalGeneration"

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        self._task = spec.task or "<OPEN_VOCABULARY_DETECTION>"
        super().__init__(spec, device, f"{CODE_VERSION} {self._task}")

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image. Questions are batched with those of as many tokens."""
        import torch

        questions = [(place, index) for place, chunk in enumerate(phrases) for index in range(len(chunk))]
        encoded = [self._encode(images[place], phrases[place][index]) for place, index in questions]
        keys = [(one["input_ids"].shape, one["pixel_values"].shape) for one in encoded]
        answers: dict[int, Detections] = {}
        with torch.inference_mode():
            for batch in alike(keys, self.spec.batch_size):
                inputs = self.stacked([encoded[number] for number in batch])
                for number, (tokens, logprobs) in zip(batch, self._generate(inputs), strict=True):
                    place, index = questions[number]
                    answers[number] = self._read(tokens, logprobs, index, phrases[place][index])
        return Detections.by_image(
            len(images), ((place, answers[number]) for number, (place, _) in enumerate(questions))
        )

    def _encode(self, image: Image.Image, phrase: str) -> dict[str, Tensor]:
        inputs = self.processor(images=image, text=self._task + phrase, return_tensors="pt")
        return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}

    def _generate(self, inputs: dict[str, Tensor]) -> list[tuple[list[int], list[float]]]:
        """The tokens of each answer and their log probabilities, before any rule about repetitions."""
        import torch

        model = self.model
        output = model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=min(_MAX_NEW_TOKENS, model.config.text_config.max_position_embeddings - 1),
            return_dict_in_generate=True,
            output_logits=True,
        )
        logits = torch.stack(output.logits, dim=1).float()
        tokens = output.sequences[:, -logits.shape[1] :]
        chosen = logits.log_softmax(dim=-1).gather(2, tokens[..., None])[..., 0]
        return list(zip(tokens.tolist(), chosen.tolist(), strict=True))

    @cached_property
    def _bin_of(self) -> dict[int, int]:
        return {self._vocabulary[f"<loc_{number}>"]: number for number in range(_BINS)}

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self.processor.tokenizer.get_vocab()
        return vocabulary

    def _read(self, tokens: Sequence[int], logprobs: Sequence[float], index: int, phrase: str) -> Detections:
        outlines = self._vocabulary.get("<poly>") in tokens
        read = [
            located
            for located in read_locations(
                tokens, logprobs, self._bin_of, self._vocabulary.get("<sep>") if outlines else None, outlines
            )
            if not self._is_banned(located.name)
        ]
        scores = np.array([located.score for located in read], np.float32)
        boxes, inside = clip(from_corners(np.array([located.corners for located in read], np.float32)))
        keep = inside & (scores >= self.spec.min_score)
        kept = scores[keep]
        prompt = self.processor.task_prompts_with_input[self._task].format(input=phrase)
        return Detections(boxes[keep], np.full(len(kept), index, np.int64), kept, kept, prompt)

    def _is_banned(self, name: Sequence[int]) -> bool:
        """Whether the library drops what the answer names so ("the image"), as it does in phrase grounding."""
        processor = self.processor
        banned = processor.post_processor.banned_grounding_tokens
        return (
            self._task == "<CAPTION_TO_PHRASE_GROUNDING>"
            and processor.tokenizer.decode(name, skip_special_tokens=True).strip() in banned
        )


@dataclass(frozen=True, slots=True)
class Located:
    """One box of an answer."""

    corners: tuple[float, float, float, float]
    """left, top, right, bottom, 0..1"""
    score: float
    """0..1, the geometric mean of the probabilities of its location tokens"""
    name: tuple[int, ...]
    """The tokens before its locations: what the model says it is."""


def read_locations(
    tokens: Sequence[int],
    logprobs: Sequence[float],
    bin_of: Mapping[int, int],
    separator: int | None = None,
    outlines: bool = False,
) -> list[Located]:
    """The boxes of an answer, in its order.

    A box is four location tokens; the middle of a bin is its place. Of a run of location tokens that is no
    multiple of four, the rest is of a cut answer. Where the model answered with `outlines`, a run is the
    x and y of one object's corners, in several outlines if `separator` stands between, and the box goes around all.
    """
    read: list[Located] = []
    name: tuple[int, ...] = ()
    for is_location, group in groupby(
        range(len(tokens)), key=lambda place: tokens[place] in bin_of or tokens[place] == separator
    ):
        run = list(group)
        if not is_location:
            name = tuple(tokens[place] for place in run)
            continue
        for part in [_whole_points(run, tokens, separator)] if outlines else _fours(run):
            if len(part) < 4:
                continue
            places = [(bin_of[tokens[token]] + 0.5) / _BINS for token in part]
            x, y = places[0::2], places[1::2]
            corners = (min(x), min(y), max(x), max(y)) if outlines else (x[0], y[0], x[1], y[1])
            read.append(Located(corners, float(np.exp(np.mean([logprobs[token] for token in part]))), name))
    return read


def _fours(run: Sequence[int]) -> list[Sequence[int]]:
    return [run[start : start + 4] for start in range(0, len(run) - 3, 4)]


def _whole_points(run: Sequence[int], tokens: Sequence[int], separator: int | None) -> list[int]:
    """Places of a run without its separators, and without the x at the end of an outline that has no y."""
    whole: list[int] = []
    for is_separator, group in groupby(run, key=lambda place: tokens[place] == separator):
        outline = list(group)
        if not is_separator:
            whole += outline[: len(outline) - len(outline) % 2]
    return whole
