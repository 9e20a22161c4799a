"""How the bundled VLM is talked to: its tokenizer, its chat template and its processor."""

from pathlib import Path

from tokenizers import AddedToken, pre_tokenizers
from transformers import LlavaProcessor, PreTrainedTokenizerFast, SiglipImageProcessor

from demo.training.tokenizer import END, PAD, byte_pairs, is_kept, keep

BEGIN = "<s>"
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
    """Of `texts` as they are; every digit is a token."""
    if not is_kept(folder):
        split = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        keep(
            byte_pairs(texts, vocabulary, [PAD, BEGIN, END, IMAGE, USER, ASSISTANT], split),
            folder,
            bos_token=BEGIN,
            additional_special_tokens=[AddedToken(t, special=True) for t in (IMAGE, USER, ASSISTANT)],
            model_input_names=["input_ids", "attention_mask"],
            model_max_length=MAX_TOKENS,
            padding_side="left",
            clean_up_tokenization_spaces=False,
        )
    return PreTrainedTokenizerFast.from_pretrained(folder)


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
