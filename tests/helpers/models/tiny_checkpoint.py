"""The tiny SigLIP checkpoint of the bench, for tests too."""

from benchmarks.tiny_checkpoint import CHARACTERS, TEXT_LENGTH, letter_tokenizer, save_tiny_siglip

__all__ = ["CHARACTERS", "TEXT_LENGTH", "letter_tokenizer", "save_tiny_siglip"]
