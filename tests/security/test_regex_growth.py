"""No regular expression over what strangers wrote takes more than time in proportion to it."""

from __future__ import annotations

import re
from collections import deque
from heapq import nlargest
from time import thread_time
from typing import Any

import pytest
from patterns import Attack, Use, all_uses, attacks

USES, UNKNOWN = all_uses()
EXPLAINED = {
    # tables of our own, of names of weights
    ("resources/models/checkpoints.py", "pattern"),
    # the table of remedies beside it, whose patterns are tried below
    ("resources/object_store.py", "pattern"),
    # as are these, of MobileSAM's, of the packages sam2 and groundingdino-py, and of OFA's
    ("resources/models/detectors/groundingdino_py.py", "pattern"),
    ("resources/models/vlms/ofa/checkpoint.py", "pattern"),
    (
        "resources/models/segmenters/mobile_sam.py",
        "f'{re.escape(_ENCODER)}layers\\\\.(\\\\d+)\\\\.blocks\\\\.(\\\\d+)\\\\.\\\\w+'",
    ),
    # words of the author of a policy, escaped, with two stars at most
    ("vistag_assets/tags/flag_policy.py", "'|'.join((f'(?:{pattern})' for pattern in patterns))"),
    # words that are chosen on the command line, escaped, and what follows them once
    ("vistag_assets/exports/lora.py", "re.escape(opener.strip()) + '\\\\b[\\\\s,:]*'"),
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


def growth(use: Use, attack: Attack) -> float:
    """How much longer a text takes that was doubled twice, from where it takes long enough to tell."""
    size = SCREENED
    while seconds(use, attack(size)) < LONG_ENOUGH_S:
        size *= 2
        if size > LONGEST:
            return 0.0  # quick at any length that is allowed
    once, more = attack(size), attack(4 * size)
    return min(seconds(use, more) for _ in range(3)) / min(seconds(use, once) for _ in range(3))


@pytest.mark.parametrize("use", USES, ids=lambda use: use.place)
def test_time_grows_with_the_text_and_no_faster(use: Use) -> None:
    slowest = nlargest(WORST, attacks(use.pattern), key=lambda attack: seconds(use, attack(SCREENED)))
    for attack in slowest:
        # a busy machine may be slow once; a square is one each time
        assert any(growth(use, attack) < MOST_GROWTH for _ in range(5)), ascii(attack(80))


def test_every_pattern_is_among_them() -> None:
    assert UNKNOWN == EXPLAINED
    assert len(USES) > 30


QUADRATIC = [r"\s+$", r"-+>", r'"(?:[^"\\]|\\.)*"', r"[a-z]+\d", rb"a+b"]


@pytest.mark.parametrize("pattern", QUADRATIC)
def test_the_search_sees_what_it_is_for(pattern: Any) -> None:
    use = Use(re.compile(pattern), "here")
    worst = max(attacks(use.pattern), key=lambda attack: seconds(use, attack(SCREENED)))
    assert growth(use, worst) > MOST_GROWTH
