"""What is left of a text that is longer than a model reads: one rule for what is sent and for what is told of it."""

from __future__ import annotations

from typing import Any


def cut_to_tokens(tokenizer: Any, text: str, most: int) -> str:
    """The beginning of a text that `most` tokens hold, those that the tokenizer adds among them: the whole of it where
    that fits. It ends between two words where it can. "" for a text of which the tokenizer knows nothing.

    `tokenizer`: of transformers.
    """
    if not text.strip():
        return ""
    if not tokenizer.is_fast:  # it does not say where its tokens stand
        ids = tokenizer(text)["input_ids"]
        return (
            text if len(ids) <= most else str(tokenizer.decode(ids[:most], skip_special_tokens=True)).strip()
        )
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=True)
    own = [end for start, end in encoded["offset_mapping"] if start < end]
    room = most - (len(encoded["input_ids"]) - len(own))
    if not own or room < 1:
        return ""
    if len(own) <= room:
        return text
    cut = text[: own[room - 1]]
    inside_word = text[own[room - 1] : own[room - 1] + 1].strip() != ""
    return cut.rsplit(" ", 1)[0].strip() if inside_word and " " in cut.strip() else cut.strip()
