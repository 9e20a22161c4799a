"""No regular expression over what strangers wrote takes more than time in proportion to it."""

from __future__ import annotations

import re
from collections import deque
from heapq import nlargest
from time import thread_time
from typing import Any

import pytest
from patterns import Use, all_uses, attacks

USES, UNKNOWN = all_uses()
EXPLAINED = {
    # its table of our own names of weights
    ("resources/models/vlms/florence2.py", "original"),
    # the table of remedies beside it, whose patterns are tried below
    ("resources/object_store.py", "pattern"),
}
"""(file, pattern) of what only running code knows -> why that is no stranger's."""

SCREENED = 1_000
"""letters of the texts of which the slowest are looked at"""
LONG_ENOUGH_S = 0.002
LONGEST = 2**17
MOST_GROWTH = 8.0
"""by a text doubled twice: 4 is proportional, 16 a square"""
WORST = 2


def seconds(use: Use, text: Any) -> float:
    """Of the processor."""
    start = thread_time()
    if use.is_anchored:
        for function in use.functions:
            getattr(use.pattern, function)(text)
    else:
        deque(use.pattern.finditer(text), maxlen=0)
    return thread_time() - start


def longer(text: Any, times: int) -> Any:
    """The text with its middle, which is what repeats, that much longer."""
    middle = text[len(text) // 4 : -len(text) // 4]
    half = len(text) // 2
    return text[:half] + middle[: len(middle) // 2 * 2] * (2 * times - 2) + text[half:]


def growth(use: Use, text: Any) -> float:
    """How much longer a text takes that was doubled twice, from where it takes long enough to tell."""
    times = 1
    while seconds(use, longer(text, times)) < LONG_ENOUGH_S:
        times *= 2
        if times * len(text) > LONGEST:
            return 0.0  # quick at any length that is allowed
    once, more = longer(text, times), longer(text, 4 * times)
    return min(seconds(use, more) for _ in range(3)) / min(seconds(use, once) for _ in range(3))


@pytest.mark.parametrize("use", USES, ids=lambda use: use.place)
def test_time_grows_with_the_text_and_no_faster(use: Use) -> None:
    slowest = nlargest(WORST, attacks(use.pattern, SCREENED), key=lambda text: seconds(use, text))
    for text in slowest:
        assert growth(use, text) < MOST_GROWTH, ascii(text[:80])


def test_every_pattern_is_among_them() -> None:
    assert UNKNOWN == EXPLAINED
    assert len(USES) > 30


QUADRATIC = [r"\s+$", r"-+>", r'"(?:[^"\\]|\\.)*"', r"[a-z]+\d", rb"a+b"]


@pytest.mark.parametrize("pattern", QUADRATIC)
def test_the_search_sees_what_it_is_for(pattern: Any) -> None:
    use = Use(re.compile(pattern), "here")
    text = max(attacks(use.pattern, SCREENED), key=lambda text: seconds(use, text))
    assert growth(use, text) > MOST_GROWTH
