"""The small tokenizers of the bundled encoder and detector."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, END = "<pad>", "</s>"


def train_tokenizer(
    texts: list[str], folder: Path, max_tokens: int, vocabulary: int = 2048
) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `texts`, lower-cased, with SigLIP's end token; kept in `folder`, reused if it is there."""
    if (folder / "tokenizer.json").exists():
        # no attention mask: the text tower sees the padding, as every SigLIP's does
        return PreTrainedTokenizerFast.from_pretrained(folder, model_input_names=["input_ids"])
    tokenizer = _byte_pairs(texts, vocabulary, [PAD, END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    _kept(tokenizer, folder, max_tokens)
    return train_tokenizer(texts, folder, max_tokens)


def train_phrase_tokenizer(
    texts: list[str], folder: Path, max_tokens: int, vocabulary: int = 2048
) -> PreTrainedTokenizerFast:
    """The same for a CLIP text tower, which pools at the largest token id: the end is the last piece."""
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer = _byte_pairs(texts, vocabulary, [PAD])
    tokenizer.add_special_tokens([END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return _kept(tokenizer, folder, max_tokens)


def _byte_pairs(texts: list[str], vocabulary: int, special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _kept(tokenizer: Tokenizer, folder: Path, max_tokens: int) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=max_tokens,
        padding_side="right",
    )
    fast.save_pretrained(folder)
    return fast
