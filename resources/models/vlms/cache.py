"""Keys and values of decoding with room for the whole answer, so that a step writes its own token and copies nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


def roomy_cache(config: Any, room: int) -> DynamicCache:
    """The cache that transformers makes for a model of this configuration, with `room` for as many new tokens.

    Layers of another kind than full attention (sliding windows, linear attention) stay as the library makes them.
    """
    cache = DynamicCache(config=config.get_text_config(decoder=True))
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def all_roomy(cache: DynamicCache) -> bool:
    """Whether every layer can be cropped, and copied for beams."""
    return all(isinstance(layer, RoomyLayer) for layer in cache.layers)


def read_prompt(model: Any, inputs: Mapping[str, Any], cache: DynamicCache, beams: int) -> dict[str, Any]:
    """What is left to say to the model once the cache holds the prompts, a copy for each beam.

    `inputs`: input_ids and attention_mask [rows, tokens], padded on the left, and pixel_values. The last token is read
    again, by every beam: what follows it is asked for then.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
    model(**inputs, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.crop(-1)
    cache.batch_repeat_interleave(beams)
    return {"input_ids": ids, "attention_mask": mask}


class RoomyLayer(DynamicLayer):
    """One layer's keys and values `[rows, heads, tokens, width]` as views of tensors that are longer."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._prompt = 0
        self._all_keys: Tensor
        self._all_values: Tensor

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds tokens, and gives back all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._prompt = key_states.shape[-2]
            self._all_keys, self._all_values = (_longer(x, self._room) for x in (key_states, value_states))
            start = 0
        else:
            start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self._all_keys.shape[-2]:
            self._all_keys, self._all_values = (_longer(x, end) for x in (self._all_keys, self._all_values))
        self._all_keys[..., start:end, :] = key_states
        self._all_values[..., start:end, :] = value_states
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row so many times."""
        tokens = self.get_seq_length()
        self._all_keys, self._all_values = (
            x.repeat_interleave(repeats, dim=0) for x in (self._all_keys, self._all_values)
        )
        self.keys, self.values = self._all_keys[..., :tokens, :], self._all_values[..., :tokens, :]

    def crop(self, tokens_to_remove: int) -> None:
        """Without the last tokens (as the library has it, a number below 0)."""
        super().crop(tokens_to_remove)
        self._prompt = min(self._prompt, self.get_seq_length())

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Beams change places with others of their own prompt only: what it holds is the same in all of them."""
        import torch

        own = torch.arange(len(beam_idx), device=beam_idx.device)
        moved = (beam_idx != own).nonzero()[:, 0]
        for tensor in (self._all_keys, self._all_values):
            written = tensor[..., self._prompt : self.get_seq_length(), :]
            written[moved.to(tensor.device)] = written[beam_idx[moved].to(tensor.device)]


def _longer(tensor: Tensor, room: int) -> Tensor:
    """A tensor with the same content, and room for more tokens after it."""
    rows, heads, tokens, width = tensor.shape
    longer = tensor.new_empty(rows, heads, tokens + room, width)
    longer[..., :tokens, :] = tensor
    return longer
