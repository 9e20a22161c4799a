"""The bundled encoder's own small tokenizer."""

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
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=max_tokens,
        padding_side="right",
    )
    fast.save_pretrained(folder)
    return train_tokenizer(texts, folder, max_tokens)
