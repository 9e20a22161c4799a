"""The small tokenizers of the bundled models: byte-level BPE, kept in a folder, reused if they are there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, END = "<pad>", "</s>"


def train_tokenizer(
    texts: list[str], folder: Path, max_tokens: int, vocabulary: int = 2048
) -> PreTrainedTokenizerFast:
    """Of `texts` in lower case, with SigLIP's end token."""
    if not is_kept(folder):
        tokenizer = _of_phrases(texts, vocabulary, [PAD, END])
        keep(tokenizer, folder, model_max_length=max_tokens, padding_side="right")
    # no attention mask: the text tower sees the padding, as every SigLIP's does
    return PreTrainedTokenizerFast.from_pretrained(folder, model_input_names=["input_ids"])


def train_phrase_tokenizer(
    texts: list[str], folder: Path, max_tokens: int, vocabulary: int = 2048
) -> PreTrainedTokenizerFast:
    """The same for a CLIP text tower, which pools at the largest token id: the end is the last piece."""
    if not is_kept(folder):
        tokenizer = _of_phrases(texts, vocabulary, [PAD])
        keep(tokenizer, folder, model_max_length=max_tokens, padding_side="right")
    return PreTrainedTokenizerFast.from_pretrained(folder)


def byte_pairs(
    texts: Sequence[str], vocabulary: int, special: Sequence[str], split: Any, normal: Any = None
) -> Tokenizer:
    """Trained on `texts`; `split` and `normal`: its pre-tokenizer and its normalizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    if normal is not None:
        tokenizer.normalizer = normal
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def is_kept(folder: Path) -> bool:
    """Whether there is a tokenizer in a folder."""
    return (folder / "tokenizer.json").exists()


def keep(tokenizer: Tokenizer, folder: Path, **settings: Any) -> None:
    """Write it into a folder, with the `settings` of a PreTrainedTokenizerFast."""
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, **settings)
    fast.save_pretrained(folder)


def _of_phrases(texts: Sequence[str], vocabulary: int, special: Sequence[str]) -> Tokenizer:
    """With the end token behind every text."""
    plain = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer = byte_pairs(texts, vocabulary, special, pre_tokenizers.ByteLevel(add_prefix_space=True), plain)
    tokenizer.add_special_tokens([END])  # the last piece, where it is none yet
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer
