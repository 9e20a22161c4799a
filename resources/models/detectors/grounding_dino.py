"""Grounding DINO and MM-Grounding-DINO (which LLMDet is too): all phrases of a chunk in one sentence.

Liu et al., Grounding DINO (2023); Zhao et al., An Open and Comprehensive Pipeline for Unified Object
Grounding and Detection (2024). The sentence is written here, so it is known which tokens are whose phrase.
The library's own labels are decoded from tokens above a threshold, which merges phrases ("car taxi").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.boxes import clip, from_centres
from resources.models.batching import alike
from resources.models.checkpoints import Device, read_config
from resources.models.cut_texts import cut_to_tokens
from resources.models.detectors.detections import Detections
from resources.models.detectors.pretrained import PretrainedDetector
from resources.models.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "1"
_END = ". "
_TOKENS_OF_END = 1
_DELIMITERS = str.maketrans({".": " ", "?": " "})
"""The model takes these for the end of a phrase, wherever they stand."""
_MAX_TEXT = 256
"""Tokens; transformers leaves it out of config.json where it is that."""
_PADDED_TO = 32
"""Tokens: a sentence is padded to a multiple of this, by its own length alone."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One text for the model, and which of its tokens are which phrase."""

    text: str
    phrases: tuple[int, ...]
    """Places in the chunk, in the order of the sentence."""
    token_spans: tuple[tuple[int, int], ...]
    """First token and the one after the last, one a phrase."""
    token_ids: tuple[int, ...]


def write_sentences(phrases: Sequence[str], tokenizer: Any, max_tokens: int) -> list[Sentence]:
    """ "a. b. c." in as few sentences as hold all phrases, in their order, with the tokens of each.

    The model would cut a longer text without a word. A phrase that is too long for a sentence of its own is cut here,
    and one of which the tokenizer knows nothing ("...") is in no sentence: `sent_phrase` says so before a run.
    """
    sentences: list[Sentence] = []
    texts = [sent_phrase(phrase, tokenizer, max_tokens) for phrase in phrases]
    waiting = [place for place, text in enumerate(texts) if text]
    while waiting:
        count = len(waiting)
        while (
            len((sentence := _write(texts, waiting[:count], tokenizer)).token_ids) > max_tokens and count > 1
        ):
            count -= 1
        sentences.append(sentence)
        waiting = waiting[count:]
    return sentences


def sent_phrase(phrase: str, tokenizer: Any, max_tokens: int) -> str:
    """What is sent for a phrase: without what ends one, and cut to a sentence of its own; "" where nothing is."""
    text = " ".join(phrase.lower().translate(_DELIMITERS).split())
    return cut_to_tokens(tokenizer, text, max_tokens - _TOKENS_OF_END)


def _write(texts: Sequence[str], places: Sequence[int], tokenizer: Any) -> Sentence:
    text = ""
    characters: list[tuple[int, int]] = []
    for place in places:
        characters.append((len(text), len(text) + len(texts[place])))
        text += texts[place] + _END
    text = text.rstrip()
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=True)
    offsets = encoded["offset_mapping"]
    spans: list[tuple[int, int]] = []
    for start, end in characters:
        mine = [token for token, (first, last) in enumerate(offsets) if start <= first < last <= end]
        spans.append((mine[0], mine[-1] + 1))
    return Sentence(text, tuple(places), tuple(spans), tuple(encoded["input_ids"]))


class GroundingDinoDetector(PretrainedDetector):
    """A Grounding DINO or MM-Grounding-DINO checkpoint.

    A score is the largest sigmoid over the tokens of a phrase, as the models were trained; the text score is
    the mean over them, so it is lower where only a part of the phrase fits.
    """

    def __init__(self, spec: DetectorSpec, device: Device, **parts: Any) -> None:
        super().__init__(spec, device, CODE_VERSION, **parts)

    def sent(self, phrase: str) -> str:
        most = read_config(self.directory).get("max_text_len", _MAX_TEXT)
        return sent_phrase(phrase, self.processor.tokenizer, most)

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image. Images are batched with those of their size and their length of text."""
        import torch

        processor, model = self.processor, self.model
        asked = [
            (place, sentence)
            for place, chunk in enumerate(phrases)
            for sentence in write_sentences(chunk, processor.tokenizer, model.config.max_text_len)
        ]
        pixels: dict[int, Tensor] = {}
        for image in images:
            if id(image) not in pixels:
                pixels[id(image)] = processor.image_processor(images=[image], return_tensors="pt")[
                    "pixel_values"
                ]
        keys = [(pixels[id(images[place])].shape, self._padded_length(sentence)) for place, sentence in asked]
        parts: dict[int, Detections] = {}
        with torch.inference_mode():
            for batch in alike(keys, self.spec.batch_size):
                stacked = torch.cat([pixels[id(images[asked[number][0]])] for number in batch])
                found = self._forward(stacked, [asked[number][1] for number in batch], keys[batch[0]][1])
                parts |= zip(batch, found, strict=True)
        return Detections.by_image(
            len(images), ((place, parts[number]) for number, (place, _) in enumerate(asked))
        )

    def _padded_length(self, sentence: Sentence) -> int:
        blocks = -(-len(sentence.token_ids) // _PADDED_TO)
        return min(blocks * _PADDED_TO, self.model.config.max_text_len)

    def _forward(self, pixels: Tensor, sentences: Sequence[Sentence], length: int) -> list[Detections]:
        import torch

        model = self.model
        pad = self.processor.tokenizer.pad_token_id
        ids = torch.full((len(sentences), length), pad)
        mask = torch.zeros((len(sentences), length), dtype=torch.long)
        for row, sentence in enumerate(sentences):
            ids[row, : len(sentence.token_ids)] = torch.tensor(sentence.token_ids)
            mask[row, : len(sentence.token_ids)] = 1
        outputs = model(
            pixel_values=pixels.to(device=self.device, dtype=model.dtype),
            pixel_mask=torch.ones(pixels.shape[0], *pixels.shape[2:], dtype=torch.long, device=self.device),
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            token_type_ids=torch.zeros_like(ids).to(self.device),
        )
        tokens = outputs.logits.float().sigmoid().cpu().numpy()
        boxes = outputs.pred_boxes.float().cpu().numpy()
        return [self._read(*row) for row in zip(tokens, boxes, sentences, strict=True)]

    def _read(self, tokens: Any, centred: Any, sentence: Sentence) -> Detections:
        boxes, inside = clip(from_centres(centred))
        best = np.stack([tokens[:, start:end].max(axis=1) for start, end in sentence.token_spans], axis=1)
        mean = np.stack([tokens[:, start:end].mean(axis=1) for start, end in sentence.token_spans], axis=1)
        query, phrase = np.nonzero((best >= self.spec.min_score) & inside[:, None])
        return Detections(
            boxes[query],
            np.asarray(sentence.phrases, dtype=np.int64)[phrase],
            best[query, phrase],
            mean[query, phrase],
            sentence.text,
        )
