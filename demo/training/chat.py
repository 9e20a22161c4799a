"""How the bundled VLM is talked to: its tokenizer, its chat template and its processor."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlavaProcessor, PreTrainedTokenizerFast, SiglipImageProcessor

PAD, BEGIN, END = "<pad>", "<s>", "</s>"
IMAGE, USER, ASSISTANT = "<image>", "<|user|>", "<|assistant|>"
MAX_TOKENS = 1024
CHAT_TEMPLATE = (
    f"{BEGIN}"
    "{% for message in messages %}"
    "{{ '" + ASSISTANT + "' if message['role'] == 'assistant' else '" + USER + "' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}" + IMAGE + "{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}" + END + "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)
"""Pictures come before words, wherever they stand in the message."""


def train_chat_tokenizer(texts: list[str], folder: Path, vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `texts` in which every digit is a token; kept in `folder`, reused if it is there."""
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, BEGIN, END, IMAGE, USER, ASSISTANT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[AddedToken(t, special=True) for t in (IMAGE, USER, ASSISTANT)],
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MAX_TOKENS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
    return train_chat_tokenizer(texts, folder, vocabulary)


def chat_processor(tokenizer: PreTrainedTokenizerFast, image_px: int, patch_px: int) -> LlavaProcessor:
    """Pictures squashed to a square as the encoder's are; one token a patch."""
    return LlavaProcessor(
        SiglipImageProcessor(size={"height": image_px, "width": image_px}),
        tokenizer,
        patch_size=patch_px,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
    )
