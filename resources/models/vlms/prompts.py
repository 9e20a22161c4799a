"""What a vision-language model is asked. The wording is part of every fingerprint and of the bundled model's training."""

from collections.abc import Sequence

CAPTION = "Describe this photograph in one factual sentence."
TAGS = "List the keywords of this photograph, separated by commas."
REGION = "Name what this crop shows in a few words."
DESCRIPTION = "Write a catalogue description of this photograph as JSON."


def with_text(prompt: str, lines: Sequence[str]) -> str:
    """The prompt, told what can be read in the picture; as it is where nothing can."""
    return f"{prompt}\nText in the picture: {'; '.join(lines)}" if lines else prompt


def with_regions(prompt: str, regions: Sequence[tuple[str, str]]) -> str:
    """The prompt, told the regions that may be cited: (short id such as "r1", phrase)."""
    if not regions:
        return prompt
    return f"{prompt}\nRegions: {'; '.join(f'{short} {phrase}' for short, phrase in regions)}"
